//! One value of one type as a value of another, exactly or not at all.

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, ToPrimitive, Zero};

use crate::codec::{json as codec_json, text};
use crate::mapping::ops::lens::Lens;
use crate::shape::{TimeUnit, Type};
use crate::side::Direction;
use crate::value::{Decimal, Float, Frame, Timestamp, Value};

/// Digits after the point that a quotient without declared scale may take.
const QUOTIENT_SCALE: u32 = 38;
/// Whole numbers up to this size are exact in a binary float.
const FLOAT_EXACT: i64 = 1 << 53;

/// One direction of a conversion.
#[derive(Clone, Debug)]
pub(super) enum Cast {
    /// A whole number that must fit the type.
    Fit(Type),
    /// A whole number that always fits.
    Widen,
    /// Any scalar as text.
    Print,
    /// Text as a scalar, or JSON text as anything.
    Parse(Type),
    /// Anything as JSON text, in a text field or a JSON field.
    PrintJson {
        /// The type it is written by.
        from: Type,
        /// Whether the field is a JSON field.
        json: bool,
    },
    /// A whole number as a decimal.
    ToDecimal(Type),
    /// A decimal as a whole number.
    ToInt(Type),
    /// A decimal with other digits after the point.
    Rescale(Type),
    /// A number as a binary float.
    ToFloat,
    /// A binary float as a decimal, by its shortest digits.
    Digits(Type),
    /// A truth value as 0 or 1.
    BoolToInt,
    /// 0 or 1 as a truth value.
    IntToBool,
    /// A number times a fraction.
    Ratio {
        /// Above the line.
        numerator: BigInt,
        /// Below the line.
        denominator: BigInt,
        /// What comes out.
        to: Type,
    },
    /// A count of units since 1970 as a point in time.
    FromEpoch(TimeUnit, Frame),
    /// A point in time as a count of units since 1970.
    ToEpoch(TimeUnit),
    /// One value for another.
    Table(Vec<(Value, Value)>),
}

/// Both directions of a conversion.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) up: Cast,
    pub(super) down: Cast,
    /// Whether up, then down, is known to be exact without trying.
    faithful: [bool; 2],
}

impl Pair {
    pub(super) fn new(up: Cast, down: Cast, faithful: [bool; 2]) -> Pair {
        Pair { up, down, faithful }
    }

    /// The plain conversion between two types, if there is one.
    pub(super) fn between(from: &Type, to: &Type) -> Option<Pair> {
        if let Some((up, faithful)) = one_way(from, to)
            && let Some((down, back)) = one_way(to, from)
        {
            return Some(Pair::new(up, down, [faithful, back]));
        }
        None
    }

    /// A change of unit between exact numbers.
    pub(super) fn factor(from: &Type, to: &Type, factor: &BigDecimal) -> Option<Pair> {
        let number = |ty: &Type| matches!(ty, Type::Int { .. } | Type::Decimal { .. });
        if !number(from) || !number(to) {
            return None;
        }
        let (digits, scale) = factor.as_bigint_and_exponent();
        let power = BigInt::from(10).pow(u32::try_from(scale.unsigned_abs()).ok()?);
        let (numerator, denominator) = match scale > 0 {
            true => (digits, power),
            false => (digits * power, BigInt::from(1)),
        };
        let up = Cast::Ratio {
            numerator: numerator.clone(),
            denominator: denominator.clone(),
            to: to.clone(),
        };
        let down = Cast::Ratio {
            numerator: denominator,
            denominator: numerator,
            to: from.clone(),
        };
        Some(Pair::new(up, down, [false, false]))
    }

