//! The writer of topics: records, checkpoint and a copy of it in the consumer group, in one
//! transaction of the target.

use contraflow_core::code::Code;
use contraflow_core::codec::payload::Payload;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Resume, StoredLetter, fenced,
};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::log::{Envelope, FIELDS, Place};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{Change, Complement, Record};
use contraflow_core::side::Direction;
use rdkafka::consumer::BaseConsumer;

use super::broker::Broker;
use super::control::{self, Checkpoint, Control, LANES, Note};
use super::decide;
use super::envelope::{self, Source};
use super::place::{self, TopicPlace};
use super::producer::{BATCH_BYTES, Outgoing, Producer};
use super::{Context, client};

/// The timestamp that the client takes for "now".
const TAKEN_FOR_NOW: i64 = 0;

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

    /// Bytes of a batch that every topic takes.
    fn batch_bytes(&self) -> Result<u64> {
        let broker = Broker::new(&self.context.servers)?;
        let mut bytes = BATCH_BYTES;
        for (_, table) in self.context.role.pairs() {
            if let Some(topic) = broker.topic(&table.name)? {
                bytes = bytes.min(broker.room(&topic)?.record_bytes_max.max(1));
            }
        }
        Ok(bytes)
    }

    fn send(&self, lane: &Lane, records: &[Record], from: &[TopicPlace]) -> Result<()> {
        let mut payload = Vec::new();
        for (number, record) in records.iter().enumerate() {
            if number == records.len() / 2 {
                self.context.probe.at(Point::BATCH_APPLY_MID)?;
            }
            self.send_one(lane, record, from, &mut payload)?;
        }
        Ok(())
    }

    fn send_one(
        &self,
        lane: &Lane,
        record: &Record,
        from: &[TopicPlace],
        payload: &mut Vec<u8>,
    ) -> Result<()> {
        let topic = &self.context.role.table(record.pair).name;
        let source = from.get(usize::from(record.pair.0));
        let (Some(envelope), Some(source)) = (Envelope::of(&record.key), source) else {
            return Err(broken("a record without an envelope"));
        };
        let place = envelope.place;
        if place.origin() != lane.direction.source() {
            return Err(broken("a record that was carried already is carried again"));
        }
        if envelope.timestamp == TAKEN_FOR_NOW {
            return Err(without_time(place));
        }
        payload.clear();
        let none = Complement::default();
        let (value, complement) = match &record.change {
            Change::Put(image) | Change::Replace(image) => {
                let fields = image.row.0.get(FIELDS.len()..).unwrap_or_default();
                let format = self.payload(topic)?;
                let written = format.write(fields, payload);
                written.map_err(|error| unwritable(place, &error))?;
                (Some(payload.as_slice()), &image.complement)
            }
            Change::Delete => (None, &none),
        };
        let source = Source {
            direction: lane.direction,
            topic: source.id,
            partition: place.partition,
            offset: place.offset,
        };
        let hash = self.context.names.hash;
        let headers = envelope::write(&envelope.headers, &source, complement, hash)
            .ok_or_else(|| broken("headers that cannot be written"))?;
        lane.producer.send(Outgoing {
            topic,
            partition: place.partition,
            timestamp: Some(envelope.timestamp),
            key: envelope.key.as_deref(),
            payload: value,
            headers: Some(headers),
        })
    }

    fn payload(&self, topic: &str) -> Result<&dyn Payload> {
        let found = self.context.payloads.get(topic);
        let found = found.map(|payload| &**payload);
        found.ok_or_else(|| broken("a topic without a format"))
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
        self.send(lane, records, &next)?;
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
        let batch_bytes = self.batch_bytes()?;
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
        let position = decide::resume(direction, found.as_ref())?;
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
        self.commit(&lane, records, through, lease)?;
        lease.sequence += 1;
        self.lane = Some(lane);
        Ok(Applied {
            records: records.len() as u64,
            ..Applied::default()
        })
    }

    fn checkpoint(&mut self, lane: LaneId, direction: Direction) -> Result<Option<Position>> {
        let found = control::checkpoint(&self.context, direction, lane)?;
        Ok(found.map(|found| found.position()))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        Ok(Vec::new())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Internal, Code::INTERNAL, what)
}

fn without_time(place: Place) -> Error {
    let Place {
        partition, offset, ..
    } = place;
    let message = format!("record {offset} of partition {partition} has the timestamp 0");
    Error::new(Kind::Hold, Code::VALUE_UNMAPPABLE, message)
        .detail("The client writes the time of now in its place, so it is not written.")
        .hint("Wait until retention has taken it, or delete records up to it.")
}

fn unwritable(place: Place, error: &Error) -> Error {
    let Place {
        partition, offset, ..
    } = place;
    let message = format!("record {offset} of partition {partition} cannot be written: {error}");
    Error::new(Kind::Hold, error.code, message)
        .detail("What follows it must not overtake it. Nothing of its batch was written.")
}
