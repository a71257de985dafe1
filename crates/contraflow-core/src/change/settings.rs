//! Gates and limits: the numbers that no default can serve for everybody, each with its default.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How many events the mirror may be behind when a turn starts: a slow flow drains 1 000 events
/// well inside [`DEFAULT_FENCE_MAX`].
pub const DEFAULT_LAG_EVENTS_MAX: u64 = 1_000;

/// How long the application's writes may be refused in a turn: most clients retry for longer.
pub const DEFAULT_FENCE_MAX: Duration = Duration::from_secs(5);

/// The open letters at which the change is held: so many are no longer single odd rows but a
/// wrong mapping.
pub const DEFAULT_LETTERS_MAX: u64 = 1_000;

/// For how long nothing may have been written to a log before its producers are taken for stopped:
/// longer than most of them wait between two tries.
pub const DEFAULT_WRITERS_QUIET: Duration = Duration::from_secs(30);

/// For how long nobody may have read a log before it is taken down: a job that runs once a week is
/// seen at least once.
pub const DEFAULT_READERS_GONE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The share of its time that a reader of history reads, in percent. An application whose server is
/// busy keeps nine tenths of what it had; a server with nothing else to do is still copied at many
/// thousand rows per second.
pub const DEFAULT_COPY_SHARE_PERCENT: u64 = 10;

pub(super) const LAG_EVENTS: RangeInclusive<u64> = 0..=100_000_000;
/// An hour of silence says no more than ten minutes of it.
pub(super) const QUIET: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60 * 60);
/// A job that runs once a year is asked about, not waited for.
pub(super) const GONE: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(366 * 24 * 60 * 60);
/// Longer than ten minutes is an outage, not a fence.
pub(super) const FENCE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(10 * 60);
pub(super) const RATE_ROWS: RangeInclusive<u64> = 1..=1_000_000_000;
pub(super) const COPY_SHARE: RangeInclusive<u64> = 1..=100;
pub(super) const LETTERS: RangeInclusive<u64> = 1..=10_000_000;

/// Thresholds of the gates. Divergence and letters are not among them: a turn needs none of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// How far the mirror may be behind, in events. Depends on how fast the target writes.
    pub lag_events_max: u64,
    /// For how long nothing may have been written to a topic before its producers are taken for
    /// stopped. Depends on how they retry.
    pub writers_quiet: Duration,
    /// For how long nobody may have read an old topic before it is taken down. Depends on how
    /// seldom its rarest reader comes.
    pub readers_gone: Duration,
}

impl Default for Gates {
    fn default() -> Gates {
        Gates {
            lag_events_max: DEFAULT_LAG_EVENTS_MAX,
            writers_quiet: DEFAULT_WRITERS_QUIET,
            readers_gone: DEFAULT_READERS_GONE,
        }
    }
}

/// What becomes of a record of a topic that cannot be carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poison {
    /// `stop`: its partition stops there.
    #[default]
    Stop,
    /// `park`: it becomes a letter, and only its key waits.
    Park,
}

/// What the change may use at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The share of its time that a reader of history reads, in percent; it rests for the others.
    /// Depends on what else the source has to serve: 100 is as fast as the ends allow.
    pub copy_share_percent: u64,
    /// Rows copied per second by the backfill at most; `None` is as many as the share allows.
    /// Depends on what whoever reads the mirror's log can take.
    pub rate_rows_per_s: Option<u64>,
    /// How long writers may be refused in a turn. Depends on how long their clients retry.
    pub fence_max: Duration,
    /// Open letters at which the change is held. Depends on how dirty the data is known to be.
    pub letters_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            copy_share_percent: DEFAULT_COPY_SHARE_PERCENT,
            rate_rows_per_s: None,
            fence_max: DEFAULT_FENCE_MAX,
            letters_max: DEFAULT_LETTERS_MAX,
        }
    }
}
