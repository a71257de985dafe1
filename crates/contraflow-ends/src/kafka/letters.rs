//! Letters of topics: records that could not be carried, as they were, in a topic of their own.
//!
//! A letter is the record with its bytes and headers, two headers of ours behind them: where it is
//! from, and what a record has besides, with why it is here. The topic is compacted: a letter that
//! was carried is taken away. Each lane has a partition of it, so that nothing another one has open
//! hides what this one has committed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Chunk, Letter, Lookup, StoredLetter};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::LaneId;
use contraflow_core::log::{Envelope, Place};
use contraflow_core::position::Position;
use contraflow_core::record::{Complement, Image, Key, PairId, Row};
use contraflow_core::side::Direction;
use rdkafka::message::Message;
use serde::{Deserialize, Serialize};

use super::Context;
use super::barrier::{Barrier, Reading};
use super::client::unreachable;
use super::control::{self, LANES};
use super::envelope::{self, Source};
use super::excerpt::{Excerpt, Span};
use super::feed;
use super::native::{Record, TopicId};
use super::park::At;
use super::place::TopicPlace;
use super::producer::{Outgoing, Producer};
use super::refused::Number;

/// A letter that was carried is taken away soon. What another topic did not take has room here.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("max.message.bytes", "134217728"),
];
/// Brokers that have bounds for the time of a record have none here.
const UNBOUNDED: [(&str, &str); 2] = [
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];
/// How long the topic may take to be known everywhere, and how often is looked.
const KNOWN_MAX: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// Why a record is here, and what it has besides its payload and its headers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Meta {
    id: u64,
    pair: u16,
    code: u16,
    reason: String,
    since_ms: u64,
    attempts: u64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    /// It has no payload.
    deletes: bool,
}

/// One letter as it stands.
#[derive(Clone)]
pub(super) struct Parked {
    pub(super) stored: StoredLetter,
    /// Which topic it is from.
    pub(super) topic: TopicId,
    payload: Option<Vec<u8>>,
}

impl Parked {
    pub(super) fn at(&self) -> Option<At> {
        let letter = &self.stored.letter;
        Some((letter.pair, Place::of(&letter.source_key)?))
    }

    fn source(&self, place: Place) -> Source {
        Source {
            direction: self.stored.direction,
            late: false,
            replayed: false,
            topic: self.topic,
            partition: place.partition,
            offset: place.offset,
        }
    }

    /// The same, tried once more.
    pub(super) fn tried(&self, letter: &Letter) -> Parked {
        let mut again = self.clone();
        again.stored.attempts += 1;
        again.stored.letter.code = letter.code;
        again.stored.letter.reason.clone_from(&letter.reason);
        again
    }

    fn name(&self) -> Option<String> {
        let (pair, place) = self.at()?;
        let Place {
            partition, offset, ..
        } = place;
        let direction = self.stored.direction;
        Some(format!("{direction}/{}/{partition}/{offset}", pair.0))
    }

    fn read(message: &Record<'_>, change: [u8; 8]) -> Option<Parked> {
        let (source, said, others) = envelope::letter(message, change)?;
        let meta: Meta = serde_json::from_slice(&said).ok()?;
        let envelope = Envelope {
            place: Place::new(source.partition, source.direction.source(), source.offset),
            timestamp: meta.timestamp,
            key: meta.key.map(Cow::from),
            headers: others.into(),
        };
        let letter = Letter {
            pair: PairId(meta.pair),
            source_key: envelope.into_key(),
            code: Code(meta.code),
            reason: meta.reason,
            retry_after: None,
        };
        let payload = message.payload().filter(|_| !meta.deletes);
        Some(Parked {
            stored: StoredLetter {
                id: meta.id,
                direction: source.direction,
                letter,
                since_ms: meta.since_ms,
                attempts: meta.attempts,
            },
            topic: source.topic,
            payload: payload.map(<[u8]>::to_vec),
        })
    }

