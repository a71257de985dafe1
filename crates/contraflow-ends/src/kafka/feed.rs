//! The feed: consumers with explicit partitions, from a place that is checked against the topic.
//!
//! A position lies behind transaction markers, which no consumer is handed: see `fetched`. Now and
//! then it is looked whether the topic is still the one that it was.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, LeftOut, Letter, Part, Start, Watched};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::{Envelope, Place};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Event, Image, Key, Op, Origin, PairId, Row};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;
use rdkafka::consumer::Consumer;
use rdkafka::message::{Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::client::{self, failure};
use super::control::{self, Control, GivenUp, Known};
use super::envelope::{Headers, Source, Telling};
use super::fetched::Reader;
use super::native::{Record, TopicId};
use super::notes::Notes;
use super::place::{self, TopicPlace};

/// How long the first record of a batch is waited for.
const POLL: Duration = Duration::from_millis(5);
/// How often the client says how far it has fetched: it is known so much later that nothing but
/// markers lies before the end.
const SAID_EVERY_MS: &str = "50";
/// How often is looked whether the topics are still those that they were.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a topic that ends before what was read of it is asked again before it counts as cut.
const SHORT_MAX: Duration = Duration::from_secs(5);
/// Bytes of keys and payloads in a batch of a lane, about: huge records must not fill the memory.
const BATCH_BYTES: usize = 5 << 20;
/// Records of one look at a mirror.
const WATCHED_MAX: usize = 4_000;
/// Records that a look names.
const NAMED_MAX: usize = 20;

pub(super) struct TopicFeed {
    context: Context,
    /// What it keeps to; all partitions without it.
    part: Option<Part>,
    reading: Option<Reading>,
}

struct Reading {
    broker: Arc<Broker>,
    /// Those whose turn it is come first.
    topics: Vec<Open>,
    /// When they were looked at last.
    looked: Duration,
    /// Late records that nobody reads.
    left_out: LeftOut,
    /// Where is noted how far a mirror was looked at, for whoever only looks on.
    notes: Option<Notes>,
}

/// One topic that is read.
struct Open {
    pair: PairId,
    topic: Topic,
    telling: Telling,
    /// Whoever keeps to a part may have nothing of a topic to read.
    reader: Option<Reader>,
    /// The oldest offset of each partition when it was opened.
    starts: Vec<i64>,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// What it keeps to.
    part: Option<Part>,
}

impl TopicFeed {
    pub(super) fn new(context: Context) -> TopicFeed {
        TopicFeed {
            context,
            part: None,
            reading: None,
        }
    }

    fn reading(&mut self) -> Result<&mut Reading> {
        self.reading
            .as_mut()
            .ok_or_else(|| Error::new(Kind::Internal, Code::INTERNAL, "a feed that was not opened"))
    }

    /// Hands what comes to `take`, at most so many records of all topics. A topic that has many
    /// leaves the next call to the others.
    fn poll(
        &mut self,
        records_max: usize,
        mut take: impl FnMut(&Context, &Terms<'_>, &Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let context = self.context.clone();
        let reading = self.reading()?;
        reading.look(&context)?;
        let (mut taken, mut bytes) = (0, 0);
        reading.topics.rotate_left(1);
        for open in &mut reading.topics {
            let Some(reader) = &mut open.reader else {
                continue;
            };
            while taken < records_max && bytes < BATCH_BYTES {
                let wait = if taken == 0 { POLL } else { Duration::ZERO };
                let found = reader.next(records_max - taken, wait);
                let found = found.map_err(|error| {
                    let what = format!("reading topic `{}`", open.topic.name);
                    failure(&what, error).at(context.role.side)
                })?;
                if found.is_empty() {
                    break;
                }
                for message in found {
                    let terms = Terms {
                        pair: open.pair,
                        telling: &open.telling,
                        left_out: &reading.left_out,
                    };
                    take(&context, &terms, &message)?;
                    taken += 1;
                    bytes += message.key().map_or(0, <[u8]>::len);
                    bytes += message.payload().map_or(0, <[u8]>::len);
                    open.next[index(message.partition())] = message.offset() + 1;
                }
            }
            open.pass_markers();
        }
        Ok(())
    }
}

impl Reading {
    /// The topics in the order of the pairs.
    fn in_order(&self) -> Vec<&Open> {
        let mut topics: Vec<&Open> = self.topics.iter().collect();
        topics.sort_by_key(|open| open.pair);
        topics
    }

    /// Now and then looks whether the topics are still those that they were.
    fn look(&mut self, context: &Context) -> Result<()> {
        let now = context.clock.elapsed();
        if now.saturating_sub(self.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.looked = now;
        for open in &self.topics {
            let (name, before) = (&open.topic.name, &open.topic);
            let found = self.broker.topic(name)?;
            let found = found.ok_or_else(|| lost(name, "it is not there any more"));
            let same = found.and_then(|found| same_topic(&found, before.id, before.partitions));
            same.map_err(|error| error.at(context.role.side))?;
        }
        Ok(())
    }
}

impl Open {
    /// Goes on to where the client has fetched and handed out everything: behind markers.
    fn pass_markers(&mut self) {
        let Some(reader) = &self.reader else {
            return;
        };
        for (number, next) in (0..).zip(&mut self.next) {
            let handed_out = reader.handed_out(&self.topic.name, number);
            *next = handed_out.max(*next);
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
    fn keep_to(&mut self, part: Part) {
        self.part = Some(part);
    }

    fn open(&mut self, start: &Start) -> Result<()> {
        let broker = &self.context.broker;
        let from = match start {
            Start::Earliest | Start::NotBefore(None) => None,
            Start::After(position) | Start::NotBefore(Some(position)) => {
                Some(place::decode(position))
            }
        };
        let notes = match start {
            Start::NotBefore(_) => Some(Notes::open(&self.context)?),
            Start::Earliest | Start::After(_) => None,
        };
        let control = Control::read(&self.context)?;
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
            let telling = Telling::new(&self.context, pair, control.as_ref());
            let known = control.as_ref();
            let known = known.and_then(|control| control.topics(self.context.role.side));
            let known = known.and_then(|topics| topics.get(usize::from(pair.0)));
            let which = (pair, telling, known);
            let at = (from, notes.as_ref(), self.part.as_ref());
            let opened = open(&self.context, broker, which, at);
            topics.push(opened.map_err(|error| error.at(self.context.role.side))?);
        }
        let given_up = control.map_or_else(Vec::new, |control| control.given_up);
        self.reading = Some(Reading {
            broker: Arc::clone(broker),
            topics,
            looked: self.context.clock.elapsed(),
            left_out: LeftOut::These(given_up.iter().flat_map(GivenUp::places).collect()),
            notes,
        });
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        self.poll(events_max, |context, terms, message| {
            match event(context, terms, message)? {
                Ok(event) => events.push(event),
                Err(letter) => unreadable.push(letter),
            }
            Ok(())
        })?;
        let through = self.received();
        Ok(Batch {
            events,
            unreadable,
            seen: through.clone(),
            through,
        })
    }

    fn watch(&mut self, echo: Direction) -> Result<Watched> {
        let (mut events, mut foreign, mut named) = (0, 0, Vec::new());
        self.poll(WATCHED_MAX, |_, terms, message| {
            events += 1;
            let source = terms.telling.source_of(message);
            if source.is_some_and(|source| source.direction == echo) {
                return Ok(());
            }
            foreign += 1;
            if named.len() < NAMED_MAX {
                named.push(name(message));
            }
            Ok(())
        })?;
        Ok(Watched {
            events,
            foreign,
            named,
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
        let topics = self.reading.iter().flat_map(Reading::in_order);
        let places: Vec<TopicPlace> = topics.map(Open::place).collect();
        place::encode(&places)
    }

    fn leave_out(&mut self, more: &LeftOut) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        match (&mut reading.left_out, more) {
            (LeftOut::These(these), LeftOut::These(more)) => these.extend(more),
            (left_out, _) => *left_out = LeftOut::All,
        }
    }

    fn leaves_out(&self, pair: PairId, place: Place) -> bool {
        let mut reading = self.reading.iter();
        reading.any(|reading| reading.left_out.names(pair, place))
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        // Retention does not wait for readers, and the place of whoever carries goes with the
        // records.
        let clock = Arc::clone(&self.context.clock);
        match &mut self.reading()?.notes {
            Some(notes) => notes.note(through, clock.elapsed()),
            None => Ok(()),
        }
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let reading = self.reading()?;
        let (mut places, mut behind) = (Vec::new(), 0);
        for open in reading.in_order() {
            let mut ends = reading.broker.ends(&open.topic, Visible::Committed)?;
            for (partition, (end, next)) in (0..).zip(ends.iter_mut().zip(&open.next)) {
                if !is_of(open.part.as_ref(), open.pair, partition) {
                    *end = *next;
                }
                behind += u64::try_from(*end - next).unwrap_or(0);
            }
            places.push(TopicPlace {
                next: ends,
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
    (pair, telling, known): (PairId, Telling, Option<&Known>),
    (from, notes, part): (Option<&TopicPlace>, Option<&Notes>, Option<&Part>),
) -> Result<Open> {
    let name = context.role.table(pair).name.as_str();
    let topic = broker.topic(name)?;
    let topic = topic.ok_or_else(|| lost(name, "it is not there any more"))?;
    if let Some(known) = known {
        same_topic(&topic, known.id, known.partitions)?;
    }
    let starts = broker.starts(&topic)?;
    let mut next = starts.clone();
    if let Some(from) = from {
        same_topic(&topic, from.id, from.next.len())?;
        let reaches = |(number, end): (i32, &i64)| {
            !is_of(part, pair, number) || from.next[index(number)] <= *end
        };
        let ends = ends(context, &topic, |ends| (0..).zip(ends).all(reaches))?;
        for (number, partition) in (0..).zip(0..topic.partitions) {
            let (at, start) = (from.next[partition], starts[partition]);
            if !is_of(part, pair, number) {
                next[partition] = at;
                continue;
            }
            if at < start && notes.is_none() {
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
    if let Some(notes) = notes {
        let ends = broker.ends(&topic, Visible::Committed)?;
        for (partition, noted) in notes.of(&topic)? {
            if noted <= ends[partition] {
                next[partition] = next[partition].max(noted);
            }
        }
    }
    let reader = reader(context, (pair, name), &next, part)?;
    Ok(Open {
        pair,
        telling,
        starts,
        topic,
        reader,
        next,
        part: part.cloned(),
    })
}

/// Where a topic ends. Whoever leads it no longer and has not heard of it may show less than was
/// read of it before, so for a while it is asked again then.
fn ends(context: &Context, topic: &Topic, suffices: impl Fn(&[i64]) -> bool) -> Result<Vec<i64>> {
    let (broker, clock) = (&context.broker, &context.clock);
    let deadline = clock.elapsed() + SHORT_MAX;
    loop {
        let ends = broker.ends(topic, Visible::Everything)?;
        if suffices(&ends) || clock.elapsed() >= deadline {
            return Ok(ends);
        }
        clock.sleep(POLL);
        broker.look_again(topic)?;
    }
}

/// Who reads a topic from there; nobody where a part has nothing of it.
fn reader(
    context: &Context,
    (pair, name): (PairId, &str),
    next: &[i64],
    part: Option<&Part>,
) -> Result<Option<Reader>> {
    let fail = |error| failure(&format!("opening topic `{name}`"), error);
    let mut assigned = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(next) {
        if is_of(part, pair, partition) {
            let added = assigned.add_partition_offset(name, partition, Offset::Offset(*offset));
            added.map_err(fail)?;
        }
    }
    if assigned.count() == 0 {
        return Ok(None);
    }
    let mut settings = client::consumer(&context.cluster, "contraflow");
    let reader = Reader::new(&mut settings, SAID_EVERY_MS).map_err(fail)?;
    reader.consumer().assign(&assigned).map_err(fail)?;
    Ok(Some(reader))
}

/// Whether whoever keeps to a part reads a partition.
fn is_of(part: Option<&Part>, pair: PairId, partition: i32) -> bool {
    match part {
        None => true,
        Some(Part::Lane(lane)) => control::lane(pair, partition) == *lane,
        Some(Part::Partitions(these)) => these.contains(&(pair, partition)),
    }
}

/// A name may belong to another topic than the one that was read before.
fn same_topic(topic: &Topic, id: TopicId, partitions: usize) -> Result<()> {
    if topic.id != id {
        return Err(lost(&topic.name, "it was deleted and made anew"));
    }
    if topic.partitions == partitions {
        return Ok(());
    }
    let (name, now) = (&topic.name, topic.partitions);
    let message = format!("topic `{name}` has {now} partitions, it had {partitions}");
    Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
        .detail("Keys went to other partitions since, so their order is lost.")
        .hint("`contraflow abort`, and plan anew with two topics of as many partitions."))
}

/// What is known of a topic whose records come.
struct Terms<'r> {
    pair: PairId,
    telling: &'r Telling,
    left_out: &'r LeftOut,
}

fn timestamp(message: &Record<'_>) -> i64 {
    match message.timestamp() {
        Timestamp::NotAvailable => -1,
        Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms,
    }
}

/// A record by where it lies and when it was written, for people.
fn name(message: &Record<'_>) -> String {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    let timestamp = timestamp(message);
    format!("{topic}:{partition}:{offset} (timestamp {timestamp})")
}

/// A record as an event, or why that alone cannot be read.
fn event(
    context: &Context,
    terms: &Terms<'_>,
    message: &Record<'_>,
) -> Result<std::result::Result<Event, Letter>> {
    let (pair, partition, offset) = (terms.pair, message.partition(), message.offset());
    let Headers {
        source,
        complement,
        others,
    } = terms.telling.read(message);
    let place = terms.telling.place(partition, offset, source.as_ref());
    // Nobody reads the payload of what is left out.
    let left_out = terms.left_out.names(pair, place);
    let timestamp = timestamp(message);
    let key = Envelope {
        place,
        timestamp,
        key: message.key().map(Cow::from),
        headers: others.into(),
    };
    let key = key.into_key();
    if !left_out && !message.has_whole_headers() {
        let why = "the client does not tell all of its headers: a key of theirs has a zero byte, \
                   or they are too many";
        let error = Error::new(Kind::Data, Code::HEADERS_UNREAD, why);
        return Ok(Err(unreadable(pair, key, error)));
    }
    let image = match message.payload().filter(|_| !left_out) {
        None => None,
        Some(payload) => {
            let row = match row(context, pair, &key.0, payload) {
                Ok(row) => row,
                Err(error) if error.kind == Kind::Data => {
                    return Ok(Err(unreadable(pair, key, error)));
                }
                Err(error) => return Err(unread(context, partition, offset, &error)),
            };
            Some(Image {
                row: Row(row),
                complement,
            })
        }
    };
    let ours = |source: Source| match source.replayed {
        true => Origin::Replay(source.direction),
        false => Origin::Flow(source.direction),
    };
    Ok(Ok(Event {
        pair,
        key,
        op: if image.is_some() { Op::Put } else { Op::Delete },
        image,
        // One record says nothing of the other partitions: nobody can go on from here alone.
        position: Position::new([]),
        origin: source.map_or(Origin::Application, ours),
    }))
}

/// The fields of a record: its envelope, and its payload as its topic's format reads it.
pub(super) fn row(
    context: &Context,
    pair: PairId,
    key: &[Value],
    payload: &[u8],
) -> Result<Vec<Value>> {
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

/// A record that is at fault alone.
pub(super) fn unreadable(pair: PairId, source_key: Key, error: Error) -> Letter {
    Letter {
        pair,
        source_key,
        code: error.code,
        reason: error.message,
        retry_after: None,
    }
}

/// A record that cannot be read for now.
fn unread(context: &Context, partition: i32, offset: i64, error: &Error) -> Error {
    let message = format!("record {offset} of partition {partition} cannot be read: {error}");
    let hint = "Correct `payload` in the change file, or what it needs.";
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
