//! The engine-neutral schema of a table or record.

use serde::{Deserialize, Serialize};

use crate::value::{Frame, Value};

pub mod word;

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number of that many bits: 8, 16, 32 or 64.
    Int {
        /// Width in bits.
        bits: u8,
        /// Whether negative numbers fit.
        signed: bool,
    },
    /// A binary float of 32 or 64 bits.
    Float {
        /// Width in bits.
        bits: u8,
    },
    /// A decimal; `None` is without limit.
    Decimal {
        /// Digits in all.
        precision: Option<u32>,
        /// Digits after the point.
        scale: Option<u32>,
    },
    /// Unicode text.
    Text,
    /// Bytes.
    Bytes,
    /// A calendar day.
    Date,
    /// A time of day.
    Time,
    /// A point in time or a local clock reading.
    Timestamp {
        /// What it is relative to.
        frame: Frame,
        /// The finest step that the field keeps.
        unit: TimeUnit,
    },
    /// A UUID.
    Uuid,
    /// One of a list of symbols.
    Enum {
        /// The symbols, in order.
        symbols: Vec<String>,
    },
    /// One of several tagged types.
    Union {
        /// The branches, by tag.
        branches: Vec<(String, Type)>,
    },
    /// A JSON document.
    Json,
    /// Items of one type.
    List(Box<Type>),
    /// Entries of one key and one value type.
    Map(Box<Type>, Box<Type>),
    /// Named fields.
    Record(Vec<Field>),
    /// Whatever the end stores, carried as it is and never looked into.
    Any,
}

/// The finest step of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// A named field of a shape or of a record type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The name, as the end spells it.
    pub name: String,
    /// What it holds.
    pub ty: Type,
    /// Whether null may be stored.
    pub nullable: bool,
    /// Whether the storage fills it when a writer leaves it out.
    pub has_default: bool,
}

impl Field {
    /// A field that is always there, never null and has no storage default.
    #[must_use]
    pub fn required(name: &str, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            ty,
            nullable: false,
            has_default: false,
        }
    }

    /// A field that may hold null.
    #[must_use]
    pub fn nullable(name: &str, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            ty,
            nullable: true,
            has_default: false,
        }
    }
}

/// The shape of a table, topic or message: its fields and the places of its key fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The fields, in the end's order.
    pub fields: Vec<Field>,
    /// Indexes into `fields`, in the order of the declared key.
    pub key: Vec<usize>,
}

impl Shape {
    /// The place of a field by name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The key of a row of this shape.
    #[must_use]
    pub fn key_of(&self, row: &[Value]) -> Vec<Value> {
        self.key.iter().map(|&i| row[i].clone()).collect()
    }
}

impl Type {
    /// A signed 64-bit integer.
    pub const INT64: Type = Type::Int {
        bits: 64,
        signed: true,
    };

    /// The word for this type in change files and messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Type::Bool => "bool".into(),
            Type::Int { bits, signed: true } => format!("int{bits}"),
            Type::Int {
                bits,
                signed: false,
            } => format!("uint{bits}"),
            Type::Float { bits } => format!("float{bits}"),
            Type::Decimal {
                precision: Some(p),
                scale: Some(s),
            } => format!("decimal({p},{s})"),
            Type::Decimal { .. } => "decimal".into(),
            Type::Text => "text".into(),
            Type::Bytes => "bytes".into(),
            Type::Date => "date".into(),
            Type::Time => "time".into(),
            Type::Timestamp {
                frame: Frame::Instant,
                ..
            } => "timestamp".into(),
            Type::Timestamp {
                frame: Frame::Local,
                ..
            } => "local_timestamp".into(),
            Type::Uuid => "uuid".into(),
            Type::Enum { .. } => "enum".into(),
            Type::Union { .. } => "union".into(),
            Type::Json => "json".into(),
            Type::List(item) => format!("list of {}", item.name()),
            Type::Map(key, value) => format!("map of {} to {}", key.name(), value.name()),
            Type::Record(_) => "record".into(),
            Type::Any => "any".into(),
        }
    }
}