    /// Writes it with the transaction that is open.
    pub(super) fn send(&self, producer: &Producer, context: &Context) -> Result<()> {
        let stored = &self.stored;
        let broken = || Error::new(Kind::Internal, Code::INTERNAL, "a letter without a place");
        let envelope = Envelope::of(&stored.letter.source_key).ok_or_else(broken)?;
        let name = self.name().ok_or_else(broken)?;
        let meta = Meta {
            id: stored.id,
            pair: stored.letter.pair.0,
            code: stored.letter.code.0,
            reason: stored.letter.reason.clone(),
            since_ms: stored.since_ms,
            attempts: stored.attempts,
            timestamp: envelope.timestamp,
            key: envelope.key.map(Cow::into_owned),
            deletes: self.payload.is_none(),
        };
        let meta = serde_json::to_vec(&meta).expect("plain fields become JSON");
        let source = self.source(envelope.place);
        let (others, change) = (&envelope.headers, context.names.hash);
        let headers = envelope::write_letter(others, &source, &meta, change);
        producer.send(Outgoing {
            number: Number::OURS,
            topic: &context.names.letters,
            partition: partition(stored.letter.pair, envelope.place),
            timestamp: Some(envelope.timestamp),
            key: Some(name.as_bytes()),
            payload: Some(self.payload.as_deref().unwrap_or_default()),
            headers: Some(headers.ok_or_else(broken)?),
        })
    }

    /// Takes it away with the transaction that is open.
    pub(super) fn take_away(&self, producer: &Producer, context: &Context) -> Result<()> {
        let (Some(name), Some((pair, place))) = (self.name(), self.at()) else {
            return Ok(());
        };
        producer.send(Outgoing {
            number: Number::OURS,
            topic: &context.names.letters,
            partition: partition(pair, place),
            timestamp: None,
            key: Some(name.as_bytes()),
            payload: None,
            headers: None,
        })
    }
}

/// Every letter that stands, of both directions.
pub(super) fn all(context: &Context) -> Result<Vec<Parked>> {
    let partitions: Vec<i32> = control::lanes().map(of_lane).collect();
    read(context, &partitions, None)
}

/// The letters of a lane that stand, of both directions: none that lies before the barrier is
/// missed.
pub(super) fn standing(context: &Context, lane: LaneId, barrier: &Barrier) -> Result<Vec<Parked>> {
    read(context, &[of_lane(lane)], Some(barrier))
}

fn read(context: &Context, partitions: &[i32], barrier: Option<&Barrier>) -> Result<Vec<Parked>> {
    let Some(reading) = Reading::whole(context, &context.names.letters, partitions)? else {
        return Ok(Vec::new());
    };
    let mut found = BTreeMap::new();
    let mut damaged = false;
    reading.read(barrier, |message| {
        let name = message.key().unwrap_or_default().to_vec();
        match message.payload() {
            None => drop(found.remove(&name)),
            Some(_) => match Parked::read(message, context.names.hash) {
                Some(parked) => drop(found.insert(name, parked)),
                None => damaged = true,
            },
        }
    })?;
    if damaged {
        let message = format!("a letter in `{}` is damaged", context.names.letters);
        return Err(Error::new(Kind::Hold, Code::END_FAILED, message));
    }
    let mut all: Vec<Parked> = found.into_values().collect();
    all.sort_by_key(|parked| parked.stored.id);
    Ok(all)
}

/// The partition of the letters of a lane.
pub(super) fn of_lane(lane: LaneId) -> i32 {
    i32::from(lane.0)
}

/// The partition of the letters of a record's lane.
fn partition(pair: PairId, place: Place) -> i32 {
    of_lane(control::lane(pair, place.partition))
}

/// Makes the topic unless it is there.
pub(super) fn make(context: &Context) -> Result<()> {
    let broker = &context.broker;
    let name = &context.names.letters;
    if broker.topic(name)?.is_some() {
        return control::has_room(context, name, usize::from(LANES));
    }
    let control = broker.topic(&context.names.control)?;
    let replicas = control.map_or(1, |topic| topic.replicas);
    let mut known = HashMap::new();
    if let Some(table) = context.role.tables.first() {
        known = broker.settings(&table.name)?;
    }
    let mut settings = SETTINGS.to_vec();
    settings.extend(
        UNBOUNDED
            .iter()
            .filter(|(name, _)| known.contains_key(*name)),
    );
    broker.create(name, (usize::from(LANES), replicas), &settings)?;
    let deadline = context.clock.elapsed() + KNOWN_MAX;
    while context.clock.elapsed() < deadline {
        if broker.topic(name)?.is_some() {
            return Ok(());
        }
        context.clock.sleep(LOOK);
    }
    Err(unreachable(&format!(
        "topic `{name}` does not become known"
    )))
}

