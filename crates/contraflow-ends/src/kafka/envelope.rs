//! A record of Kafka as a row of a log, and back: headers, our own among them.
//!
//! Every record that we write says in one header where it comes from. Headers of others keep their
//! order and their duplicates, those of other changes too.

use contraflow_core::record::Complement;
use contraflow_core::side::Direction;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message, OwnedHeaders};

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
    pub(super) topic: TopicId,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Source {
    fn encode(&self, change: [u8; 8]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(change);
        bytes.push(match self.direction {
            Direction::Forward => 0,
            Direction::Reverse => 1,
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
        let (direction, rest) = rest.split_first()?;
        let (topic, rest) = rest.split_first_chunk()?;
        let (partition, rest) = rest.split_first_chunk()?;
        let offset = rest.try_into().ok()?;
        Some(Source {
            direction: match direction {
                0 => Direction::Forward,
                1 => Direction::Reverse,
                _ => return None,
            },
            topic: TopicId(*topic),
            partition: i32::from_be_bytes(*partition),
            offset: i64::from_be_bytes(offset),
        })
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

/// Reads the headers of a record.
pub(super) fn read(message: &BorrowedMessage<'_>, change: [u8; 8]) -> Headers {
    let mut found = Headers::default();
    let Some(headers) = message.headers() else {
        return found;
    };
    for header in headers.iter() {
        let ours = match header.key {
            SOURCE => header.value.and_then(|value| Source::decode(value, change)),
            _ => None,
        };
        if let Some(source) = ours {
            found.source = Some(source);
        } else if header.key == COMPLEMENT && found.source.is_some() {
            // Ours stands right behind where we say that the record is from.
            found.complement = Complement(header.value.unwrap_or_default().to_vec());
        } else {
            push(&mut found.others, header.key.as_bytes());
            match header.value {
                Some(value) => {
                    found.others.push(1);
                    push(&mut found.others, value);
                }
                None => found.others.push(0),
            }
        }
    }
    found
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
