//! The feed: consumers with explicit partitions, from a place that is checked against the topic.
//!
//! A position lies behind transaction markers, which no consumer is handed. When nothing comes and
//! the end of a partition lies further on, the partition is read again from where it stands: the
//! client then says that it has reached the end, and everything up to an end that was asked for
//! before has been handed out.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start, Watched};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::{Envelope, Place};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Event, Image, Op, Origin, PairId, Row};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::client::{self, failure};
use super::envelope::{self, Headers};
use super::place::{self, TopicPlace};

/// How long the first record of a batch is waited for.
const POLL: Duration = Duration::from_millis(5);
/// How long going back to a place may take.
const SEEK_MAX: Duration = Duration::from_secs(1);
/// Bytes of keys and payloads in a batch, about: huge records must not fill the memory.
const BATCH_BYTES: usize = 8 << 20;
/// Records of one look at a mirror.
const WATCHED_MAX: usize = 4_000;

pub(super) struct TopicFeed {
    context: Context,
    reading: Option<Reading>,
}

struct Reading {
    broker: Broker,
    topics: Vec<Open>,
}

/// One topic that is read.
struct Open {
    pair: PairId,
    topic: Topic,
    consumer: BaseConsumer,
    /// The oldest offset of each partition when it was opened.
    starts: Vec<i64>,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// The ends that were asked for last.
    ends: Vec<i64>,
    /// The end that a partition is known to have reached once the client says so.
    sought: Vec<Option<i64>>,
}

impl TopicFeed {
    pub(super) fn new(context: Context) -> TopicFeed {
        TopicFeed {
            context,
            reading: None,
        }
    }

    fn reading(&mut self) -> Result<&mut Reading> {
        self.reading
            .as_mut()
            .ok_or_else(|| Error::new(Kind::Internal, Code::INTERNAL, "a feed that was not opened"))
    }

    /// Hands what comes to `take`, at most so many records of all topics.
    fn poll(
        &mut self,
        records_max: usize,
        mut take: impl FnMut(&Context, PairId, &BorrowedMessage<'_>) -> Result<()>,
    ) -> Result<()> {
        let context = self.context.clone();
        let reading = self.reading()?;
        let (mut taken, mut bytes) = (0, 0);
        for open in &mut reading.topics {
            let before = taken;
            while taken < records_max && bytes < BATCH_BYTES {
                let wait = if taken == 0 { POLL } else { Duration::ZERO };
                match open.consumer.poll(wait) {
                    None => break,
                    Some(Ok(message)) => {
                        take(&context, open.pair, &message)?;
                        taken += 1;
                        bytes += message.key_len() + message.payload_len();
                        let partition = index(message.partition());
                        open.next[partition] = message.offset() + 1;
                    }
                    Some(Err(KafkaError::PartitionEOF(partition))) => {
                        open.reached(index(partition));
                    }
                    Some(Err(error)) => {
                        let what = format!("reading topic `{}`", open.topic.name);
                        return Err(failure(&what, error).at(context.role.side));
                    }
                }
            }
            if taken == before {
                open.seek_end();
            }
        }
        Ok(())
    }
}

impl Open {
    /// The client has handed out everything up to an end that is not before the one asked for.
    fn reached(&mut self, partition: usize) {
        if let Some(end) = self.sought[partition].take() {
            self.next[partition] = self.next[partition].max(end);
        }
    }

    /// Where markers lie before the end, reads the partition again from where it stands. What the
    /// client had said before is void then, so what it says next is about an end of now.
    fn seek_end(&mut self) {
        for partition in 0..self.next.len() {
            let (next, end) = (self.next[partition], self.ends[partition]);
            if next >= end || self.sought[partition] == Some(end) {
                continue;
            }
            let offset = Offset::Offset(next);
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            // A partition that is not fetched yet cannot be sought; it is tried again.
            let sought = self
                .consumer
                .seek(&self.topic.name, number, offset, SEEK_MAX);
            self.sought[partition] = sought.is_ok().then_some(end);
        }
    }

