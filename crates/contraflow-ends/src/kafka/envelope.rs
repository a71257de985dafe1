//! A record of Kafka as a row of a log, and back: headers, our own among them.
//!
//! Every record that we write says in its last header but a complement where it comes from: the id
//! of the topic, the partition and the offset. Headers of others keep their order and their
//! duplicates, those of other changes too, which may have had the same name.

use contraflow_core::log::Place;
use contraflow_core::record::{Complement, PairId};
use contraflow_core::side::{Direction, Side};
use rdkafka::message::{BorrowedHeaders, Message, OwnedHeaders};

use super::Context;
use super::control::Control;
use super::native::{self, Header, TopicId};

/// The header that says where a record comes from.
const SOURCE: &[u8] = b"contraflow-src";
/// The header of what the payload alone does not show.
const COMPLEMENT: &[u8] = b"contraflow-complement";
/// The header right before [`SOURCE`] of a record that was a letter and is not in its turn, for
/// readers.
const REPLAYED: &[u8] = b"contraflow-replayed";
/// The header right before [`SOURCE`] of a letter: why it is one, and what a record has besides.
const LETTER: &[u8] = b"contraflow-letter";
/// The first byte of [`SOURCE`]: its layout.
const VERSION: u8 = 1;
/// Its length: layout, change, way, topic, partition and offset.
const SOURCE_BYTES: usize = 1 + 8 + 1 + 16 + 4 + 8;

/// Where a record that we wrote comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) direction: Direction,
    /// It was written after that direction had ended.
    pub(super) late: bool,
    /// It was a letter, and was tried again.
    pub(super) replayed: bool,
    pub(super) topic: TopicId,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Source {
    fn encode(&self, change: [u8; 8]) -> [u8; SOURCE_BYTES] {
        let way = match (self.direction, self.late, self.replayed) {
            (Direction::Forward, false, false) => 0,
            (Direction::Reverse, _, false) => 1,
            (Direction::Forward, true, _) => 2,
            (Direction::Forward, false, true) => 3,
            (Direction::Reverse, _, true) => 4,
        };
        let mut bytes = [0; SOURCE_BYTES];
        let mut rest = bytes.as_mut_slice();
        let mut put = |part: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        };
        put(&[VERSION]);
        put(&change);
        put(&[way]);
        put(&self.topic.0);
        put(&self.partition.to_be_bytes());
        put(&self.offset.to_be_bytes());
        bytes
    }

    /// `None` for the header of another change.
    fn decode(bytes: &[u8], change: [u8; 8]) -> Option<Source> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let rest = rest.strip_prefix(change.as_slice())?;
        let (way, rest) = rest.split_first()?;
        let (topic, rest) = rest.split_first_chunk()?;
        let (partition, rest) = rest.split_first_chunk()?;
        let offset = rest.try_into().ok()?;
        let (direction, late, replayed) = match way {
            0 => (Direction::Forward, false, false),
            1 => (Direction::Reverse, false, false),
            2 => (Direction::Forward, true, false),
            3 => (Direction::Forward, false, true),
            4 => (Direction::Reverse, false, true),
            _ => return None,
        };
        Some(Source {
            direction,
            late,
            replayed,
            topic: TopicId(*topic),
            partition: i32::from_be_bytes(*partition),
            offset: i64::from_be_bytes(offset),
        })
    }

    /// The place of the record that it comes from.
    fn place(&self) -> Place {
        if self.late {
            return Place::late(self.partition, self.offset);
        }
        Place::new(self.partition, self.direction.source(), self.offset)
    }
}

/// What the headers of a record say.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// Where it comes from, when this change wrote it.
    pub(super) source: Option<Source>,
    /// What its payload does not show.
    pub(super) complement: Complement,
    /// All others, encoded.
    pub(super) others: Vec<u8>,
}

/// How the records of one topic are told apart: copies, what producers wrote, and what they wrote
/// too late.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    change: [u8; 8],
    side: Side,
    /// The topic at the other side, once the change has begun. An earlier change of the same name
    /// had another one.
    other: Option<TopicId>,
    /// The ends of the old topic when it lost authority: what was written behind them is late.
    ended: Vec<i64>,
}

impl Telling {
    /// By what the control topic says, if there is one.
    pub(super) fn new(context: &Context, pair: PairId, control: Option<&Control>) -> Telling {
        Telling::of(context.role.side, context, pair, control)
    }

    /// Of the topics of another side than that of the role.
    pub(super) fn of(
        side: Side,
        context: &Context,
        pair: PairId,
        control: Option<&Control>,
    ) -> Telling {
        let place = usize::from(pair.0);
        let other = control.and_then(|control| control.topics(side.other())?.get(place));
        let flip = control.and_then(|control| control.flip.as_ref());
        let ended = flip.and_then(|flip| flip.old_ends.get(place));
        Telling {
            change: context.names.hash,
            side,
            other: other.map(|other| other.id),
            ended: ended.map_or_else(Vec::new, |place| place.next.clone()),
        }
    }

    /// Where a record was written first.
    pub(super) fn place(&self, partition: i32, offset: i64, source: Option<&Source>) -> Place {
        if let Some(source) = source {
            return source.place();
        }
        if self.side == Side::Old && self.has_ended(partition, offset) {
            return Place::late(partition, offset);
        }
        Place::new(partition, self.side, offset)
    }

