//! Reading a whole pair, range by range.

use contraflow_core::end::{Chunk, Most, Scan};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::PairId;

use crate::tasks::Stop;

/// What one read takes.
const MOST: Most = Most {
    rows: 4_000,
    bytes: 4 << 20,
};

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
    let mut after = None;
    loop {
        if stop.asked() {
            return Err(stopped());
        }
        let mut chunk = scan.read(pair, after.as_ref(), MOST, received)?;
        let next = chunk.cut.take();
        each(chunk)?;
        let Some(next) = next else { return Ok(()) };
        after = Some(next);
    }
}

fn stopped() -> contraflow_core::error::Error {
    contraflow_core::error::Error::new(
        contraflow_core::error::Kind::Transient,
        contraflow_core::code::Code::COMPARE_UNPROVEN,
        "the compare was interrupted",
    )
}
