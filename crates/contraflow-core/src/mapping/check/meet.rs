//! Whether what the mapping makes fits the column that the new table declares.

use crate::code::Code;
use crate::error::Problem;
use crate::shape::{Field, Type};
use crate::side::Side;

/// Reports a predicted field that its column cannot hold, and warns where the way back is
/// narrower.
pub(super) fn meet(made: &Field, column: &Field, problems: &mut Vec<Problem>) {
    let name = &column.name;
    if !holds(&column.ty, &made.ty) {
        let (made, declared) = (made.ty.name(), column.ty.name());
        let message = format!("the mapping makes `{name}` {made}, but its column is {declared}");
        let hint = format!("Add `- convert: {{field: {name}, to: ...}}` or change the column.");
        problems.push(
            Problem::error(Code::TYPE_MISMATCH, message)
                .at(Side::New)
                .hint(hint),
        );
        return;
    }
    if made.nullable && !column.nullable && !column.has_default {
        let message = format!("`{name}` may be null in the old table but not in the new one");
        let hint = "Rows with a null become letters.";
        problems.push(
            Problem::warning(Code::TYPE_MISMATCH, message)
                .at(Side::New)
                .hint(hint),
        );
    }
    if narrower(&made.ty, &column.ty) {
        let message = format!("`{name}` takes larger values in the new table than in the old one");
        let hint = "Larger values become letters on the way down.";
        problems.push(
            Problem::warning(Code::TYPE_MISMATCH, message)
                .at(Side::New)
                .hint(hint),
        );
    }
}

/// Whether a column of the declared type takes every value of the made type. Columns of weak
/// types take whatever the end encodes into them.
fn holds(column: &Type, made: &Type) -> bool {
    match (column, made) {
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::Text, Type::Int { .. } | Type::Float { .. } | Type::Bytes) => column == made,
        (Type::Text | Type::Json, _) => true,
        (Type::Bytes, Type::Uuid) | (Type::Int { .. }, Type::Bool) => true,
        (
            Type::Int {
                bits: wide,
                signed: to,
            },
            Type::Int {
                bits: narrow,
                signed: from,
            },
        ) => match (from, to) {
            (true, false) => false,
            (false, true) => wide > narrow,
            (true, true) | (false, false) => wide >= narrow,
        },
        (
            Type::Decimal {
                precision: None, ..
            },
            Type::Decimal { .. } | Type::Int { .. },
        ) => true,
        (
            Type::Decimal {
                precision: Some(p),
                scale: s,
            },
            Type::Decimal {
                precision: Some(q),
                scale: t,
            },
        ) => {
            let (s, t) = (s.unwrap_or(0), t.unwrap_or(0));
            s >= t && p - s >= q.saturating_sub(t)
        }
        (Type::Decimal { .. }, Type::Decimal { .. }) => true,
        (Type::Float { bits: wide }, Type::Float { bits: narrow }) => wide >= narrow,
        (Type::Timestamp { frame: to, .. }, Type::Timestamp { frame: from, .. }) => to == from,
        (Type::Enum { symbols: to }, Type::Enum { symbols: from }) => {
            from.iter().all(|symbol| to.contains(symbol))
        }
        (Type::List(to), Type::List(from)) => holds(to, from),
        (Type::Record(to), Type::Record(from)) => from.iter().all(|field| {
            let column = to.iter().find(|column| column.name == field.name);
            column.is_some_and(|column| holds(&column.ty, &field.ty))
        }),
        _ => column == made,
    }
}

/// Whether the column takes numbers that the made type does not.
fn narrower(made: &Type, column: &Type) -> bool {
    match (made, column) {
        (Type::Int { .. }, Type::Int { .. }) => made != column,
        _ => false,
    }
}