    /// A count of units since 1970 and the point in time it names.
    pub(super) fn epoch(from: &Type, to: &Type, unit: TimeUnit) -> Option<Pair> {
        match (from, to) {
            (Type::Int { .. }, Type::Timestamp { frame, .. }) => {
                let up = Cast::FromEpoch(unit, *frame);
                Some(Pair::new(up, Cast::ToEpoch(unit), [false, false]))
            }
            (Type::Timestamp { frame, .. }, Type::Int { .. }) => {
                let down = Cast::FromEpoch(unit, *frame);
                Some(Pair::new(Cast::ToEpoch(unit), down, [false, false]))
            }
            _ => None,
        }
    }

    pub(super) fn is_faithful(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.faithful[0],
            Direction::Reverse => self.faithful[1],
        }
    }
}

/// The cast from one type to another, and whether the opposite one always undoes it.
fn one_way(from: &Type, to: &Type) -> Option<(Cast, bool)> {
    let structured = |ty: &Type| {
        matches!(
            ty,
            Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Union { .. }
        )
    };
    Some(match (from, to) {
        (Type::Int { .. }, Type::Int { .. }) => match widens(from, to) {
            true => (Cast::Widen, true),
            false => (Cast::Fit(to.clone()), true),
        },
        (Type::Text | Type::Json, structure) if structured(structure) => {
            (Cast::Parse(to.clone()), false)
        }
        (structure, Type::Text | Type::Json) if structured(structure) => (
            Cast::PrintJson {
                from: from.clone(),
                json: *to == Type::Json,
            },
            false,
        ),
        (Type::Text, Type::Text) => return None,
        (Type::Text, to) if !structured(to) => (Cast::Parse(to.clone()), false),
        (from, Type::Text) if !structured(from) => (Cast::Print, false),
        (Type::Int { .. }, Type::Decimal { .. }) => (Cast::ToDecimal(to.clone()), false),
        (Type::Decimal { .. }, Type::Int { .. }) => (Cast::ToInt(to.clone()), false),
        (Type::Decimal { .. }, Type::Decimal { .. }) => (Cast::Rescale(to.clone()), false),
        (Type::Int { .. } | Type::Decimal { .. }, Type::Float { bits: 64 }) => {
            (Cast::ToFloat, false)
        }
        (Type::Float { .. }, Type::Decimal { .. } | Type::Int { .. }) => {
            (Cast::Digits(to.clone()), false)
        }
        (Type::Bool, Type::Int { .. }) => (Cast::BoolToInt, true),
        (Type::Int { .. }, Type::Bool) => (Cast::IntToBool, true),
        _ => return None,
    })
}

fn widens(from: &Type, to: &Type) -> bool {
    let range = |ty: &Type| match ty {
        Type::Int { bits, signed: true } => Some((-(1_i128 << (bits - 1)), 1_i128 << (bits - 1))),
        Type::Int {
            bits,
            signed: false,
        } => Some((0, 1_i128 << bits)),
        _ => None,
    };
    match (range(from), range(to)) {
        (Some((low, high)), Some((lowest, highest))) => lowest <= low && high <= highest,
        _ => false,
    }
}

impl Lens for Pair {
    fn carry(&self, direction: Direction, values: &[Value]) -> Result<Vec<Value>, &'static str> {
        let cast = match direction {
            Direction::Forward => &self.up,
            Direction::Reverse => &self.down,
        };
        values
            .iter()
            .map(|value| match value {
                Value::Absent | Value::Null => Ok(value.clone()),
                value => cast.apply(value),
            })
            .collect()
    }

    fn faithful(&self, direction: Direction) -> bool {
        self.is_faithful(direction)
    }
}

impl Cast {
    /// Whether some value of the source type has no image.
    pub(super) fn fallible(&self) -> bool {
        match self {
            Cast::Widen | Cast::Print | Cast::PrintJson { .. } | Cast::BoolToInt => false,
            Cast::ToDecimal(to) | Cast::Rescale(to) => !matches!(
                to,
                Type::Decimal {
                    precision: None,
                    ..
                }
            ),
            Cast::Fit(_)
            | Cast::Parse(_)
            | Cast::ToInt(_)
            | Cast::ToFloat
            | Cast::Digits(_)
            | Cast::IntToBool
            | Cast::Ratio { .. }
            | Cast::FromEpoch(..)
            | Cast::ToEpoch(_)
            | Cast::Table(_) => true,
        }
    }