/// New letters as they are kept: each with the bytes that its record has.
pub(super) fn park(
    context: &Context,
    direction: Direction,
    letters: Vec<Letter>,
    from: &[TopicPlace],
    ids: &mut impl Iterator<Item = u64>,
) -> Result<Vec<Parked>> {
    let mut payloads = BTreeMap::new();
    for (pair, topic) in (0..).map(PairId).zip(from) {
        let places = letters.iter().filter(|letter| letter.pair == pair);
        let places = places.filter_map(|letter| Place::of(&letter.source_key));
        for (place, payload) in originals(context, &topic.topic, places.collect())? {
            payloads.insert((pair, place), payload);
        }
    }
    let mut all = Vec::new();
    for (letter, id) in letters.into_iter().zip(ids) {
        let topic = from.get(usize::from(letter.pair.0));
        let place = Place::of(&letter.source_key);
        let payload = place.and_then(|place| payloads.remove(&(letter.pair, place)));
        let (Some(topic), Some(payload)) = (topic, payload) else {
            let message = "a record that is to be parked is not there any more";
            return Err(Error::new(Kind::Hold, Code::FEED_LOST, message)
                .hint("Retention has taken it since it was read."));
        };
        all.push(Parked {
            stored: StoredLetter {
                id,
                direction,
                letter,
                since_ms: context.clock.unix_ms(),
                attempts: 1,
            },
            topic: topic.id,
            payload,
        });
    }
    Ok(all)
}

/// The payloads of records, read once more: a batch does not hold what it has no use for.
fn originals(
    context: &Context,
    topic: &str,
    places: BTreeSet<Place>,
) -> Result<BTreeMap<Place, Option<Vec<u8>>>> {
    let mut wanted: BTreeMap<usize, BTreeMap<i64, Place>> = BTreeMap::new();
    for place in places {
        let partition = usize::try_from(place.partition).unwrap_or(usize::MAX);
        let of = wanted.entry(partition).or_default();
        of.insert(place.offset, place);
    }
    let span = |(partition, offsets): (&usize, &BTreeMap<i64, Place>)| {
        let (first, last) = (offsets.keys().next()?, offsets.keys().next_back()?);
        Some(Span {
            partition: *partition,
            from: *first,
            to: *last + 1,
        })
    };
    let spans: Vec<Span> = wanted.iter().filter_map(span).collect();
    let mut found = BTreeMap::new();
    if spans.is_empty() {
        return Ok(found);
    }
    Excerpt::new(context, topic)?.at(&spans, |partition, message| {
        let place = wanted
            .get(&partition)
            .and_then(|of| of.get(&message.offset()));
        found.extend(place.map(|place| (*place, message.payload().map(<[u8]>::to_vec))));
        true
    })?;
    Ok(found)
}

/// Letters of a side's topics, to be tried again.
pub(super) struct Kept {
    context: Context,
}

impl Kept {
    pub(super) fn new(context: Context) -> Kept {
        Kept { context }
    }
}

impl Lookup for Kept {
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk> {
        let (mut rows, mut unreadable, mut bytes) = (Vec::new(), Vec::new(), 0);
        for parked in all(&self.context)? {
            let letter = parked.stored.letter;
            if letter.pair != pair || !keys.contains(&letter.source_key) {
                continue;
            }
            if letter.code == Code::HEADERS_UNREAD {
                // What is kept of its headers is not all of them.
                unreadable.push(letter);
                continue;
            }
            let (Some(payload), key) = (parked.payload, letter.source_key) else {
                // Without a row it is carried as what deletes its key.
                continue;
            };
            bytes += payload.len() as u64;
            match feed::row(&self.context, pair, &key.0, &payload) {
                Ok(row) => {
                    let image = Image {
                        row: Row(row),
                        complement: Complement::default(),
                    };
                    rows.push((key, image));
                }
                Err(error) if error.kind == Kind::Data => {
                    unreadable.push(feed::unreadable(pair, key, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Chunk {
            cut: None,
            rows,
            unreadable,
            since: received.clone(),
            until: received.clone(),
            bytes,
        })
    }
}