    /// Whether an offset of the old topic lies behind the end that it had.
    fn has_ended(&self, partition: i32, offset: i64) -> bool {
        let number = usize::try_from(partition).unwrap_or(usize::MAX);
        self.ended.get(number).is_some_and(|end| offset >= *end)
    }

    /// Reads the headers of a record.
    pub(super) fn read(&self, message: &impl Message<Headers = BorrowedHeaders>) -> Headers {
        let Some(headers) = message.headers() else {
            return Headers::default();
        };
        let (source, ours) = self.ours(headers);
        let Some(source) = source else {
            return Headers {
                others: encoded(native::headers(headers)),
                ..Headers::default()
            };
        };
        let others = ours - 1 - usize::from(source.replayed);
        let others = encoded(native::headers(headers).take(others));
        let complement = native::headers(headers).nth(ours);
        let complement = complement.and_then(|header| header.value);
        Headers {
            source: Some(source),
            complement: Complement(complement.unwrap_or_default().to_vec()),
            others,
        }
    }

    /// Where a record comes from, when this change wrote it.
    pub(super) fn source_of(
        &self,
        message: &impl Message<Headers = BorrowedHeaders>,
    ) -> Option<Source> {
        self.ours(message.headers()?).0
    }

    /// What ours say, and how many there are up to it. They come last, but for a complement. One
    /// that was there before is of whoever wrote what we have copied.
    fn ours(&self, headers: &BorrowedHeaders) -> (Option<Source>, usize) {
        let mut all = native::headers(headers);
        let count = all.len();
        let mut last = all.next_back();
        let has_complement = last.is_some_and(|header| header.key == COMPLEMENT);
        if has_complement {
            last = all.next_back();
        }
        let source = last.and_then(|header| self.source(&header));
        (source, count - usize::from(has_complement))
    }

    /// A copy says that it comes from the topic at the other side.
    fn source(&self, header: &Header<'_>) -> Option<Source> {
        let value = header.value.filter(|_| header.key == SOURCE)?;
        let mut source = Source::decode(value, self.change)?;
        // A lane that was not fenced yet may have carried what came behind the end: it is late.
        source.late |= source.direction == Direction::Forward
            && self.has_ended(source.partition, source.offset);
        let is_copy = Some(source.topic) == self.other && source.direction.target() == self.side;
        is_copy.then_some(source)
    }
}

/// Headers of a record, encoded.
fn encoded<'m>(headers: impl Iterator<Item = Header<'m>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for header in headers {
        push(&mut bytes, header.key);
        match header.value {
            Some(value) => {
                bytes.push(1);
                push(&mut bytes, value);
            }
            None => bytes.push(0),
        }
    }
    bytes
}

/// Reads what [`write_letter`] has written: where the record is from, what is said of it, and its
/// own headers.
pub(super) fn letter(
    message: &impl Message<Headers = BorrowedHeaders>,
    change: [u8; 8],
) -> Option<(Source, Vec<u8>, Vec<u8>)> {
    let mut headers = native::headers(message.headers()?);
    let (source, said) = (headers.next_back()?, headers.next_back()?);
    let source = source.value.filter(|_| source.key == SOURCE)?;
    let said = said.value.filter(|_| said.key == LETTER)?;
    let source = Source::decode(source, change)?;
    Some((source, said.to_vec(), encoded(headers)))
}

/// The headers of a letter.
pub(super) fn write_letter(
    others: &[u8],
    source: &Source,
    said: &[u8],
    change: [u8; 8],
) -> Option<OwnedHeaders> {
    let mut headers = headers(others)?;
    add(&mut headers, LETTER, Some(said));
    add(&mut headers, SOURCE, Some(&source.encode(change)));
    Some(headers)
}

/// The headers that a record is written with.
pub(super) fn write(
    others: &[u8],
    source: &Source,
    complement: &Complement,
    change: [u8; 8],
) -> Option<OwnedHeaders> {
    let mut headers = headers(others)?;
    if source.replayed {
        add(&mut headers, REPLAYED, None);
    }
    add(&mut headers, SOURCE, Some(&source.encode(change)));
    if !complement.is_empty() {
        add(&mut headers, COMPLEMENT, Some(&complement.0));
    }
    Some(headers)
}

/// Headers that were read before.
fn headers(others: &[u8]) -> Option<OwnedHeaders> {
    let mut headers = OwnedHeaders::new();
    let mut rest = others;
    while !rest.is_empty() {
        let (key, after) = pull(rest)?;
        let (has_value, after) = after.split_first()?;
        let (value, after) = match has_value {
            0 => (None, after),
            _ => {
                let (value, after) = pull(after)?;
                (Some(value), after)
            }
        };
        rest = after;
        add(&mut headers, key, value);
    }
    Some(headers)
}

fn add(headers: &mut OwnedHeaders, key: &[u8], value: Option<&[u8]>) {
    native::add(headers, Header { key, value });
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    let count = u32::try_from(part.len()).expect("a header fits a record");
    bytes.extend(count.to_be_bytes());
    bytes.extend(part);
}

fn pull(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*count)).ok()?)
}
