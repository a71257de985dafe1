//! Gates and limits: the numbers that no default can serve for everybody, each with its default.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How far the mirror may be behind when a turn starts: the drain has to fit into the fence, and
/// 2 s leave more than half of [`DEFAULT_FENCE_MAX`] for it.
pub const DEFAULT_LAG_MAX: Duration = Duration::from_secs(2);

/// How many events the mirror may be behind when a turn starts: a slow flow drains 1 000 events
/// well inside [`DEFAULT_FENCE_MAX`].
pub const DEFAULT_LAG_EVENTS_MAX: u64 = 1_000;

/// How old a clean compare may be when a turn starts: long enough to read a plan and type a
/// command, short enough that what it proved still stands.
pub const DEFAULT_COMPARE_AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// How long the application's writes may be refused in a turn: most clients retry for longer.
pub const DEFAULT_FENCE_MAX: Duration = Duration::from_secs(5);

/// The rows of one transaction on the target: above about 1 000 throughput gains nothing more,
/// and the target's other writers wait longer.
pub const DEFAULT_BATCH_ROWS_MAX: u64 = 1_000;

/// The bytes of one batch: a few of them in flight fit into a small container.
pub const DEFAULT_BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The open letters at which the change is held: so many are no longer single odd rows but a
/// wrong mapping.
pub const DEFAULT_LETTERS_MAX: u64 = 1_000;

pub(super) const LAG: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60 * 60);
pub(super) const LAG_EVENTS: RangeInclusive<u64> = 0..=100_000_000;
pub(super) const COMPARE_AGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 60 * 60);
/// Longer than ten minutes is an outage, not a fence.
pub(super) const FENCE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(10 * 60);
pub(super) const RATE_ROWS: RangeInclusive<u64> = 1..=1_000_000_000;
pub(super) const BATCH_ROWS: RangeInclusive<u64> = 1..=1_000_000;
/// A batch holds at least one row; less than 64 KiB would refuse ordinary ones.
pub(super) const BATCH_BYTES: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024;
pub(super) const LETTERS: RangeInclusive<u64> = 1..=10_000_000;

/// Thresholds of the gates. Divergence and letters are not among them: a turn needs none of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// How far the mirror may be behind, in time. Depends on how long the application can wait.
    pub lag_max: Duration,
    /// How far the mirror may be behind, in events. Depends on how fast the target writes.
    pub lag_events_max: u64,
    /// How old a clean compare may be. Depends on how long a full pass over the tables takes.
    pub compare_age_max: Duration,
}

impl Default for Gates {
    fn default() -> Gates {
        Gates {
            lag_max: DEFAULT_LAG_MAX,
            lag_events_max: DEFAULT_LAG_EVENTS_MAX,
            compare_age_max: DEFAULT_COMPARE_AGE_MAX,
        }
    }
}

/// What the change may use at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows copied per second by the backfill; `None` is as fast as the ends allow. Depends on
    /// what else they have to serve.
    pub rate_rows_per_s: Option<u64>,
    /// How long writers may be refused in a turn. Depends on how long their clients retry.
    pub fence_max: Duration,
    /// Rows in one transaction of the target. Depends on how long its other writers may wait.
    pub batch_rows_max: u64,
    /// Bytes in one batch. Depends on the memory of this process.
    pub batch_bytes_max: u64,
    /// Open letters at which the change is held. Depends on how dirty the data is known to be.
    pub letters_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rate_rows_per_s: None,
            fence_max: DEFAULT_FENCE_MAX,
            batch_rows_max: DEFAULT_BATCH_ROWS_MAX,
            batch_bytes_max: DEFAULT_BATCH_BYTES_MAX,
            letters_max: DEFAULT_LETTERS_MAX,
        }
    }
}
