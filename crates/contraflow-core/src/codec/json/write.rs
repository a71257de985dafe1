//! Writing: the kind of the value decides, the type gives the names of a record's fields.

use std::fmt::Write as _;

use crate::codec::{Malformed, text};
use crate::shape::{Field, Type};
use crate::value::Value;

/// Appends a value of the given type as JSON text.
pub fn to_json(value: &Value, ty: &Type, out: &mut String) -> Result<(), Malformed> {
    match value {
        Value::Absent | Value::Null => out.push_str("null"),
        Value::Json(raw) => out.push_str(raw),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Decimal(_) => {
            out.push_str(&text::to_text(value).expect("these kinds have a text"));
        }
        Value::Float(float) if float.0.is_finite() => {
            out.push_str(&text::to_text(value).expect("floats have a text"));
        }
        Value::Text(plain) | Value::Enum(plain) => string(plain, out),
        Value::Float(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Uuid(_) => string(&text::to_text(value).expect("scalars have a text"), out),
        Value::Union(branch) => {
            let Type::Union { branches } = ty else {
                return Err(Malformed::new(text::expected(ty)));
            };
            let inner = branches.iter().find(|(tag, _)| *tag == branch.0);
            let inner = inner.ok_or(Malformed::new("a union's tag is not declared"))?;
            out.push('{');
            string(&branch.0, out);
            out.push(':');
            to_json(&branch.1, &inner.1, out)?;
            out.push('}');
        }
        Value::List(items) => {
            let item = match ty {
                Type::List(item) => item,
                Type::Any => &Type::Any,
                _ => return Err(Malformed::new(text::expected(ty))),
            };
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                comma(i, out);
                to_json(value, item, out)?;
            }
            out.push(']');
        }
        Value::Map(entries) => map(entries, ty, out)?,
        Value::Record(inner) => {
            let Type::Record(fields) = ty else {
                return Err(Malformed::new(text::expected(ty)));
            };
            members(&inner.fields, &inner.extras, fields, out)?;
        }
        Value::Native(_) => return Err(Malformed::new(text::expected(ty))),
    }
    Ok(())
}

fn map(entries: &[(Value, Value)], ty: &Type, out: &mut String) -> Result<(), Malformed> {
    let Type::Map(key_type, value_type) = ty else {
        return Err(Malformed::new(text::expected(ty)));
    };
    let object = **key_type == Type::Text;
    out.push(if object { '{' } else { '[' });
    for (i, (key, value)) in entries.iter().enumerate() {
        comma(i, out);
        match (object, key) {
            (true, Value::Text(name)) => {
                string(name, out);
                out.push(':');
                to_json(value, value_type, out)?;
            }
            (true, _) => return Err(Malformed::new("expected text as the key of a map")),
            (false, _) => {
                out.push('[');
                to_json(key, key_type, out)?;
                out.push(',');
                to_json(value, value_type, out)?;
                out.push(']');
            }
        }
    }
    out.push(if object { '}' } else { ']' });
    Ok(())
}

/// Appends an object: declared members in the order of their fields, then undeclared ones in the
/// order they came. Absent members are left out.
pub(in crate::codec) fn members(
    values: &[Value],
    extras: &[(String, Value)],
    fields: &[Field],
    out: &mut String,
) -> Result<(), Malformed> {
    if values.len() > fields.len() {
        return Err(Malformed::new("a record has more fields than its type"));
    }
    out.push('{');
    let mut written = 0;
    for (field, value) in fields.iter().zip(values) {
        if matches!(value, Value::Absent) {
            continue;
        }
        comma(written, out);
        written += 1;
        string(&field.name, out);
        out.push(':');
        to_json(value, &field.ty, out)?;
    }
    for (name, value) in extras {
        if fields.iter().any(|field| field.name == *name) {
            let reason = "an undeclared field has the name of a declared one";
            return Err(Malformed::new(reason));
        }
        comma(written, out);
        written += 1;
        string(name, out);
        out.push(':');
        to_json(value, &Type::Any, out)?;
    }
    out.push('}');
    Ok(())
}

fn comma(position: usize, out: &mut String) {
    if position > 0 {
        out.push(',');
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        // Every byte of a longer character is above these.
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => write!(out, "\\u{control:04x}").expect("a string takes all text"),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}
