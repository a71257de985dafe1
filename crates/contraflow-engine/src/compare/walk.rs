//! Reading a whole pair, range by range.

use contraflow_core::end::{Chunk, Scan};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::PairId;

use crate::tasks::Stop;

/// Rows per scanned range.
const ROWS: u64 = 4_000;
/// Bytes after which a scanned range is cut.
const BYTES: u64 = 4 << 20;

/// The place of a read that nobody waits for in the feed.
pub(super) fn nowhere() -> Position {
    Position::new([])
}

/// Reads a whole pair in ranges, each of which shows everything received.
pub(super) fn walk(
    scan: &mut dyn Scan,
    pair: PairId,
    received: &Position,
    stop: &Stop,
    mut each: impl FnMut(Chunk) -> Result<()>,
) -> Result<()> {
    let (mut after, mut ordinal) = (None, 0);
    loop {
        if stop.asked() {
            return Err(stopped());
        }
        let range = scan.range(pair, ordinal, after.as_ref(), ROWS)?;
        let mut chunk = scan.read(&range, BYTES, received)?;
        let next = chunk.cut.take().or(range.through);
        each(chunk)?;
        let Some(next) = next else { return Ok(()) };
        after = Some(next);
        ordinal += 1;
    }
}

fn stopped() -> contraflow_core::error::Error {
    contraflow_core::error::Error::new(
        contraflow_core::error::Kind::Transient,
        contraflow_core::code::Code::COMPARE_UNPROVEN,
        "the compare was interrupted",
    )
}
