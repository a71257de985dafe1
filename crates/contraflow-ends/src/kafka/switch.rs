//! Authority: records of the control topic, written by whoever has taken the coordinator's id.
//!
//! Kafka cannot refuse the writers of a topic. The fence is the end of the old topic, once it is
//! shown that nobody writes there any more: somebody said so, nothing came since, and no
//! transaction is open.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Sequence, Switch, fenced};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Gate, LaneId, Ownership, Standing};
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};

use super::Context;
use super::broker::{Broker, Visible};
use super::client;
use super::control::{Checkpoint, Control, Coordinator, Flip, LANES, Note, Sealed, Stopped};
use super::place::{self, TopicPlace};
use super::producer::Producer;

/// How often is looked whether the writers are still silent.
const LOOK: Duration = Duration::from_millis(100);
/// For how long it counts that somebody said the producers have stopped: whoever said so may have
/// started them again since.
const STOPPED_MAX: Duration = Duration::from_secs(60 * 60);

pub(super) struct ControlRecord {
    context: Context,
}

/// Both ends of the topics of a side: what is visible, and what is there.
struct Ends {
    visible: Vec<TopicPlace>,
    written: Vec<TopicPlace>,
}

impl ControlRecord {
    pub(super) fn new(context: Context) -> ControlRecord {
        ControlRecord { context }
    }

    fn side(&self) -> Side {
        self.context.role.side
    }

    fn ends(&self) -> Result<Ends> {
        let broker = Broker::new(&self.context.cluster)?;
        let (mut visible, mut written) = (Vec::new(), Vec::new());
        for (_, table) in self.context.role.pairs() {
            let topic = broker.topic(&table.name)?;
            let topic = topic.ok_or_else(|| gone(&table.name))?;
            visible.push(broker.end(&topic, Visible::Committed)?);
            written.push(broker.end(&topic, Visible::Everything)?);
        }
        Ok(Ends { visible, written })
    }

