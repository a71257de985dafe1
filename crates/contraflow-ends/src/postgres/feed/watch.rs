//! Looking on: who wrote, and not what. The server sends values as they lie in its memory, which
//! costs it least, and nobody looks into them.

use contraflow_core::error::Result;
use contraflow_core::side::Direction;

use super::super::changes::unreadable;
use super::super::folded::Folded;
use super::super::pgoutput;
use super::super::place::Place;
use super::{Known, LogFeed};

impl LogFeed {
    /// Counts a change of one of our tables. Says the place behind it; `None` for everything else.
    pub(super) fn watched(
        &mut self,
        body: &[u8],
        echo: Direction,
        folded: &mut Folded,
    ) -> Result<Option<Option<Place>>> {
        let Some(relation) = pgoutput::changed(body) else {
            return Ok(None);
        };
        match self.relations.get(&relation) {
            Some(Known::Table(..)) => {}
            Some(Known::Lane(..)) => return Ok(None),
            None => return Err(unreadable()),
        }
        let place = self.next_place()?;
        let inside = self.inside.as_ref().ok_or_else(unreadable)?;
        if place <= self.received {
            return Ok(Some(None));
        }
        folded.changes += 1;
        folded.bytes += body.len();
        folded.foreign += u64::from(inside.ours != Some(echo));
        Ok(Some(Some(place)))
    }
}
