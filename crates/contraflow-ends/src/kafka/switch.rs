//! Authority: records of the control topic, written by whoever has taken the coordinator's id.
//!
//! Kafka cannot refuse the writers of a topic. The fence is the end of the old topic, once it is
//! shown that nobody writes there any more: somebody said so, nothing came since, and no
//! transaction is open.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Sequence, Switch, fenced};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Standing};
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};

use super::Context;
use super::broker::Visible;
use super::client;
use super::control::{self, Control, Coordinator, Note};
use super::decide::{self, Ends};
use super::place::{self, TopicPlace};
use super::producer::Producer;

/// How often is looked whether the writers are still silent.
const LOOK: Duration = Duration::from_millis(100);
pub(super) struct ControlRecord {
    context: Context,
}

impl ControlRecord {
    pub(super) fn new(context: Context) -> ControlRecord {
        ControlRecord { context }
    }

    fn side(&self) -> Side {
        self.context.role.side
    }

    fn ends(&self) -> Result<Ends> {
        let broker = &self.context.broker;
        let (mut visible, mut written) = (Vec::new(), Vec::new());
        for (_, table) in self.context.role.pairs() {
            let topic = broker.topic(&table.name)?;
            let topic = topic.ok_or_else(|| gone(&table.name))?;
            visible.push(broker.end(&topic, Visible::Committed)?);
            written.push(broker.end(&topic, Visible::Everything)?);
        }
        Ok(Ends { visible, written })
    }

    fn now_ms(&self) -> u64 {
        self.context.clock.unix_ms()
    }

    /// Ends whatever the lanes of a direction have open, and keeps their owners from going on.
    fn sweep(&self, direction: Direction) -> Result<()> {
        for lane in control::lanes() {
            let id = self.context.names.lane(direction, lane);
            Producer::take(&self.context, &id)?;
        }
        Ok(())
    }
}

impl Switch for ControlRecord {
    fn standing(&mut self) -> Result<Option<Standing>> {
        let control = Control::read(&self.context)?.unwrap_or_default();
        Ok(control.standing(self.side()).cloned())
    }

    fn fence(&mut self, epoch: Epoch, _limit: Duration) -> Result<Position> {
        let coordinator = Coordinator::take(&self.context)?;
        let (side, ends) = (self.side(), self.ends()?);
        let standing = decide::fence(&coordinator.control, side, epoch, &ends, self.now_ms())?;
        coordinator.write(&[Note::standing(side, Some(&standing))], |_| Ok(()))?;
        Ok(place::encode(&ends.written))
    }

    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let (side, ends) = (self.side(), self.ends()?);
        let control = &coordinator.control;
        let (standing, sealed) = decide::seal(control, side, epoch, ends, drained, reverse_from)?;
        let notes = [Note::standing(side, Some(&standing)), Note::sealed(&sealed)];
        coordinator.write(&notes, |_| Ok(()))
    }

    fn flip(&mut self, epoch: Epoch, _sequences: &[Sequence]) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let side = self.side();
        let flipped = decide::flip(&coordinator.control, side, epoch, self.now_ms())?;
        // A lane that was claimed before the seal was seen by everybody can commit nothing from
        // here on; one that is claimed later sees the seal and refuses.
        self.sweep(side.other().direction())?;
        let direction = side.direction();
        let mut notes = vec![
            Note::flip(&flipped.flip),
            Note::standing(side, Some(&flipped.standing)),
        ];
        let begins = |lane| Note::checkpoint(direction, lane, &flipped.checkpoint);
        notes.extend(control::lanes().map(begins));
        let group = client::consumer(&self.context.cluster, &self.context.names.group(direction));
        let group = group
            .create()
            .map_err(|error| client::failure("making a client", error))?;
        let group = client::Brief(group);
        let offsets = client::offsets(&flipped.checkpoint.next, None)?;
        coordinator.write(&notes, |producer| producer.offsets(&group, &offsets))
    }

    fn lift(&mut self, epoch: Epoch) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let (control, side) = (&coordinator.control, self.side());
        let mut notes = Vec::new();
        if let Some(standing) = decide::lift(control, side, epoch)? {
            notes.push(Note::standing(side, Some(&standing)));
        }
        if control.stopped.is_some() {
            notes.push(Note::not_stopped());
        }
        if notes.is_empty() {
            return Ok(());
        }
        coordinator.write(&notes, |_| Ok(()))
    }

    fn sequences(&mut self) -> Result<Vec<Sequence>> {
        Ok(Vec::new())
    }

    fn writers_stopped(&mut self) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let (side, ends) = (self.side(), self.ends()?);
        let stopped = decide::stopped(&coordinator.control, side, ends, self.now_ms())?;
        coordinator.write(&[Note::stopped(&stopped)], |_| Ok(()))
    }

    fn writers(&mut self, quiet: Duration) -> Result<Option<u64>> {
        let control = Control::read(&self.context)?.unwrap_or_default();
        if self.side() == Side::New {
            // Authority never moves away from there.
            return Ok(Some(0));
        }
        let Some(stopped) = decide::said(&control, self.now_ms()) else {
            return Ok(Some(1));
        };
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let enough_ms = stopped.at_ms.saturating_add(quiet_ms);
        loop {
            let ends = self.ends()?;
            let moved = differing(&ends.written, &stopped.ends);
            let open = differing(&ends.written, &ends.visible);
            let left_ms = enough_ms.saturating_sub(self.now_ms());
            if moved > 0 || left_ms == 0 {
                return Ok(Some(moved + open));
            }
            let left = Duration::from_millis(left_ms);
            self.context.clock.sleep(left.min(LOOK));
        }
    }

    fn adopt(&mut self, ledger: &str) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let Some(standing) = coordinator.control.standing(self.side()) else {
            return Err(fenced("the end does not carry the change"));
        };
        let standing = Standing {
            ledger: ledger.to_owned(),
            ..standing.clone()
        };
        coordinator.write(&[Note::standing(self.side(), Some(&standing))], |_| Ok(()))
    }
}

/// Partitions whose places differ; all of a topic that is another one.
fn differing(a: &[TopicPlace], b: &[TopicPlace]) -> u64 {
    let of_topic = |(a, b): (&TopicPlace, &TopicPlace)| {
        if a.id != b.id || a.next.len() != b.next.len() {
            return a.next.len();
        }
        a.next.iter().zip(&b.next).filter(|(a, b)| a != b).count()
    };
    let topics = a.len().abs_diff(b.len());
    (a.iter().zip(b).map(of_topic).sum::<usize>() + topics) as u64
}

fn gone(topic: &str) -> Error {
    let message = format!("there is no topic `{topic}`");
    Error::new(Kind::Hold, Code::TABLE_MISSING, message)
}