    /// What was said of the producers, while it counts.
    fn stopped<'c>(&self, control: &'c Control) -> Option<&'c Stopped> {
        let now_ms = self.context.clock.unix_ms();
        let stopped = control.stopped.as_ref();
        stopped.filter(|stopped| {
            u128::from(now_ms.saturating_sub(stopped.at_ms)) <= STOPPED_MAX.as_millis()
        })
    }

    /// The standing of this side, if it is of this epoch and one of these gates.
    fn expect(&self, control: &Control, epoch: Epoch, gates: &[Gate]) -> Result<Standing> {
        let standing = control.standing(self.side());
        let found = standing.filter(|found| found.epoch == epoch && gates.contains(&found.gate));
        found
            .cloned()
            .ok_or_else(|| fenced("authority has moved on in the control topic"))
    }

    /// Ends whatever the lanes of a direction have open, and keeps their owners from going on.
    fn sweep(&self, direction: Direction) -> Result<()> {
        for lane in 0..LANES {
            let id = self.context.names.lane(direction, LaneId(lane));
            Producer::take(&self.context.cluster, &id)?;
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
        let control = &coordinator.control;
        let standing = self.expect(control, epoch, &[Gate::Open, Gate::Fenced])?;
        let ends = self.ends()?;
        let stopped = self.stopped(control);
        if stopped.is_none_or(|stopped| stopped.ends != ends.written) {
            return Err(unfinished(self.side(), "its producers write"));
        }
        if ends.visible != ends.written {
            return Err(unfinished(self.side(), "a transaction is open"));
        }
        let standing = Standing {
            gate: Gate::Fenced,
            ..standing
        };
        coordinator.write(&[Note::standing(self.side(), Some(&standing))], |_| Ok(()))?;
        Ok(place::encode(&ends.written))
    }

    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let standing = self.expect(&coordinator.control, epoch, &[Gate::Fenced])?;
        let ends = self.ends()?;
        if place::encode(&ends.written) != *drained {
            let why = "records lie behind what was drained";
            return Err(crate::tables::expired(self.side(), why));
        }
        let compared = place::decode(reverse_from).unwrap_or_default();
        let sealed = Sealed {
            old_ends: ends.written,
            new_compared: compared,
        };
        let standing = Standing {
            gate: Gate::Closed,
            epoch: epoch.next(),
            ..standing
        };
        let notes = [
            Note::standing(self.side(), Some(&standing)),
            Note::sealed(&sealed),
        ];
        coordinator.write(&notes, |_| Ok(()))
    }

    fn flip(&mut self, epoch: Epoch, _sequences: &[Sequence]) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let control = &coordinator.control;
        let gaining = Ownership::Sealed {
            gaining: self.side(),
            epoch,
        };
        let (Some(sealed), true) = (&control.sealed, control.ownership() == gaining) else {
            return Err(fenced(
                "the end to be opened is not the one that gains authority",
            ));
        };
        let closed = self.expect(control, Epoch(epoch.0 - 1), &[Gate::Closed])?;
        // A lane that was claimed before the seal was seen by everybody can commit nothing from
        // here on; one that is claimed later sees the seal and refuses.
        let losing = self.side().other().direction();
        self.sweep(losing)?;
        // What was written behind the last compare is nobody's copy: it goes back.
        let starts = sealed.new_compared.clone();
        let standing = Standing {
            gate: Gate::Open,
            epoch,
            ..closed
        };
        let flip = Flip {
            at_ms: self.context.clock.unix_ms(),
            epoch: epoch.0,
            old_ends: sealed.old_ends.clone(),
            new_starts: starts.clone(),
            stopped: control.stopped.clone(),
        };
        let direction = self.side().direction();
        let checkpoint = Checkpoint {
            token: 0,
            sequence: 0,
            next: starts.clone(),
        };
        let notes = [
            Note::flip(&flip),
            Note::standing(self.side(), Some(&standing)),
            Note::checkpoint(direction, LaneId(0), &checkpoint),
        ];
        let group = client::consumer(&self.context.cluster, &self.context.names.group(direction));
        let group = group
            .create()
            .map_err(|error| client::failure("making a client", error))?;
        let offsets = client::offsets(&starts)?;
        coordinator.write(&notes, |producer| producer.offsets(&group, &offsets))
    }

    fn lift(&mut self, epoch: Epoch) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let gates = [Gate::Open, Gate::Fenced];
        let standing = self.expect(&coordinator.control, epoch, &gates)?;
        if standing.gate == Gate::Open {
            return Ok(());
        }
        let standing = Standing {
            gate: Gate::Open,
            ..standing
        };
        coordinator.write(&[Note::standing(self.side(), Some(&standing))], |_| Ok(()))
    }

    fn sequences(&mut self) -> Result<Vec<Sequence>> {
        Ok(Vec::new())
    }

    fn writers_stopped(&mut self) -> Result<()> {
        let coordinator = Coordinator::take(&self.context)?;
        let standing = coordinator.control.standing(self.side());
        if standing.is_none_or(|standing| standing.gate != Gate::Open) {
            return Err(fenced("the end whose writers stop is not open"));
        }
        let stopped = Stopped {
            at_ms: self.context.clock.unix_ms(),
            ends: self.ends()?.written,
        };
        coordinator.write(&[Note::stopped(&stopped)], |_| Ok(()))
    }

    fn writers(&mut self, quiet: Duration) -> Result<Option<u64>> {
        let control = Control::read(&self.context)?.unwrap_or_default();
        if self.side() == Side::New {
            // Authority never moves away from there.
            return Ok(Some(0));
        }
        let Some(stopped) = self.stopped(&control) else {
            return Ok(Some(1));
        };
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let enough_ms = stopped.at_ms.saturating_add(quiet_ms);
        loop {
            let ends = self.ends()?;
            let moved = differing(&ends.written, &stopped.ends);
            let open = differing(&ends.written, &ends.visible);
            let left_ms = enough_ms.saturating_sub(self.context.clock.unix_ms());
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

fn unfinished(side: Side, why: &str) -> Error {
    let message = format!("the {side} topic is not at rest: {why}");
    Error::new(Kind::Transient, Code::TURN_FAILED, message)
        .at(side)
        .detail("Authority stayed where it was.")
        .hint("Stop the producers, say so with `contraflow producer stopped`, and ask again.")
}
