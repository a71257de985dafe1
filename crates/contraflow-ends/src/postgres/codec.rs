//! Between PostgreSQL's spelling of values and typed values.
//!
//! Everything travels as text in the spelling of its type's own output function, under fixed
//! settings, so that what a query shows and what the log holds are the same bytes. Reading never
//! fails: a text that does not fit the type the mapping expects (`NaN` in a decimal, `infinity` in
//! a date) stays text, and the operation that cannot take it makes a letter of it.

use std::borrow::Cow;

use contraflow_core::codec::{json, text};
use contraflow_core::shape::Type;
use contraflow_core::value::{Frame, Value};

/// A value in the form the mapping wants it. What it passes through is not looked into.
pub(super) fn decode(stored: &str, ty: &Type, native: bool) -> Value {
    let as_text = || Value::Text(stored.to_owned());
    match ty {
        Type::Int { .. } => stored.parse().map_or_else(|_| as_text(), Value::Int),
        Type::Bool => match stored {
            "t" | "true" => Value::Bool(true),
            "f" | "false" => Value::Bool(false),
            _ => as_text(),
        },
        Type::Text | Type::Any => as_text(),
        _ if native => as_text(),
        Type::Bytes => hex(stored).map_or_else(as_text, Value::Bytes),
        Type::Timestamp {
            frame: Frame::Instant,
            ..
        } => {
            let utc = stored.strip_suffix("+00").map(|clock| format!("{clock}Z"));
            let read = utc.and_then(|utc| text::from_text(&utc, ty).ok());
            read.unwrap_or_else(as_text)
        }
        Type::Json | Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Union { .. } => {
            json::from_json(stored, ty).unwrap_or_else(|_| as_text())
        }
        Type::Float { .. }
        | Type::Decimal { .. }
        | Type::Date
        | Type::Time
        | Type::Timestamp { .. }
        | Type::Uuid
        | Type::Enum { .. } => text::from_text(stored, ty).unwrap_or_else(|_| as_text()),
    }
}

/// The text that PostgreSQL reads a value from; `Ok(None)` is null.
///
/// # Errors
/// When the value and its type do not fit.
pub(super) fn encode<'v>(value: &'v Value, ty: &Type) -> Result<Option<Cow<'v, str>>, Unfit> {
    Ok(Some(match value {
        Value::Absent | Value::Null => return Ok(None),
        Value::Text(text) | Value::Json(text) | Value::Enum(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => Cow::Owned(hex_text(bytes)),
        Value::Native(_) => return Err(Unfit),
        Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Union(_) => {
            let mut document = String::new();
            json::to_json(value, ty, &mut document).map_err(|_| Unfit)?;
            Cow::Owned(document)
        }
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Decimal(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Uuid(_) => Cow::Owned(text::to_text(value).ok_or(Unfit)?),
    }))
}

/// A value that no column of its type can hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit;

pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

fn hex_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).expect("below 16"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