    fn apply(&self, value: &Value) -> Result<Value, &'static str> {
        match (self, value) {
            (Cast::Widen, number @ (Value::Int(_) | Value::Uint(_))) => Ok(number.clone()),
            (Cast::Fit(to), number) => int(&integer(number)?, to),
            (Cast::Print, scalar) => text::to_text(scalar)
                .map(Value::Text)
                .ok_or("expected a scalar"),
            (Cast::Parse(to), Value::Text(source) | Value::Json(source)) => parse(source, to),
            (Cast::PrintJson { from, json }, value) => {
                let mut out = String::new();
                codec_json::to_json(value, from, &mut out).map_err(|malformed| malformed.reason)?;
                Ok(if *json {
                    Value::Json(out)
                } else {
                    Value::Text(out)
                })
            }
            (Cast::ToDecimal(to), number) => scaled(&BigDecimal::from(integer(number)?), to),
            (Cast::ToInt(to), Value::Decimal(decimal)) => whole(&decimal.0, to),
            (Cast::Rescale(to), Value::Decimal(decimal)) => scaled(&decimal.0, to),
            (Cast::ToFloat, Value::Int(number)) if number.abs() <= FLOAT_EXACT => {
                Ok(Value::Float(Float(*number as f64)))
            }
            (Cast::ToFloat, Value::Decimal(decimal)) => {
                text::from_text(&text::decimal_text(decimal), &Type::Float { bits: 64 })
                    .map_err(|malformed| malformed.reason)
            }
            (Cast::Digits(to), Value::Float(_)) => digits(value, to),
            (Cast::BoolToInt, Value::Bool(truth)) => Ok(Value::Int(i64::from(*truth))),
            (Cast::IntToBool, Value::Int(0)) => Ok(Value::Bool(false)),
            (Cast::IntToBool, Value::Int(1)) => Ok(Value::Bool(true)),
            (
                Cast::Ratio {
                    numerator,
                    denominator,
                    to,
                },
                number,
            ) => ratio(number, numerator, denominator, to),
            (Cast::FromEpoch(unit, frame), Value::Int(count)) => {
                Ok(Value::Timestamp(from_epoch(*count, *unit, *frame)))
            }
            (Cast::ToEpoch(unit), Value::Timestamp(time)) => to_epoch(*time, *unit),
            (Cast::Table(rows), value) => {
                let row = rows.iter().find(|(from, _)| from == value);
                row.map(|(_, to)| to.clone())
                    .ok_or("expected a value of the table")
            }
            _ => Err("expected another kind of value"),
        }
    }
}

fn integer(value: &Value) -> Result<BigInt, &'static str> {
    match value {
        Value::Int(number) => Ok(BigInt::from(*number)),
        Value::Uint(number) => Ok(BigInt::from(*number)),
        _ => Err("expected a whole number"),
    }
}

fn int(number: &BigInt, to: &Type) -> Result<Value, &'static str> {
    let value = match (number.to_i64(), number.to_u64()) {
        (Some(number), _) => Value::Int(number),
        (None, Some(number)) => Value::Uint(number),
        (None, None) => return Err("the number does not fit its type"),
    };
    match to {
        Type::Int { bits, signed } if text::int_fits(&value, *bits, *signed) => Ok(value),
        _ => Err("the number does not fit its type"),
    }
}

fn whole(decimal: &BigDecimal, to: &Type) -> Result<Value, &'static str> {
    let truncated = decimal.with_scale(0);
    match truncated == *decimal {
        true => int(&truncated.into_bigint_and_exponent().0, to),
        false => Err("expected a whole number"),
    }
}

