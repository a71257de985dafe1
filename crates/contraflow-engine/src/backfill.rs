//! History, range by range: readers ahead of the flow, which carries.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contraflow_core::end::{Most, Range, Span};
use contraflow_core::error::Result;
use contraflow_core::probe::Point;
use contraflow_core::record::{PairId, Record};
use contraflow_core::side::Direction;

use crate::context::Context;
use crate::flow::{Carried, Prepared};
use crate::tasks::Stop;
use crate::windows::{Window, Windows};

/// Rows of the first range: a table of huge rows must not fill the memory before their size is
/// known.
const ROWS_FIRST: u64 = 256;
/// Rows of a range at most and at least.
const ROWS_MAX: u64 = 20_000;
const ROWS_MIN: u64 = 16;
/// Bytes after which a range is cut.
const BYTES_MAX: u64 = 4 << 20;
/// For how long a range's transaction should keep other writers of the target waiting: a third of
/// the 20 ms that an application is promised, so that a slow disk does not break the promise.
const HELD_TARGET: Duration = Duration::from_millis(7);

/// A range that was read, under its window.
pub struct Read {
    /// The window opened before the read.
    pub window: Window,
    /// The rows, mapped.
    pub rows: Prepared,
}

/// What the readers of a copy share: each takes the next pair that nobody has taken.
pub struct Work {
    pairs: Mutex<VecDeque<(PairId, Option<Range>)>>,
    /// How many rows the next range of a pair should have.
    size: Arc<Size>,
    /// When the rows read so far are due, under a limit of rows per second.
    due: Mutex<Duration>,
    /// Rows that were carried, to be freed by a thread that allocates the like.
    given_back: Mutex<Receiver<Vec<Record>>>,
}

impl Work {
    /// The pairs that are left, each with the last range of it that was carried.
    #[must_use]
    pub fn new(
        pairs: Vec<(PairId, Option<Range>)>,
        size: Arc<Size>,
        given_back: Receiver<Vec<Record>>,
    ) -> Work {
        Work {
            pairs: Mutex::new(pairs.into()),
            size,
            due: Mutex::new(Duration::ZERO),
            given_back: Mutex::new(given_back),
        }
    }

    fn next_pair(&self) -> Option<(PairId, Option<Range>)> {
        locked(&self.pairs).pop_front()
    }

    fn free(&self) {
        if let Ok(given_back) = self.given_back.try_lock() {
            given_back.try_iter().for_each(drop);
        }
    }

    /// Rests as the share of the reader and the limit of rows demand, after so many rows that took
    /// so long to read. Says whether somebody asked to stop.
    fn pace(&self, context: &Context, rows: u64, took: Duration, stop: &Stop) -> bool {
        let rest = rest(took, context.limits.copy_share_percent);
        let left = context.limits.backfill_rows_per_s.map(|limit| {
            let now = context.clock.elapsed();
            let mut due = locked(&self.due);
            *due = (*due).max(now) + Duration::from_micros(rows * 1_000_000 / limit.max(1));
            due.saturating_sub(now)
        });
        stop.wait(rest.max(left.unwrap_or_default()))
    }
}

/// How long a reader rests after a read that took so long, so that it reads for its share of the
/// time.
fn rest(took: Duration, share_percent: u64) -> Duration {
    let share = u32::try_from(share_percent).map_or(100, |share| share.clamp(1, 100));
    took * (100 - share) / share
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many rows the next range should have: found by measuring.
#[derive(Debug)]
pub struct Size(AtomicU64);

impl Default for Size {
    fn default() -> Size {
        Size(AtomicU64::new(ROWS_FIRST))
    }
}

impl Size {
    /// Rows of the next range.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns from a range that was carried. Grows by half at most, shrinks at once. Where nobody
    /// had to wait, nothing speaks against larger ones.
    pub fn learn(&self, rows: u64, held: Duration) {
        if rows == 0 {
            return;
        }
        let fitting = rows as u128 * HELD_TARGET.as_micros() / held.as_micros().max(1);
        let fitting = u64::try_from(fitting).unwrap_or(ROWS_MAX);
        let next = fitting.min(self.rows() + self.rows() / 2);
        self.0
            .store(next.clamp(ROWS_MIN, ROWS_MAX), Ordering::Relaxed);
    }
}

/// Reads pairs that are left and hands them over; blocks while the flow is behind.
///
/// # Errors
/// When the source cannot be read. What was handed over stands.
pub fn read(
    context: &Context,
    direction: Direction,
    windows: &Arc<Windows>,
    work: &Work,
    out: &SyncSender<Result<Read>>,
    stop: &Stop,
) -> Result<()> {
    let mut scan = context.side(direction.source()).scan()?;
    while let Some((pair, last)) = work.next_pair() {
        let (mut after, mut ordinal) = match last {
            None => (None, 0),
            Some(range) => (range.through, range.ordinal + 1),
        };
        loop {
            if stop.asked() {
                return Ok(());
            }
            work.free();
            let window = windows.open();
            let most = Most {
                rows: work.size.rows(),
                bytes: BYTES_MAX,
            };
            let span = Span {
                pair,
                after,
                through: None,
            };
            let began = context.clock.elapsed();
            let mut chunk = scan.read(&span, most, &window.received)?;
            let took = context.clock.elapsed().saturating_sub(began);
            context.probe.at(Point::CHUNK_READ)?;
            let count = chunk.rows.len() as u64;
            let next = chunk.cut.take();
            let range = Range {
                pair,
                ordinal,
                after: span.after,
                through: next.clone(),
            };
            let rows = Prepared::map(context, direction, chunk, Carried::Range(range))?;
            let gone = out.send(Ok(Read { window, rows })).is_err();
            if gone || work.pace(context, count, took, stop) {
                return Ok(());
            }
            let Some(next) = next else { break };
            after = Some(next);
            ordinal += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
