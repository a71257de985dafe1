//! Typed values: what a field holds, exactly.
//!
//! No value passes through `f64` or through JSON text on its way from one end to the other.
//! Absent, null and default are three things: a field that is not there is [`Value::Absent`] (a
//! writer leaves it out, so the storage default of the target applies), a null is
//! [`Value::Null`], and a declared default is the value that the mapping writes.

use std::fmt;
use std::hash::{Hash, Hasher};

use bigdecimal::BigDecimal;

/// One value of one field.
///
/// Equality is identity of what is stored, not of what it means: floats compare by bits, decimals
/// by digits and scale (`1.0` and `1.00` differ).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The field is not there.
    Absent,
    /// The field is there and holds null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer of up to 64 bits.
    Int(i64),
    /// An unsigned integer above `i64::MAX`. Smaller ones are [`Value::Int`], so that equal
    /// numbers are equal values.
    Uint(u64),
    /// A binary float, kept and compared by its bits.
    Float(Float),
    /// A decimal of any length.
    Decimal(Decimal),
    /// Unicode text.
    Text(String),
    /// Bytes without meaning.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01 in the proleptic Gregorian calendar.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(u64),
    /// A point in time, or a reading of a wall clock.
    Timestamp(Timestamp),
    /// A UUID.
    Uuid([u8; 16]),
    /// A symbol of an enumeration.
    Enum(String),
    /// A branch of a union, by tag.
    Union(Box<(String, Value)>),
    /// A JSON document as its text, digit by digit.
    Json(String),
    /// Items in order.
    List(Vec<Value>),
    /// Entries by key, in the order they came.
    Map(Vec<(Value, Value)>),
    /// Named fields.
    Record(Box<Record>),
    /// What only ends of one engine understand: carried as it is, never looked into.
    Native(Box<Native>),
}

/// A value in the storage of one engine that has no typed form, such as text that is not Unicode.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Native {
    /// How the engine calls this class of values.
    pub class: u8,
    /// The bytes as stored.
    pub bytes: Vec<u8>,
}

/// The fields of a record value: declared ones by the place their shape gives them, undeclared
/// ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Values in the order of the record's shape; a missing one is [`Value::Absent`].
    pub fields: Vec<Value>,
    /// Fields that nobody declared, kept all the same, in the order they came.
    pub extras: Vec<(String, Value)>,
}

/// A binary float that knows equality: by bits, so that NaN equals itself and `-0` is not `0`.
#[derive(Clone, Copy, Debug)]
pub struct Float(pub f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A decimal of any length: digits times ten to the minus scale. The scale is part of the value.
#[derive(Clone, Debug)]
pub struct Decimal(pub BigDecimal);

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bigint_and_exponent() == other.0.as_bigint_and_exponent()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bigint_and_exponent().hash(state);
    }
}

/// Seconds and nanoseconds since 1970-01-01T00:00:00, of an instant (UTC) or of a local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999 999 999.
    pub nanos: u32,
    /// Whether the seconds count from the epoch in UTC or are a reading of a local clock.
    pub frame: Frame,
}

/// What a timestamp is relative to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// A point in time, in UTC.
    Instant,
    /// A wall clock without a zone.
    Local,
}

impl Value {
    /// An unsigned integer in its one form.
    #[must_use]
    pub fn unsigned(value: u64) -> Value {
        i64::try_from(value).map_or(Value::Uint(value), Value::Int)
    }

    /// Moves the value out and leaves [`Value::Absent`].
    #[must_use]
    pub fn take(&mut self) -> Value {
        std::mem::replace(self, Value::Absent)
    }

    /// True for null and for a field that is not there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Value::Absent | Value::Null)
    }

    /// The name of the kind of value, for messages. Never the value itself.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Absent => "absent",
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "integer",
            Value::Uint(_) => "unsigned integer",
            Value::Float(_) => "float",
            Value::Decimal(_) => "decimal",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::Timestamp(_) => "timestamp",
            Value::Uuid(_) => "uuid",
            Value::Enum(_) => "enum",
            Value::Union(_) => "union",
            Value::Json(_) => "json",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Record(_) => "record",
            Value::Native(_) => "value without a type",
        }
    }
}

/// Shows the kind only: row values never reach logs or error texts.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.kind())
    }
}
