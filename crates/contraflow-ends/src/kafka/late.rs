//! Late writes to the old topics: copies of them, and what is given up, written by whoever has the
//! coordinator's id, in one transaction with how far they are settled.

use contraflow_core::end::{Late, Letter, fenced};
use contraflow_core::error::{Kind, Result};
use contraflow_core::lease::Ownership;
use contraflow_core::log::Place;
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{PairId, Record};

use super::Context;
use super::control::{self, Coordinator, GivenUp, Note};
use super::copies::{self, Copies, broken};
use super::place;
use super::producer;

pub(super) struct LateWrites {
    context: Context,
    coordinator: Option<Coordinator>,
    /// How often something was given up.
    given_up: usize,
}

impl LateWrites {
    pub(super) fn new(context: Context) -> LateWrites {
        LateWrites {
            context,
            coordinator: None,
            given_up: 0,
        }
    }
}

impl Late for LateWrites {
    fn claim(&mut self) -> Result<Position> {
        let batch_bytes = producer::batch_bytes(&self.context)?;
        // How far the lanes came is asked too.
        let all: Vec<i32> = (control::AUTHORITY..).take(control::partitions()).collect();
        let coordinator = Coordinator::take_for(&self.context, batch_bytes, &all)?;
        let control = &coordinator.control;
        let side = self.context.role.side;
        let gained = matches!(control.ownership(), Ownership::Held { by, .. } if by == side);
        let Some(settled) = control.settled().filter(|_| gained) else {
            return Err(fenced("this end has not gained authority"));
        };
        // A lane that was not fenced yet may have carried some of them.
        let (barrier, direction) = (&coordinator.barrier, side.other().direction());
        let carried = control::carried(&self.context, direction, Some(barrier))?;
        let settled = place::encode(&place::later(settled, &carried.unwrap_or_default()));
        self.given_up = control.given_up.len();
        self.coordinator = Some(coordinator);
        Ok(settled)
    }

    fn settle(
        &mut self,
        copies: &[Record],
        given_up: &[(PairId, Place)],
        through: &Position,
    ) -> Result<Vec<Letter>> {
        // After any error it is gone: the next claim says what was settled.
        let Some(coordinator) = self.coordinator.take() else {
            return Err(fenced("late writes were not claimed"));
        };
        let from = place::decode(through).ok_or_else(|| broken("a position of something else"))?;
        let mut notes = vec![Note::late(&from)];
        if !given_up.is_empty() {
            let given_up = GivenUp::new(self.context.clock.unix_ms(), given_up);
            notes.push(Note::given_up(self.given_up, &given_up));
            self.given_up += 1;
        }
        let out = Copies {
            context: &self.context,
            direction: self.context.role.side.other().direction(),
            late: true,
            from: &from,
        };
        let sent: Vec<&Record> = copies.iter().collect();
        let written = coordinator.write(&notes, |producer| {
            out.send(producer, &sent)?;
            self.context.probe.at(Point::COMMIT_BEFORE)
        });
        if let Err(error) = written {
            return match error.kind {
                Kind::Data => Ok(copies::refused(coordinator.refused(), &sent)),
                _ => Err(error),
            };
        }
        self.context.probe.at(Point::COMMIT_AFTER)?;
        self.coordinator = Some(coordinator);
        Ok(Vec::new())
    }
}
