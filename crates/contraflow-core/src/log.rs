//! A record of a log as a row: its envelope is the key, its payload the rest.
//!
//! A record is known by where it was written first: partition, side and offset there. That stays
//! the same when it is carried, so both logs of a pair are one sequence: see
//! `docs/decisions/topics-in-the-house.md`.

mod keys;
mod partitioner;

pub use keys::Keys;
pub use partitioner::{Keyed, Partitioner, Probed, probe};

use std::borrow::Cow;

use crate::code::Code;
use crate::error::Problem;
use crate::record::Key;
use crate::shape::{Field, Shape, Type};
use crate::side::Side;
use crate::value::Value;

pub mod translate;

/// The fields of the envelope, in the order of the key. No payload has fields of such names.
pub const FIELDS: [&str; 6] = [
    "(partition)",
    "(origin)",
    "(offset)",
    "(timestamp)",
    "(key)",
    "(headers)",
];

/// The names of the envelope's fields, as a pair declares a key.
#[must_use]
pub fn key_names() -> Vec<String> {
    FIELDS.map(str::to_owned).to_vec()
}

/// The place of the key in an envelope that stands at the beginning of a row, or is one.
const KEY: usize = 4;

/// A record's key, in its row or its envelope.
#[must_use]
pub fn key_of(values: &[Value]) -> Option<&[u8]> {
    match values.get(KEY) {
        Some(Value::Bytes(key)) => Some(key),
        _ => None,
    }
}

/// The same, to be changed.
pub fn key_in(values: &mut [Value]) -> Option<&mut Vec<u8>> {
    match values.get_mut(KEY) {
        Some(Value::Bytes(key)) => Some(key),
        _ => None,
    }
}

/// The shape of a record with this payload.
#[must_use]
pub fn shape(payload: Vec<Field>) -> Shape {
    let [partition, origin, offset, timestamp, key, headers] = FIELDS;
    let mut fields = vec![
        Field::required(partition, Type::INT64),
        Field::required(origin, Type::INT64),
        Field::required(offset, Type::INT64),
        Field::required(timestamp, Type::INT64),
        Field::nullable(key, Type::Bytes),
        Field::required(headers, Type::Bytes),
    ];
    fields.extend(payload);
    Shape {
        fields,
        key: (0..FIELDS.len()).collect(),
    }
}

/// What a log can hold, to be compared with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Ordered sequences of records.
    pub partitions: usize,
    /// Bytes of a record at most.
    pub record_bytes_max: u64,
    /// For how long records are kept, in milliseconds; `None` is for ever.
    pub kept_ms: Option<u64>,
    /// How many bytes of a partition are kept; `None` is all of them.
    pub kept_bytes: Option<u64>,
    /// How old the timestamp of a record may be when it is written, in milliseconds.
    pub past_max_ms: Option<u64>,
    /// How far ahead it may be.
    pub future_max_ms: Option<u64>,
    /// What becomes of old records, in the end's word.
    pub cleanup: String,
}

/// Bytes by which a record grows when it is carried, and more: the header that says where it comes
/// from.
pub const HEADER_BYTES: u64 = 1_024;

/// Everything that keeps a new log from holding what an old one holds.
#[must_use]
pub fn unfit(old: (&str, &Room), new: (&str, &Room)) -> Vec<Problem> {
    let ((old_name, old), (new_name, new)) = (old, new);
    let mut problems = Vec::new();
    let mut found = |message: String, hint: String| {
        problems.push(Problem::error(Code::LOGS_UNEQUAL, message).hint(hint));
    };
    if old.partitions != new.partitions {
        let message = format!(
            "`{new_name}` has {} partitions, `{old_name}` has {}",
            new.partitions, old.partitions
        );
        let hint = "Make the new one with as many: a key must stay in its partition.";
        found(message, hint.to_owned());
    }
    if new.record_bytes_max < old.record_bytes_max {
        let message = format!(
            "`{new_name}` takes records of {} bytes, `{old_name}` of {}",
            new.record_bytes_max, old.record_bytes_max
        );
        let bytes = old.record_bytes_max.saturating_add(HEADER_BYTES);
        found(
            message,
            alter(new_name, "max.message.bytes", &bytes.to_string()),
        );
    }
    if new.cleanup != old.cleanup {
        let message = format!(
            "`cleanup.policy` of `{new_name}` is {}, of `{old_name}` {}: what one of them drops \
             the other would keep",
            new.cleanup, old.cleanup
        );
        found(
            message,
            alter(new_name, "cleanup.policy", &format!("[{}]", old.cleanup)),
        );
    }
    let limits = [
        (
            old.kept_ms,
            new.kept_ms,
            "forgets sooner than",
            "retention.ms",
        ),
        (
            old.future_max_ms,
            new.future_max_ms,
            "refuses timestamps that lie ahead sooner than",
            "message.timestamp.after.max.ms",
        ),
        (
            old.kept_bytes,
            new.kept_bytes,
            "keeps fewer bytes than",
            "retention.bytes",
        ),
    ];
    for (old, new, does, setting) in limits {
        // No limit is the highest one.
        if new.is_some_and(|new| old.is_none_or(|old| new < old)) {
            let limit = old.map_or("-1".to_owned(), |limit| limit.to_string());
            let message = format!("`{new_name}` {does} `{old_name}`");
            found(message, alter(new_name, setting, &limit));
        }
    }
    problems
}

