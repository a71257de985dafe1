//! The writer of topics: records, checkpoint and a copy of it in the consumer group, in one
//! transaction of the target.

use std::collections::BTreeMap;

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
use contraflow_core::record::{Change, Complement, Key, Record};
use contraflow_core::side::Direction;
use rdkafka::consumer::BaseConsumer;

use super::control::{self, Checkpoint, Control, LANES, Note};
use super::decide;
use super::envelope::{self, Ours, Source};
use super::letters::{self, Parked};
use super::park::{self, At, Turn};
use super::place::{self, TopicPlace};
use super::producer::{Outgoing, Producer};
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
    /// Letters of this direction that stand.
    parked: BTreeMap<At, Parked>,
    /// The number of the last letter.
    last_id: u64,
}

impl Writer {
    pub(super) fn new(context: Context) -> Writer {
        Writer {
            context,
            lane: None,
        }
    }

    fn send(&self, lane: &Lane, records: &[&Record], from: &[TopicPlace]) -> Result<()> {
        let mut payload = Vec::new();
        for (number, record) in records.iter().enumerate() {
            if number == records.len() / 2 {
                self.context.probe.at(Point::BATCH_APPLY_MID)?;
            }
            let place = Place::of(&record.key).ok_or_else(without_envelope)?;
            let topic = from.get(usize::from(record.pair.0));
            let source = Source {
                direction: lane.direction,
                topic: topic.ok_or_else(without_envelope)?.id,
                partition: place.partition,
                offset: place.offset,
            };
            self.send_one(lane, record, (&source, Turn::Theirs), &mut payload)?;
        }
        Ok(())
    }

    fn send_one(
        &self,
        lane: &Lane,
        record: &Record,
        (source, turn): (&Source, Turn),
        payload: &mut Vec<u8>,
    ) -> Result<()> {
        let topic = &self.context.role.table(record.pair).name;
        let envelope = Envelope::of(&record.key).ok_or_else(without_envelope)?;
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
        let ours = Ours {
            source,
            complement,
            replayed: turn == Turn::Again,
            letter: None,
        };
        let headers = envelope::write(&envelope.headers, ours, self.context.names.hash)
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

    /// Writes what can be written, parks the rest, and moves the checkpoint.
    fn commit(
        &self,
        lane: &mut Lane,
        (records, letters): (&[Record], &[Letter]),
        through: &Position,
        lease: &Lease,
    ) -> Result<Applied> {
        let next = place::decode(through).ok_or_else(|| broken("a position of something else"))?;
        let sorted = park::sort(records, letters, &lane.standing(), Turn::Theirs);
        let mut parked = Vec::new();
        if !sorted.parked.is_empty() {
            letters::make(&self.context)?;
            let first = lane.last_id + 1;
            let (direction, new) = (lane.direction, sorted.parked);
            parked = letters::park(&self.context, direction, new, &next, first)?;
        }
        lane.producer.begin()?;
        self.send(lane, &sorted.sent, &next)?;
        for letter in &parked {
            letter.send(&lane.producer, &self.context)?;
        }
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
        self.context.probe.at(Point::COMMIT_AFTER)?;
        lane.last_id += parked.len() as u64;
        let applied = Applied {
            records: sorted.sent.len() as u64,
            letters: parked.len() as u64,
            ..Applied::default()
        };
        lane.keep(parked);
        Ok(applied)
    }

    /// Writes letters that can be written now, marked, and keeps the others.
    fn again(&self, lane: &mut Lane, records: &[Record], letters: &[Letter]) -> Result<Applied> {
        let sorted = park::sort(records, letters, &lane.standing(), Turn::Again);
        let tried = |letter: &Letter| {
            let at = (letter.pair, Place::of(&letter.source_key)?);
            lane.parked.get(&at).map(|parked| parked.tried(letter))
        };
        let kept: Vec<Parked> = sorted.parked.iter().filter_map(tried).collect();
        if sorted.sent.is_empty() && kept.is_empty() {
            return Ok(Applied::default());
        }
        lane.producer.begin()?;
        let mut payload = Vec::new();
        let mut carried = Vec::new();
        for record in &sorted.sent {
            let place = Place::of(&record.source_key).ok_or_else(without_envelope)?;
            let Some(parked) = lane.parked.get(&(record.pair, place)) else {
                continue;
            };
            let from = (&parked.source(place), Turn::Again);
            self.send_one(lane, record, from, &mut payload)?;
            parked.take_away(&lane.producer, &self.context)?;
            carried.push((record.pair, place));
        }
        for letter in &kept {
            letter.send(&lane.producer, &self.context)?;
        }
        self.context.probe.at(Point::COMMIT_BEFORE)?;
        lane.producer.commit()?;
        self.context.probe.at(Point::COMMIT_AFTER)?;
        lane.parked.retain(|at, _| !carried.contains(at));
        lane.keep(kept);
        Ok(Applied {
            records: carried.len() as u64,
            ..Applied::default()
        })
    }
}

impl Lane {
    /// The keys of the letters that stand.
    fn standing(&self) -> BTreeMap<At, Key> {
        let key = |parked: &Parked| parked.stored.letter.source_key.clone();
        self.parked
            .iter()
            .map(|(at, parked)| (*at, key(parked)))
            .collect()
    }