    fn place(&self) -> TopicPlace {
        TopicPlace {
            topic: self.topic.name.clone(),
            id: self.topic.id,
            next: self.next.clone(),
        }
    }
}

impl Feed for TopicFeed {
    fn open(&mut self, start: &Start) -> Result<()> {
        let broker = Broker::new(&self.context.cluster)?;
        let from = match start {
            Start::Earliest => None,
            Start::After(position) | Start::NotBefore(position) => Some(place::decode(position)),
        };
        let watches = matches!(start, Start::NotBefore(_));
        let mut topics = Vec::new();
        for (pair, table) in self.context.role.pairs() {
            let from =
                match &from {
                    None => None,
                    Some(places) => {
                        let places = places.as_ref();
                        let place = places.and_then(|all| all.get(usize::from(pair.0)));
                        Some(place.ok_or_else(|| {
                            lost(&table.name, "the position is of something else")
                        })?)
                    }
                };
            let opened = open(&self.context, &broker, pair, &table.name, from, watches);
            topics.push(opened.map_err(|error| error.at(self.context.role.side))?);
        }
        self.reading = Some(Reading { broker, topics });
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let mut events = Vec::new();
        self.poll(events_max, |context, pair, message| {
            events.push(event(context, pair, message)?);
            Ok(())
        })?;
        let through = self.received();
        Ok(Batch {
            events,
            seen: through.clone(),
            through,
        })
    }

    fn watch(&mut self, echo: Direction) -> Result<Watched> {
        let (mut events, mut foreign) = (0, 0);
        self.poll(WATCHED_MAX, |context, _, message| {
            events += 1;
            let source = envelope::read(message, context.names.hash).source;
            foreign += u64::from(source.is_none_or(|source| source.direction != echo));
            Ok(())
        })?;
        Ok(Watched {
            events,
            foreign,
            through: self.received(),
        })
    }

    fn has_forgotten(&self, pair: PairId, partition: i32) -> bool {
        let mut topics = self.reading.iter().flat_map(|reading| &reading.topics);
        let open = topics.find(|open| open.pair == pair);
        let start = open.and_then(|open| open.starts.get(index(partition)));
        start.is_some_and(|start| *start > 0)
    }

    fn compacts(&mut self, pair: PairId) -> Result<bool> {
        let name = self.context.role.table(pair).name.clone();
        self.reading()?.broker.compacts(&name)
    }

    fn received(&self) -> Position {
        let topics = self.reading.iter().flat_map(|reading| &reading.topics);
        let places: Vec<TopicPlace> = topics.map(Open::place).collect();
        place::encode(&places)
    }

    fn confirm(&mut self, _through: &Position) -> Result<()> {
        // Retention does not wait for readers; the group's offsets go with the records.
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let reading = self.reading()?;
        let (mut places, mut behind) = (Vec::new(), 0);
        for open in &mut reading.topics {
            open.ends = reading.broker.ends(&open.topic, Visible::Committed)?;
            for (end, next) in open.ends.iter().zip(&open.next) {
                behind += u64::try_from(end - next).unwrap_or(0);
            }
            places.push(TopicPlace {
                next: open.ends.clone(),
                ..open.place()
            });
        }
        Ok((place::encode(&places), behind))
    }
}

/// Opens one topic at a place, or at its oldest records.
fn open(
    context: &Context,
    broker: &Broker,
    pair: PairId,
    name: &str,
    from: Option<&TopicPlace>,
    watches: bool,
) -> Result<Open> {
    let topic = broker.topic(name)?;
    let topic = topic.ok_or_else(|| lost(name, "it is not there any more"))?;
    let starts = broker.starts(&topic)?;
    let mut next = starts.clone();
    if let Some(from) = from {
        let ends = broker.ends(&topic, Visible::Everything)?;
        same_topic(&topic, from)?;
        for partition in 0..topic.partitions {
            let (at, start) = (from.next[partition], starts[partition]);
            if at < start && !watches {
                let why = format!(
                    "records {at} to {} of partition {partition} are gone, and were not carried",
                    start - 1
                );
                return Err(lost(name, &why));
            }
            if at > ends[partition] {
                let why = format!(
                    "partition {partition} ends at {}, the checkpoint is {at}: it was cut",
                    ends[partition]
                );
                return Err(lost(name, &why));
            }
            next[partition] = at.max(start);
        }
    }
    let fail = |error| failure(&format!("opening topic `{name}`"), error);
    let mut settings = client::consumer(&context.cluster, "contraflow");
    settings.set("enable.partition.eof", "true");
    let consumer: BaseConsumer = settings.create().map_err(fail)?;
    let mut assigned = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(&next) {
        let added = assigned.add_partition_offset(name, partition, Offset::Offset(*offset));
        added.map_err(fail)?;
    }
    consumer.assign(&assigned).map_err(fail)?;
    Ok(Open {
        pair,
        ends: next.clone(),
        sought: vec![None; topic.partitions],
        starts,
        topic,
        consumer,
        next,
    })
}

/// A name may belong to another topic than the one that was read before.
fn same_topic(topic: &Topic, from: &TopicPlace) -> Result<()> {
    if topic.id != from.id {
        return Err(lost(&topic.name, "it was deleted and made anew"));
    }
    if topic.partitions == from.next.len() {
        return Ok(());
    }
    let message = format!(
        "topic `{}` has {} partitions, it had {}",
        topic.name,
        topic.partitions,
        from.next.len()
    );
    Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
        .detail("Keys went to other partitions since, so their order is lost.")
        .hint("`contraflow abort`, and plan anew with two topics of as many partitions."))
}

