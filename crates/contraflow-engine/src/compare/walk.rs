//! Reading rows range by range.

use contraflow_core::end::{Chunk, Most, Scan, Span};
use contraflow_core::error::Result;
use contraflow_core::position::Position;

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

/// Reads a span in ranges, each of which shows everything received.
pub(super) fn walk(
    scan: &mut dyn Scan,
    span: &Span,
    received: &Position,
    stop: &Stop,
    mut each: impl FnMut(Chunk) -> Result<()>,
) -> Result<()> {
    let mut rest = span.clone();
    loop {
        if stop.asked() {
            return Err(stopped());
        }
        let mut chunk = scan.read(&rest, MOST, received)?;
        let next = chunk.cut.take();
        each(chunk)?;
        if next.is_none() {
            return Ok(());
        }
        rest.after = next;
    }
}

pub(super) fn stopped() -> contraflow_core::error::Error {
    contraflow_core::error::Error::new(
        contraflow_core::error::Kind::Transient,
        contraflow_core::code::Code::COMPARE_UNPROVEN,
        "the compare was interrupted",
    )
}