    fn keep(&mut self, letters: Vec<Parked>) {
        let at = |letter: Parked| letter.at().map(|at| (at, letter));
        self.parked.extend(letters.into_iter().filter_map(at));
    }
}

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        if lane.0 >= LANES || self.context.role.side != direction.target() {
            return Err(fenced("this end has no such lane"));
        }
        let names = &self.context.names;
        // First the id, then the control topic: an earlier owner can commit nothing any more, and
        // whoever moved authority before this moment is seen.
        let producer = Producer::take(&self.context.servers, &names.lane(direction, lane))?;
        let control = Control::read(&self.context)?.unwrap_or_default();
        let epoch = decide::carry(&control, self.context.role.side, direction)?;
        let found = control::checkpoint(&self.context, direction, lane)?;
        let group = client::consumer(&self.context.servers, &names.group(direction)).create();
        let group = group.map_err(|error| client::failure("making a client", error))?;
        let token = found.as_ref().map_or(0, |found| found.token) + 1;
        let mut standing = letters::all(&self.context)?;
        let last_id = standing.iter().map(|parked| parked.stored.id).max();
        standing.retain(|parked| parked.stored.direction == direction);
        let mut taken = Lane {
            producer,
            group,
            direction,
            token,
            parked: BTreeMap::new(),
            last_id: last_id.unwrap_or(0),
        };
        taken.keep(standing);
        self.lane = Some(taken);
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
        let Some(mut lane) = self.lane.take() else {
            return Err(fenced("the lane was not claimed"));
        };
        if lane.token != lease.token || lane.direction != lease.direction {
            return Err(fenced("the lane was claimed again"));
        }
        // After any error the producer is gone: what became of the transaction is found out by
        // the next claim.
        let applied = match progress {
            Progress::Advance { through, .. } => {
                let applied = self.commit(&mut lane, (records, letters), through, lease)?;
                lease.sequence += 1;
                applied
            }
            Progress::Keys { .. } => self.again(&mut lane, records, letters)?,
            Progress::Chunk { .. } => return Err(broken("a range of a log")),
        };
        self.lane = Some(lane);
        Ok(applied)
    }

    fn checkpoint(&mut self, lane: LaneId, direction: Direction) -> Result<Option<Position>> {
        let found = control::checkpoint(&self.context, direction, lane)?;
        Ok(found.map(|found| found.position()))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        if let Some(lane) = &self.lane {
            // Nobody else writes them while the lane is ours.
            return Ok(lane
                .parked
                .values()
                .map(|parked| parked.stored.clone())
                .collect());
        }
        let all = letters::all(&self.context)?.into_iter();
        let side = self.context.role.side;
        let here = all.filter(|parked| parked.stored.direction.target() == side);
        Ok(here.map(|parked| parked.stored).collect())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Internal, Code::INTERNAL, what)
}

fn without_envelope() -> Error {
    broken("a record without an envelope")
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
