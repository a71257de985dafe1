//! The words for types in change files.

use crate::shape::{Field, TimeUnit, Type};
use crate::value::Frame;

/// The words without parameters, for hints.
pub const WORDS: &[&str] = &[
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "decimal",
    "text",
    "bytes",
    "date",
    "time",
    "timestamp",
    "local_timestamp",
    "uuid",
    "json",
    "any",
];

impl Type {
    /// Reads the word for a type: `text`, `decimal(10,2)`, `timestamp(ms)`, `list of int64`,
    /// `map of text to uuid`, `record(name text, age int32?)`, `enum(red, green)`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Type> {
        parse(word, 16)
    }
}

impl Field {
    /// Reads a field's type, where a question mark at the end allows null.
    #[must_use]
    pub fn parse(name: &str, word: &str) -> Option<Field> {
        field(name, word, 16)
    }
}

fn field(name: &str, word: &str, depth: usize) -> Option<Field> {
    Some(match word.strip_suffix('?') {
        Some(word) => Field::nullable(name, parse(word, depth)?),
        None => Field::required(name, parse(word, depth)?),
    })
}

fn parse(word: &str, depth: usize) -> Option<Type> {
    let depth = depth.checked_sub(1)?;
    let word = word.trim();
    if let Some(item) = word.strip_prefix("list of ") {
        return Some(Type::List(Box::new(parse(item, depth)?)));
    }
    if let Some(entry) = word.strip_prefix("map of ") {
        let (key, value) = entry.split_once(" to ")?;
        let (key, value) = (parse(key, depth)?, parse(value, depth)?);
        return Some(Type::Map(Box::new(key), Box::new(value)));
    }
    let (word, inside) = match word.split_once('(') {
        Some((word, rest)) => (word.trim_end(), Some(rest.strip_suffix(')')?)),
        None => (word, None),
    };
    match (word, inside) {
        ("record", Some(inside)) => record(inside, depth),
        ("enum", Some(inside)) => Some(Type::Enum {
            symbols: parts(inside).map(str::to_owned).collect(),
        }),
        ("decimal", Some(inside)) => {
            let mut digits = parts(inside);
            let precision = digits.next()?.parse().ok()?;
            let scale = digits.next().map_or(Some(0), |scale| scale.parse().ok())?;
            (digits.next().is_none() && scale <= precision).then_some(Type::Decimal {
                precision: Some(precision),
                scale: Some(scale),
            })
        }
        ("timestamp", unit) => Some(timestamp(Frame::Instant, unit)?),
        ("local_timestamp", unit) => Some(timestamp(Frame::Local, unit)?),
        (word, None) => simple(word),
        _ => None,
    }
}

fn timestamp(frame: Frame, unit: Option<&str>) -> Option<Type> {
    let unit = match unit {
        Some("s") => TimeUnit::Seconds,
        Some("ms") => TimeUnit::Millis,
        Some("us") | None => TimeUnit::Micros,
        Some("ns") => TimeUnit::Nanos,
        Some(_) => return None,
    };
    Some(Type::Timestamp { frame, unit })
}

fn record(inside: &str, depth: usize) -> Option<Type> {
    let fields = parts(inside).map(|part| {
        let (name, word) = part.split_once([' ', ':'])?;
        field(name, word.trim(), depth)
    });
    fields.collect::<Option<Vec<_>>>().map(Type::Record)
}

/// Splits at commas that stand outside parentheses.
fn parts(inside: &str) -> impl Iterator<Item = &str> {
    let mut open = 0_usize;
    inside
        .split(move |letter| {
            match letter {
                '(' => open += 1,
                ')' => open = open.saturating_sub(1),
                _ => {}
            }
            letter == ',' && open == 0
        })
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn simple(word: &str) -> Option<Type> {
    let int = |bits, signed| Type::Int { bits, signed };
    Some(match word {
        "bool" => Type::Bool,
        "int8" => int(8, true),
        "int16" => int(16, true),
        "int32" => int(32, true),
        "int64" => int(64, true),
        "uint8" => int(8, false),
        "uint16" => int(16, false),
        "uint32" => int(32, false),
        "uint64" => int(64, false),
        "float32" => Type::Float { bits: 32 },
        "float64" => Type::Float { bits: 64 },
        "decimal" => Type::Decimal {
            precision: None,
            scale: None,
        },
        "text" => Type::Text,
        "bytes" => Type::Bytes,
        "date" => Type::Date,
        "time" => Type::Time,
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        "any" => Type::Any,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
