//! Payloads of messages: bytes to the fields of a row and back.
//!
//! A [`Payload`] belongs to one side of a pair and to its key or its value. Its fields are a part
//! of the pair's shape, so that mappings, laws and digests work on messages as on tables. Both
//! directions append, to the row and to the bytes, so that a batch is one loop without an
//! allocation for each record.
//!
//! What a payload holds and nobody declared is a field as well, the last one, a record without
//! declared fields: see [`undeclared`]. Formats that take unknown members name it alike on both
//! sides, and a mapping carries it across. A format that has no place for them names it after its
//! side ([`undeclared_of`]), and a mapping keeps it in the complement.
//!
//! A record without a payload, a tombstone, never gets here: whoever reads the topic deletes the
//! key. The JSON text `null` is a payload.

mod avro;
mod json;
mod raw;

pub use avro::{Avro, Names, Schemas};
pub use json::Json;
pub use raw::Raw;

use std::fmt;

use crate::error::Result;
use crate::shape::{Field, Type};
use crate::side::Side;
use crate::value::{Record, Value};

/// A format of payloads, with what it needs to know of one side's keys or values.
pub trait Payload: fmt::Debug + Send + Sync {
    /// The fields it fills, in the order in which it fills them.
    fn fields(&self) -> &[Field];

    /// Reads a payload and appends a value for each of [`Payload::fields`] to a row.
    ///
    /// On an error the row is as it was. The error is of kind `Data` when this payload alone is at
    /// fault, and never holds anything of it.
    fn read(&self, payload: &[u8], row: &mut Vec<Value>) -> Result<Context>;

    /// Appends the payload of these values, one for each of [`Payload::fields`].
    ///
    /// On an error the bytes are as they were. Whatever cannot be written is refused: nothing is
    /// rounded, cut or left out.
    fn write(&self, values: &[Value], out: &mut Vec<u8>) -> Result<()>;

    /// Puts into values what a payload of them says where they say nothing.
    fn complete(&self, _values: &mut [Value]) {}

    /// Whether payloads can be written without [`Payload::prepare`].
    fn is_ready(&self) -> bool {
        true
    }

    /// What [`Payload::prepare`] does elsewhere, in words.
    fn preparation(&self) -> Option<String> {
        None
    }

    /// Does what must be done elsewhere before the first payload is written. Doing it again does
    /// nothing more.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }
}

/// What is known of a payload besides its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The schema it was written with, where its format names one.
    pub schema: Option<SchemaId>,
}

/// The number of a schema in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of the field for what a value holds undeclared, in formats that take it.
pub const UNDECLARED: &str = "(undeclared)";

/// The name of that field in formats that have no place for it: another one on each side, so that
/// a mapping does not carry it across but keeps it in the complement.
#[must_use]
pub fn undeclared_of(side: Side) -> &'static str {
    match side {
        Side::Old => "(undeclared of old)",
        Side::New => "(undeclared of new)",
    }
}

/// A field for what a payload holds undeclared: absent when there is nothing.
#[must_use]
pub fn undeclared(name: &str) -> Field {
    Field {
        has_default: true,
        ..Field::required(name, Type::Record(Vec::new()))
    }
}

/// The value of such a field.
fn keep(extras: Vec<(String, Value)>) -> Value {
    match extras.is_empty() {
        true => Value::Absent,
        false => Value::Record(Box::new(Record {
            fields: Vec::new(),
            extras,
        })),
    }
}

/// What such a field holds; `None` when the value is none of it.
fn kept(value: &Value) -> Option<&[(String, Value)]> {
    match value {
        Value::Absent | Value::Null => Some(&[]),
        Value::Record(record) if record.fields.is_empty() => Some(&record.extras),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