/// A record as an event.
fn event(context: &Context, pair: PairId, message: &BorrowedMessage<'_>) -> Result<Event> {
    let (partition, offset) = (message.partition(), message.offset());
    let Headers {
        source,
        complement,
        others,
    } = envelope::read(message, context.names.hash);
    let place = match &source {
        Some(source) => Place::new(partition, source.direction.source(), source.offset),
        None => Place::new(partition, context.role.side, offset),
    };
    let timestamp = match message.timestamp() {
        Timestamp::NotAvailable => -1,
        Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms,
    };
    let key = Envelope {
        place,
        timestamp,
        key: message.key().map(<[u8]>::to_vec),
        headers: others,
    };
    let key = key.into_key();
    let image = match message.payload() {
        None => None,
        Some(payload) => {
            let row = row(context, pair, &key.0, payload);
            let row = row.map_err(|error| unreadable(context, partition, offset, &error))?;
            Some(Image {
                row: Row(row),
                complement,
            })
        }
    };
    Ok(Event {
        pair,
        key,
        op: if image.is_some() { Op::Put } else { Op::Delete },
        image,
        // One record says nothing of the other partitions: nobody can go on from here alone.
        position: Position::new(offset.to_be_bytes()),
        origin: source.map_or(Origin::Application, |source| Origin::Flow(source.direction)),
    })
}

fn row(context: &Context, pair: PairId, key: &[Value], payload: &[u8]) -> Result<Vec<Value>> {
    let table = context.role.table(pair);
    let mut row = Vec::with_capacity(table.shape.fields.len());
    row.extend_from_slice(key);
    match context.payloads.get(&table.name) {
        Some(format) => format.read(payload, &mut row).map(|_| row),
        None => Err(Error::new(
            Kind::Internal,
            Code::INTERNAL,
            "a topic without a format",
        )),
    }
}

fn unreadable(context: &Context, partition: i32, offset: i64, error: &Error) -> Error {
    let message = format!("record {offset} of partition {partition} cannot be read: {error}");
    let hint = "Correct `payload` in the change file, or what writes such records.";
    Error::new(Kind::Hold, error.code, message)
        .at(context.role.side)
        .detail("What follows it must not overtake it.")
        .hint(error.hint.as_deref().unwrap_or(hint))
}

fn lost(topic: &str, why: &str) -> Error {
    let message = format!("topic `{topic}` cannot be read on: {why}");
    Error::new(Kind::Hold, Code::FEED_LOST, message)
        .hint("Find out what happened; `contraflow abort` and `contraflow run` copy anew.")
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("partitions are counted from 0")
}
