//! Reading rows range by range.

use contraflow_core::code::Code;
use contraflow_core::end::{Chunk, Most, Scan, Span};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId};

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

/// A span that is read in ranges.
pub(super) struct Walk {
    pub(super) pair: PairId,
    rest: Option<Span>,
}

impl Walk {
    pub(super) fn over(span: &Span) -> Walk {
        Walk {
            pair: span.pair,
            rest: Some(span.clone()),
        }
    }

    /// The key behind which it goes on.
    pub(super) fn cut(&self) -> Option<&Key> {
        self.rest.as_ref()?.after.as_ref()
    }

    /// The next range, which shows everything received; `None` behind the last one.
    pub(super) fn next(
        &mut self,
        scan: &mut dyn Scan,
        received: &Position,
        stop: &Stop,
    ) -> Result<Option<Chunk>> {
        let Some(mut span) = self.rest.take() else {
            return Ok(None);
        };
        stopped(stop)?;
        let mut chunk = scan.read(&span, MOST, received)?;
        if let Some(cut) = chunk.cut.take() {
            span.after = Some(cut);
            self.rest = Some(span);
        }
        Ok(Some(chunk))
    }
}

/// Fails when the compare was asked to stop.
pub(super) fn stopped(stop: &Stop) -> Result<()> {
    if !stop.asked() {
        return Ok(());
    }
    let message = "the compare was interrupted";
    Err(Error::new(Kind::Transient, Code::COMPARE_UNPROVEN, message))
}
