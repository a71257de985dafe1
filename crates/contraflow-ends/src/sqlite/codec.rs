//! Between SQLite's five storage classes and typed values.
//!
//! What SQLite has no class for is text: decimals digit by digit, times in ISO form, lists and
//! records as JSON documents. Reading never fails: a cell whose class does not fit the type the
//! mapping expects keeps its class, and the operation that cannot take it makes a letter of it.

use contraflow_core::codec::{json, text};
use contraflow_core::shape::Type;
use contraflow_core::value::{Float, Native, Value};
use rusqlite::types::ValueRef;

/// A cell as SQLite stores it.
pub(super) fn native(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Float(Float(value)),
        ValueRef::Text(bytes) => text_of(bytes),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// SQLite does not promise that its text is Unicode. What is not is carried byte by byte and stays
/// text; an operation that would have to look into it makes a letter of the row.
fn text_of(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Native(Box::new(Native {
            class: TEXT,
            bytes: bytes.to_vec(),
        })),
    }
}

/// The class of text that is not Unicode.
const TEXT: u8 = 3;

/// A cell as the mapping wants it.
pub(super) fn decode(cell: ValueRef<'_>, ty: &Type) -> Value {
    match (cell, ty) {
        (ValueRef::Integer(value @ (0 | 1)), Type::Bool) => Value::Bool(value == 1),
        (ValueRef::Text(bytes), ty) if is_text_form(ty) => match std::str::from_utf8(bytes) {
            Ok(stored) => parse(stored, ty).unwrap_or_else(|| Value::Text(stored.to_owned())),
            Err(_) => text_of(bytes),
        },
        _ => native(cell),
    }
}

fn is_text_form(ty: &Type) -> bool {
    !matches!(
        ty,
        Type::Text | Type::Any | Type::Int { .. } | Type::Float { .. } | Type::Bytes
    )
}

fn parse(stored: &str, ty: &Type) -> Option<Value> {
    match ty {
        Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Union { .. } | Type::Json => {
            json::from_json(stored, ty).ok()
        }
        _ => text::from_text(stored, ty).ok(),
    }
}

/// A value that SQLite has no class for, as the text it is stored in; `None` when its type and it
/// do not fit.
pub(super) fn encode(value: &Value, ty: &Type) -> Option<String> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Union(_) => {
            let mut document = String::new();
            json::to_json(value, ty, &mut document)
                .ok()
                .map(|()| document)
        }
        other => text::to_text(other),
    }
}
