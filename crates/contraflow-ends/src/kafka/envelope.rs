//! A record of Kafka as a row of a log, and back: headers, our own among them.
//!
//! Every record that we write says in its last header but a complement where it comes from: the id of
//! the topic, the partition and the offset. Headers of others keep their order and their
//! duplicates, those of other changes too, which may have had the same name.

use contraflow_core::log::Place;
use contraflow_core::record::{Complement, PairId};
use contraflow_core::side::{Direction, Side};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message, OwnedHeaders};

use super::Context;
use super::control::Control;
use super::native::TopicId;

/// The header that says where a record comes from.
const SOURCE: &str = "contraflow-src";
/// The header of what the payload alone does not show.
const COMPLEMENT: &str = "contraflow-complement";
/// The first byte of [`SOURCE`]: its layout.
const VERSION: u8 = 1;

/// Where a record that we wrote comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) direction: Direction,
    /// It was written after that direction had ended.
    pub(super) late: bool,
    pub(super) topic: TopicId,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Source {
    fn encode(&self, change: [u8; 8]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(change);
        bytes.push(match (self.direction, self.late) {
            (Direction::Forward, false) => 0,
            (Direction::Reverse, _) => 1,
            (Direction::Forward, true) => 2,
        });
        bytes.extend(self.topic.0);
        bytes.extend(self.partition.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
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
        let (direction, late) = match way {
            0 => (Direction::Forward, false),
            1 => (Direction::Reverse, false),
            2 => (Direction::Forward, true),
            _ => return None,
        };
        Some(Source {
            direction,
            late,
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
    /// The ends of the partitions when the side lost authority.
    late_from: Vec<i64>,
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
        let ended = flip.filter(|_| side == Side::Old);
        let ended = ended.and_then(|flip| flip.old_ends.get(place));
        Telling {
            change: context.names.hash,
            side,
            other: other.map(|other| other.id),
            late_from: ended.map_or_else(Vec::new, |place| place.next.clone()),
        }
    }

    /// Where a record was written first.
    pub(super) fn place(&self, partition: i32, offset: i64, source: Option<&Source>) -> Place {
        if let Some(source) = source {
            return source.place();
        }
        let number = usize::try_from(partition).unwrap_or(usize::MAX);
        let late_from = self.late_from.get(number);
        if late_from.is_some_and(|from| offset >= *from) {
            return Place::late(partition, offset);
        }
        Place::new(partition, self.side, offset)
    }

    /// Reads the headers of a record.
    pub(super) fn read(&self, message: &BorrowedMessage<'_>) -> Headers {
        let mut found = Headers::default();
        let Some(headers) = message.headers() else {
            return found;
        };
        // Ours come last. One that was there before is of whoever wrote what we have copied.
        let complement = headers.count().checked_sub(1).map(|last| headers.get(last));
        let complement = complement.filter(|header| header.key == COMPLEMENT);
        let ours = headers.count() - usize::from(complement.is_some());
        let source = ours.checked_sub(1).map(|last| headers.get(last));
        found.source = source.and_then(|header| self.source(&header));
        let others = match found.source {
            Some(_) => {
                let complement = complement.and_then(|header| header.value);
                found.complement = Complement(complement.unwrap_or_default().to_vec());
                ours - 1
            }
            None => headers.count(),
        };
        for header in headers.iter().take(others) {
            push(&mut found.others, header.key.as_bytes());
            match header.value {
                Some(value) => {
                    found.others.push(1);
                    push(&mut found.others, value);
                }
                None => found.others.push(0),
            }
        }
        found
    }

    /// A copy says that it comes from the topic at the other side.
    fn source(&self, header: &Header<'_, &[u8]>) -> Option<Source> {
        let value = header.value.filter(|_| header.key == SOURCE)?;
        let source = Source::decode(value, self.change)?;
        let is_copy = Some(source.topic) == self.other && source.direction.target() == self.side;
        is_copy.then_some(source)
    }
}

/// The headers that a record is written with.
pub(super) fn write(
    others: &[u8],
    source: &Source,
    complement: &Complement,
    change: [u8; 8],
) -> Option<OwnedHeaders> {
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
        let key = std::str::from_utf8(key).ok()?;
        headers = headers.insert(Header { key, value });
    }
    let encoded = source.encode(change);
    headers = headers.insert(Header {
        key: SOURCE,
        value: Some(&encoded),
    });
    if !complement.is_empty() {
        headers = headers.insert(Header {
            key: COMPLEMENT,
            value: Some(&complement.0),
        });
    }
    Some(headers)
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
