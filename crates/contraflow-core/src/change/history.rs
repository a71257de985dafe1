//! Which rows from before the change are carried: one decision, for the backfill and for the
//! compare.

use std::cmp::Ordering;

use super::spec::{Bound, History};
use crate::code::Code;
use crate::codec::text;
use crate::error::Problem;
use crate::record::Row;
use crate::shape::{Shape, Type};
use crate::side::Side;
use crate::value::Value;

/// A [`History`] bound to the shape of the old table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Every row is copied.
    #[default]
    All,
    /// No row is copied: somebody else brings them, and the compare judges what they brought.
    Nothing,
    /// Rows whose field is at least the bound are copied. Older ones may be missing in the new
    /// table until they are written; then they are carried like any other.
    Since {
        /// The place of the field in the old shape.
        place: usize,
        /// The least value that is copied.
        bound: Value,
    },
}

impl Reach {
    /// Binds a declared history to the old table.
    ///
    /// # Errors
    /// When the table has no such field, or its values have no order that a bound could cut.
    pub fn of(history: &History, old: &Shape) -> Result<Reach, Problem> {
        match history {
            History::All => Ok(Reach::All),
            History::None => Ok(Reach::Nothing),
            History::Since { field, bound } => {
                let Some(place) = old.index(field) else {
                    let message =
                        format!("`history` names the field `{field}`, which is not there");
                    return Err(Problem::error(Code::FIELD_UNKNOWN, message).at(Side::Old));
                };
                let bound = read(bound, &old.fields[place].ty).ok_or_else(|| {
                    let ty = old.fields[place].ty.name();
                    let message = format!("`{field}` is `{ty}`: `history` cannot begin there");
                    Problem::error(Code::VALUE_INVALID, message)
                        .at(Side::Old)
                        .hint("Name a field of numbers, texts or times, and a value of its type.")
                })?;
                Ok(Reach::Since { place, bound })
            }
        }
    }

    /// Whether there is anything to copy.
    #[must_use]
    pub fn copies(&self) -> bool {
        *self != Reach::Nothing
    }

    /// Whether the new table may lack this old row, because nobody has copied it and nobody has
    /// written it since.
    #[must_use]
    pub fn may_lack(&self, old: &Row) -> bool {
        match self {
            Reach::All | Reach::Nothing => false,
            // What cannot be put in order is carried: too much is no loss.
            Reach::Since { place, bound } => match &old.0[*place] {
                Value::Null | Value::Absent => true,
                value => order(value, bound) == Some(Ordering::Less),
            },
        }
    }
}

/// The bound by the type of its field. Quotes make a text of what is a number otherwise, where the
/// column takes either.
fn read(bound: &Bound, ty: &Type) -> Option<Value> {
    let (typed, quoted) = match bound {
        Bound::Plain(typed) => (typed, false),
        Bound::Quoted(typed) => (typed, true),
    };
    let number = || {
        let whole = text::from_text(typed, &Type::INT64).ok();
        whole.or_else(|| text::from_text(typed, &Type::Float { bits: 64 }).ok())
    };
    match ty {
        Type::Any if !quoted => number().or_else(|| Some(Value::Text(typed.clone()))),
        // A storage class of its own: a fraction is a bound for whole numbers too.
        Type::Int { .. } => number(),
        Type::Text | Type::Any | Type::Float { .. } | Type::Date | Type::Time => {
            text::from_text(typed, ty).ok()
        }
        Type::Timestamp { .. } => text::from_text(typed, ty).ok(),
        Type::Bool
        | Type::Decimal { .. }
        | Type::Bytes
        | Type::Uuid
        | Type::Json
        | Type::Enum { .. }
        | Type::Union { .. }
        | Type::List(_)
        | Type::Map(..)
        | Type::Record(_) => None,
    }
}

/// The order of two values of one kind; numbers of different kinds are numbers.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        // One of them is above every `i64`.
        (Value::Int(_), Value::Uint(_)) => Some(Ordering::Less),
        (Value::Uint(_), Value::Int(_)) => Some(Ordering::Greater),
        (Value::Float(a), Value::Float(b)) => a.0.partial_cmp(&b.0),
        (Value::Int(a), Value::Float(b)) => whole_and_float(*a, b.0),
        (Value::Float(a), Value::Int(b)) => whole_and_float(*b, a.0).map(Ordering::reverse),
        _ => None,
    }
}

/// Exact: a float that is no whole number lies between two, and those of 64 bits have room.
fn whole_and_float(whole: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let floor = float.floor();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked above"
    )]
    let floored = floor as i64;
    let fraction = if float > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    Some(whole.cmp(&floored).then(fraction))
}

#[cfg(test)]
mod tests;
