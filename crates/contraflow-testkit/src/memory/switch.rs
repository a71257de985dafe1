//! Authority: the standing, moved by compare-and-set.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Sequence, Switch, fenced};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Gate, LaneId, Standing};
use contraflow_core::position::Position;
use contraflow_core::record::Origin;

use super::apply::carried;
use super::state::Book;
use super::{Face, position, sequence};

pub(super) struct Guard(pub(super) Face);

impl Guard {
    /// The gate as writers feel it: a fence ends by its deadline.
    fn gate(&self, book: &Book) -> Gate {
        match book.standing.gate {
            Gate::Fenced if self.0.memory.clock.elapsed() >= book.fenced_until => Gate::Open,
            gate => gate,
        }
    }
}

impl Switch for Guard {
    fn standing(&mut self) -> Result<Option<Standing>> {
        let state = self.0.memory.lock();
        Ok(state.book.as_ref().map(|book| Standing {
            gate: self.gate(book),
            ..book.standing.clone()
        }))
    }

    fn fence(&mut self, epoch: Epoch, limit: Duration) -> Result<Position> {
        let mut state = self.0.memory.lock();
        let now = self.0.memory.clock.elapsed();
        let book = carried(&mut state)?;
        if self.gate(book) != Gate::Open || book.standing.epoch != epoch {
            return Err(fenced("the end to be fenced is not open in this epoch"));
        }
        book.standing.gate = Gate::Fenced;
        book.fenced_until = now + limit;
        Ok(position(book.head))
    }

    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()> {
        let mut state = self.0.memory.lock();
        let book = carried(&mut state)?;
        if self.gate(book) != Gate::Fenced || book.standing.epoch != epoch {
            return Err(expired("its deadline has passed"));
        }
        let drained = sequence(drained);
        let behind = book.log.iter().filter(|entry| entry.sequence > drained);
        if behind
            .into_iter()
            .any(|entry| entry.origin == Origin::Application)
        {
            return Err(expired("writes lie behind what was drained"));
        }
        book.standing.gate = Gate::Closed;
        book.standing.epoch = epoch.next();
        let direction = self.0.role.side.other().direction();
        let lane = book.lanes.entry((direction, LaneId(0))).or_default();
        lane.token += 1;
        lane.sequence = 0;
        lane.position = Some(reverse_from.clone());
        Ok(())
    }

    fn flip(&mut self, epoch: Epoch, _sequences: &[Sequence]) -> Result<()> {
        let mut state = self.0.memory.lock();
        let book = carried(&mut state)?;
        if book.standing.gate != Gate::Closed || book.standing.epoch.next() != epoch {
            let message = "the end to be opened is not closed in the epoch before";
            return Err(fenced(message));
        }
        book.standing.gate = Gate::Open;
        book.standing.epoch = epoch;
        for lane in book.lanes.values_mut() {
            lane.token += 1;
        }
        Ok(())
    }

    fn lift(&mut self, epoch: Epoch) -> Result<()> {
        let mut state = self.0.memory.lock();
        let book = carried(&mut state)?;
        if book.standing.gate == Gate::Closed || book.standing.epoch != epoch {
            return Err(fenced("the fence to be lifted was made permanent"));
        }
        book.standing.gate = Gate::Open;
        Ok(())
    }

    fn sequences(&mut self) -> Result<Vec<Sequence>> {
        Ok(Vec::new())
    }

    fn adopt(&mut self, ledger: &str) -> Result<()> {
        let mut state = self.0.memory.lock();
        ledger.clone_into(&mut carried(&mut state)?.standing.ledger);
        Ok(())
    }
}

fn expired(why: &str) -> Error {
    let message = format!("the fence ended before the turn did: {why}");
    Error::new(Kind::Transient, Code::FENCE_EXPIRED, message)
}
