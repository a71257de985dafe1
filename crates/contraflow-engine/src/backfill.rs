//! History, range by range: reads ahead of the flow, which carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use contraflow_core::end::{Most, Range};
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

/// Where rows are handed over, and where they come back when they were carried.
pub struct Hand<'h> {
    /// To the flow.
    pub out: &'h SyncSender<Result<Read>>,
    /// From the flow, to be freed by the thread that allocated them.
    pub given_back: &'h Receiver<Vec<Record>>,
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

/// Reads what is left of all pairs and hands it over; blocks while the flow is behind.
///
/// # Errors
/// When the source cannot be read. What was handed over stands.
pub fn read(
    context: &Context,
    direction: Direction,
    windows: &Arc<Windows>,
    resumed: &[(PairId, Option<Range>)],
    size: &Size,
    hand: &Hand<'_>,
    stop: &Stop,
) -> Result<()> {
    let mut scan = context.side(direction.source()).scan()?;
    for (pair, last) in resumed {
        if !context.pair(*pair).history.copies() {
            continue;
        }
        let (mut after, mut ordinal) = match last {
            None => (None, 0),
            Some(Range { through: None, .. }) => continue,
            Some(range) => (range.through.clone(), range.ordinal + 1),
        };
        loop {
            if stop.asked() {
                return Ok(());
            }
            hand.given_back.try_iter().for_each(drop);
            let began = context.clock.elapsed();
            let window = windows.open();
            let most = Most {
                rows: size.rows(),
                bytes: BYTES_MAX,
            };
            let mut chunk = scan.read(*pair, after.as_ref(), most, &window.received)?;
            context.probe.at(Point::CHUNK_READ)?;
            let count = chunk.rows.len() as u64;
            let next = chunk.cut.take();
            let range = Range {
                pair: *pair,
                ordinal,
                after,
                through: next.clone(),
            };
            let rows = Prepared::map(context, direction, chunk, Carried::Range(range));
            if hand.out.send(Ok(Read { window, rows })).is_err() {
                return Ok(());
            }
            if let Some(limit) = context.limits.backfill_rows_per_s {
                let due = Duration::from_micros(count * 1_000_000 / limit.max(1));
                let spent = context.clock.elapsed().saturating_sub(began);
                if stop.wait(due.saturating_sub(spent)) {
                    return Ok(());
                }
            }
            let Some(next) = next else { break };
            after = Some(next);
            ordinal += 1;
        }
    }
    Ok(())
}