/// A decimal with the digits of its type; fails rather than rounds.
fn scaled(decimal: &BigDecimal, to: &Type) -> Result<Value, &'static str> {
    let scaled = match to {
        Type::Decimal {
            scale: Some(scale), ..
        } => decimal.with_scale(i64::from(*scale)),
        _ => decimal.clone(),
    };
    if scaled != *decimal {
        return Err("the number has more digits after the point than its type");
    }
    match to {
        Type::Decimal {
            precision: Some(precision),
            ..
        } if scaled.digits() > u64::from(*precision) => {
            Err("the number has more digits than its type")
        }
        _ => Ok(Value::Decimal(Decimal(scaled))),
    }
}

fn parse(source: &str, to: &Type) -> Result<Value, &'static str> {
    let read = match to {
        Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Union { .. } => {
            codec_json::from_json(source, to)
        }
        Type::Json => codec_json::check(source).map(|()| Value::Json(source.to_owned())),
        scalar => text::from_text(source, scalar),
    };
    match read.map_err(|malformed| malformed.reason)? {
        Value::Decimal(decimal) => scaled(&decimal.0, to),
        value => Ok(value),
    }
}

fn digits(float: &Value, to: &Type) -> Result<Value, &'static str> {
    let digits = text::to_text(float).ok_or("expected a number")?;
    let decimal = text::decimal(&digits)
        .map_err(|_| "expected a finite number")?
        .0;
    match to {
        Type::Int { .. } => whole(&decimal, to),
        _ => scaled(&decimal, to),
    }
}

fn ratio(
    number: &Value,
    numerator: &BigInt,
    denominator: &BigInt,
    to: &Type,
) -> Result<Value, &'static str> {
    let (digits, scale) = match number {
        Value::Decimal(decimal) => decimal.0.as_bigint_and_exponent(),
        number => (integer(number)?, 0),
    };
    let power = |exponent: u64| {
        u32::try_from(exponent)
            .map(|exponent| BigInt::from(10).pow(exponent))
            .map_err(|_| "the number's exponent is too large")
    };
    let target_scale = match to {
        Type::Decimal {
            scale: Some(scale), ..
        } => *scale,
        Type::Decimal { .. } => QUOTIENT_SCALE,
        _ => 0,
    };
    let (mut over, mut under) = (
        digits * numerator * power(u64::from(target_scale))?,
        denominator.clone(),
    );
    match scale > 0 {
        true => under *= power(scale.unsigned_abs())?,
        false => over *= power(scale.unsigned_abs())?,
    }
    if !(&over % &under).is_zero() {
        return Err("the number cannot be divided exactly");
    }
    let quotient = over / under;
    match to {
        Type::Int { .. } => int(&quotient, to),
        Type::Decimal { scale: Some(_), .. } => {
            scaled(&BigDecimal::new(quotient, i64::from(target_scale)), to)
        }
        _ => {
            let trimmed = BigDecimal::new(quotient, i64::from(target_scale)).normalized();
            let scale = trimmed.as_bigint_and_exponent().1.max(0);
            scaled(&trimmed.with_scale(scale), to)
        }
    }
}

fn from_epoch(count: i64, unit: TimeUnit, frame: Frame) -> Timestamp {
    let steps = text::per_second(unit);
    let nanos = count.rem_euclid(steps) * (1_000_000_000 / steps);
    Timestamp {
        seconds: count.div_euclid(steps),
        nanos: u32::try_from(nanos).expect("a part of a second is below 10^9"),
        frame,
    }
}

fn to_epoch(time: Timestamp, unit: TimeUnit) -> Result<Value, &'static str> {
    let steps = text::per_second(unit);
    let step = 1_000_000_000 / steps;
    if i64::from(time.nanos) % step != 0 {
        return Err("the time is finer than the unit");
    }
    let count = time
        .seconds
        .checked_mul(steps)
        .and_then(|count| count.checked_add(i64::from(time.nanos) / step));
    count.map(Value::Int).ok_or("the time is out of range")
}