/// The command that sets a setting of a log.
#[must_use]
pub fn alter(log: &str, setting: &str, value: &str) -> String {
    format!(
        "`kafka-configs.sh --alter --entity-type topics --entity-name {log} --add-config \
         {setting}={value}`."
    )
}

/// Everything that keeps the oldest record of a log out of a new one that is still empty.
#[must_use]
pub fn too_old(age_ms: u64, (new_name, new): (&str, &Room)) -> Vec<Problem> {
    let limits = [
        (new.kept_ms, "deletes it", "retention.ms", "-1"),
        (
            new.past_max_ms,
            "refuses its timestamp",
            "message.timestamp.before.max.ms",
            "9223372036854775807",
        ),
    ];
    let short = |limit: &Option<u64>| limit.is_some_and(|limit| limit < age_ms);
    let found = limits.into_iter().filter(|(limit, ..)| short(limit));
    let problem = |(_, does, setting, value): (Option<u64>, &str, &str, &str)| {
        let hours = age_ms / 3_600_000;
        let message = format!("the oldest record is {hours} h old, and `{new_name}` {does}");
        Problem::error(Code::LOGS_UNEQUAL, message).hint(alter(new_name, setting, value))
    };
    found.map(problem).collect()
}

/// What a record carries besides its payload. Never printed: its key and headers are values.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope<'e> {
    /// Where it was written first.
    pub place: Place,
    /// Its timestamp, in milliseconds since 1970; -1 when it has none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Cow<'e, [u8]>>,
    /// Its headers, encoded by the end.
    pub headers: Cow<'e, [u8]>,
}

/// Where a record was written first. Ordered as the records of a log are, per partition; those
/// that were written late have an order of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The partition, on both sides.
    pub partition: i32,
    /// The side's rank: what was written to the old log comes before what was written to the new.
    /// [`LATE`] is no place in that order.
    origin: u8,
    /// The offset there.
    pub offset: i64,
}

/// The rank of what was written to the old log after it had lost authority.
const LATE: u8 = 2;

impl Place {
    /// A place in the old log, behind the end that it had when it lost authority. Where its copy
    /// lies in the new log depends on when it was carried, so it is in no order with others.
    #[must_use]
    pub fn late(partition: i32, offset: i64) -> Place {
        let origin = LATE;
        Place {
            partition,
            origin,
            offset,
        }
    }

    /// Whether it is such a place.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.origin == LATE
    }

    /// A place on a side.
    #[must_use]
    pub fn new(partition: i32, origin: Side, offset: i64) -> Place {
        let origin = match origin {
            Side::Old => 0,
            Side::New => 1,
        };
        Place {
            partition,
            origin,
            offset,
        }
    }

    /// The least place behind this one, on the same side.
    #[must_use]
    pub fn next(self) -> Place {
        Place {
            offset: self.offset + 1,
            ..self
        }
    }

    /// The side.
    #[must_use]
    pub fn origin(&self) -> Side {
        match self.origin {
            0 | LATE => Side::Old,
            _ => Side::New,
        }
    }

    /// The place that a key begins with.
    #[must_use]
    pub fn of(key: &Key) -> Option<Place> {
        let [
            Value::Int(partition),
            Value::Int(origin),
            Value::Int(offset),
            ..,
        ] = key.0.as_slice()
        else {
            return None;
        };
        Some(Place {
            partition: i32::try_from(*partition).ok()?,
            origin: u8::try_from(*origin).ok()?,
            offset: *offset,
        })
    }

    /// What identifies the record, without what travels with it: for findings and errors.
    #[must_use]
    pub fn key(&self) -> Key {
        Key(self.values().to_vec())
    }

    fn values(&self) -> [Value; 3] {
        [
            Value::Int(self.partition.into()),
            Value::Int(self.origin.into()),
            Value::Int(self.offset),
        ]
    }
}

impl Envelope<'_> {
    /// As a key.
    #[must_use]
    pub fn into_key(self) -> Key {
        let [partition, origin, offset] = self.place.values();
        let bytes = |bytes: Cow<'_, [u8]>| Value::Bytes(bytes.into_owned());
        Key(vec![
            partition,
            origin,
            offset,
            Value::Int(self.timestamp),
            self.key.map_or(Value::Null, bytes),
            bytes(self.headers),
        ])
    }

    /// From a key of a record; `None` when it is a key of something else.
    #[must_use]
    pub fn of(key: &Key) -> Option<Envelope<'_>> {
        let place = Place::of(key)?;
        let [Value::Int(timestamp), bytes, Value::Bytes(headers)] = key.0.get(3..)? else {
            return None;
        };
        let key = match bytes {
            Value::Null => None,
            Value::Bytes(bytes) => Some(bytes.into()),
            _ => return None,
        };
        Some(Envelope {
            place,
            timestamp: *timestamp,
            key,
            headers: headers.into(),
        })
    }
}
