//! The writer of topics: records, checkpoint and a copy of it in the consumer group, in one
//! transaction of the target.

use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Resume, StoredLetter, fenced,
};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::Record;
use contraflow_core::side::Direction;
use rdkafka::consumer::BaseConsumer;

use super::control::{self, Checkpoint, Control, LANES, Note};
use super::copies::{Copies, broken};
use super::decide;
use super::place;
use super::producer::{self, Producer};
use super::resume;
use super::{Context, client};

pub(super) struct Writer {
    context: Context,
    lane: Option<Lane>,
}

/// A lane that is ours, as long as nobody else claims it.
struct Lane {
    producer: Producer,
    /// Names the group that keeps a copy of the checkpoint.
    group: BaseConsumer,
    direction: Direction,
    token: u64,
}

impl Writer {
    pub(super) fn new(context: Context) -> Writer {
        Writer {
            context,
            lane: None,
        }
    }

    /// A broker that ends a transaction because it took too long fences its owner too. Nobody has
    /// taken the lane over then, so it is claimed again.
    fn overtaken(&self, error: Error, lease: &Lease) -> Error {
        if error.kind != Kind::Fenced {
            return error;
        }
        match control::checkpoint(&self.context, lease.direction, lease.lane) {
            Ok(Some(found)) if found.token == lease.token => {
                let message = "the broker has ended a transaction of ours";
                Error::new(Kind::Transient, Code::END_FAILED, message).because(error)
            }
            Ok(_) | Err(_) => error,
        }
    }

    fn commit(
        &self,
        lane: &Lane,
        records: &[Record],
        through: &Position,
        lease: &Lease,
    ) -> Result<()> {
        let next = place::decode(through).ok_or_else(|| broken("a position of something else"))?;
        lane.producer.begin()?;
        let copies = Copies {
            context: &self.context,
            direction: lane.direction,
            late: false,
            from: &next,
        };
        copies.send(&lane.producer, records)?;
        let offsets = client::offsets(&next)?;
        let at = Checkpoint {
            token: lease.token,
            sequence: lease.sequence + 1,
            next,
        };
        Note::checkpoint(lane.direction, lease.lane, &at).send(&lane.producer, &self.context)?;
        lane.producer.offsets(&lane.group, &offsets)?;
        self.context.probe.at(Point::COMMIT_BEFORE)?;
        lane.producer.commit()?;
        self.context.probe.at(Point::COMMIT_AFTER)
    }
}

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        if lane.0 >= LANES || self.context.role.side != direction.target() {
            return Err(fenced("this end has no such lane"));
        }
        let names = &self.context.names;
        let batch_bytes = producer::batch_bytes(&self.context)?;
        // First the id, then the control topic: an earlier owner can commit nothing any more, and
        // whoever moved authority before this moment is seen.
        let id = names.lane(direction, lane);
        let producer = Producer::take_for(&self.context.servers, &id, batch_bytes)?;
        let control = Control::read(&self.context)?.unwrap_or_default();
        let epoch = decide::carry(&control, self.context.role.side, direction)?;
        let found = control::checkpoint(&self.context, direction, lane)?;
        let group = client::consumer(&self.context.servers, &names.group(direction)).create();
        let group = group.map_err(|error| client::failure("making a client", error))?;
        let token = found.as_ref().map_or(0, |found| found.token) + 1;
        let noted = decide::resume(&control, direction, found)?;
        let places = resume::places(&self.context, &control, direction, noted)?;
        // Whoever is fenced can tell by it whether somebody took over.
        let claimed = Checkpoint {
            token,
            sequence: 0,
            next: places.clone().unwrap_or_default(),
        };
        producer.begin()?;
        Note::checkpoint(direction, lane, &claimed).send(&producer, &self.context)?;
        producer.commit()?;
        self.lane = Some(Lane {
            producer,
            group,
            direction,
            token,
        });
        let lease = Lease {
            lane,
            direction,
            epoch,
            token,
            sequence: 0,
        };
        self.context.probe.at(Point::LEASE_CLAIMED)?;
        let position = places.as_deref().map(place::encode);
        let chunks = Vec::new();
        Ok((lease, Resume { position, chunks }))
    }

    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        let Progress::Advance { through, .. } = progress else {
            return Err(broken("single keys of a log are carried again"));
        };
        if !letters.is_empty() {
            return Err(broken("letters of a log"));
        }
        let Some(lane) = self.lane.take() else {
            return Err(fenced("the lane was not claimed"));
        };
        if lane.token != lease.token || lane.direction != lease.direction {
            return Err(fenced("the lane was claimed again"));
        }
        // After any error the producer is gone: what became of the transaction is found out by
        // the next claim.
        self.commit(&lane, records, through, lease)
            .map_err(|error| self.overtaken(error, lease))?;
        lease.sequence += 1;
        self.lane = Some(lane);
        Ok(Applied {
            records: records.len() as u64,
            ..Applied::default()
        })
    }

    fn checkpoint(&mut self, lane: LaneId, direction: Direction) -> Result<Option<Position>> {
        if direction == Direction::Forward
            && let Some(control) = Control::read(&self.context)?
            && let Some(settled) = control.settled()
        {
            // Where it has ended, only late writes go on.
            return Ok(Some(place::encode(settled)));
        }
        let found = control::checkpoint(&self.context, direction, lane)?;
        let places = found.and_then(Checkpoint::places);
        Ok(places.as_deref().map(place::encode))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        Ok(Vec::new())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}
