//! What primitive values mean, and how meanings are written.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use super::{DECIMAL_BYTES_MAX, Logical};
use crate::codec::text::{from_text, per_second, to_text};
use crate::shape::{TimeUnit, Type};
use crate::value::{Decimal, Float, Timestamp, Value};

const DAY_NANOS: u64 = 86_400_000_000_000;
const SECOND_NANOS: i64 = 1_000_000_000;

/// A value as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'b> {
    Null,
    Bool(bool),
    Whole(i64),
    Float(f32),
    Double(f64),
    Bytes(&'b [u8]),
    Text(&'b str),
}

/// The value that a raw one means.
pub(super) fn meaning(raw: Raw<'_>, logical: Option<Logical>) -> Result<Value, &'static str> {
    Ok(match (raw, logical) {
        (Raw::Null, _) => Value::Null,
        (Raw::Bool(truth), _) => Value::Bool(truth),
        (Raw::Whole(days), Some(Logical::Date)) => match i32::try_from(days) {
            Ok(days) => Value::Date(days),
            Err(_) => return Err("a date is out of range"),
        },
        (Raw::Whole(steps), Some(Logical::Time(unit))) => {
            let nanos = u64::try_from(steps)
                .ok()
                .and_then(|steps| steps.checked_mul(step_nanos(unit).unsigned_abs()))
                .filter(|nanos| *nanos < DAY_NANOS);
            Value::Time(nanos.ok_or("a time of day is out of range")?)
        }
        (Raw::Whole(steps), Some(Logical::Timestamp(frame, unit))) => {
            let per_second = per_second(unit);
            let nanos = steps.rem_euclid(per_second) * step_nanos(unit);
            Value::Timestamp(Timestamp {
                seconds: steps.div_euclid(per_second),
                nanos: u32::try_from(nanos).expect("less than a second"),
                frame,
            })
        }
        (Raw::Whole(number), _) => Value::Int(number),
        (Raw::Float(float), _) => Value::Float(Float(widen(float))),
        (Raw::Double(double), _) => Value::Float(Float(double)),
        (Raw::Bytes(bytes), Some(Logical::Decimal { precision, scale })) => {
            decimal(bytes, precision, scale)?
        }
        (Raw::Bytes(bytes), Some(Logical::Uuid)) => match bytes.try_into() {
            Ok(bytes) => Value::Uuid(bytes),
            Err(_) => return Err("a UUID has not 16 bytes"),
        },
        (Raw::Bytes(bytes), _) => Value::Bytes(bytes.to_vec()),
        (Raw::Text(text), Some(Logical::Uuid)) => {
            from_text(text, &Type::Uuid).map_err(|malformed| malformed.reason)?
        }
        (Raw::Text(text), _) => Value::Text(text.to_owned()),
    })
}

fn decimal(bytes: &[u8], precision: u32, scale: u32) -> Result<Value, &'static str> {
    if bytes.is_empty() || bytes.len() > DECIMAL_BYTES_MAX {
        return Err("a decimal has no bytes, or too many");
    }
    let digits = BigInt::from_signed_bytes_be(bytes);
    if !has_digits(&digits, precision) {
        return Err(DIGITS);
    }
    Ok(Value::Decimal(Decimal(BigDecimal::new(
        digits,
        scale.into(),
    ))))
}

/// Whether a number has at most so many digits.
fn has_digits(number: &BigInt, precision: u32) -> bool {
    // log10(2) is a little below 0.30103.
    let surely = number.bits().saturating_mul(30_103) / 100_000 + 1;
    surely <= u64::from(precision) || {
        let limit = BigInt::from(10).pow(precision);
        *number < limit && *number > -limit
    }
}

/// How a value that was read becomes one of the reader's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// A whole number as a float of 32 bits.
    Float,
    /// A whole number as a float of 64 bits.
    Double,
    /// The same meaning in another unit or with another scale.
    Meaning(Logical),
}

/// The value in the reader's form, when that is the same value.
pub(super) fn fitted(value: Value, fit: Fit) -> Result<Value, &'static str> {
    Ok(match (value, fit) {
        (Value::Int(number), Fit::Float) => {
            let float = number as f32;
            let exact = float as i128 == i128::from(number);
            Value::Float(Float(exact.then_some(widen(float)).ok_or(ROUNDED)?))
        }
        (Value::Int(number), Fit::Double) => {
            let double = number as f64;
            let exact = double as i128 == i128::from(number);
            Value::Float(Float(exact.then_some(double).ok_or(ROUNDED)?))
        }
        (Value::Decimal(decimal), Fit::Meaning(Logical::Decimal { precision, scale })) => {
            let decimal = rescaled(&decimal, scale)?;
            let (digits, _) = decimal.0.as_bigint_and_exponent();
            let fits = has_digits(&digits, precision);
            Value::Decimal(fits.then_some(decimal).ok_or(DIGITS)?)
        }
        (value @ (Value::Time(_) | Value::Timestamp(_)), Fit::Meaning(logical)) => {
            steps(&value, Some(logical))?;
            value
        }
        (value, _) => value,
    })
}

const ROUNDED: &str = "the number would be rounded";
const DIGITS: &str = "the number has more digits than its type";

/// A decimal with the scale of its type, without rounding.
fn rescaled(decimal: &Decimal, scale: u32) -> Result<Decimal, &'static str> {
    let (digits, from) = decimal.0.as_bigint_and_exponent();
    let shift = i64::from(scale) - from;
    let power = u32::try_from(shift.unsigned_abs())
        .ok()
        .filter(|power| i64::from(*power) <= crate::codec::text::SCALE_MAX)
        .ok_or("the number's exponent is too large")?;
    let factor = BigInt::from(10).pow(power);
    let digits = match shift >= 0 {
        true => digits * factor,
        false if (&digits % &factor) == BigInt::ZERO => digits / factor,
        false => return Err(ROUNDED),
    };
    Ok(Decimal(BigDecimal::new(digits, scale.into())))
}

/// The bytes of a decimal of that type, as few as hold it.
pub(super) fn decimal_bytes(
    decimal: &Decimal,
    precision: u32,
    scale: u32,
) -> Result<Vec<u8>, &'static str> {
    let (digits, _) = rescaled(decimal, scale)?.0.into_bigint_and_exponent();
    if !has_digits(&digits, precision) {
        return Err(DIGITS);
    }
    let bytes = digits.to_signed_bytes_be();
    match bytes.len() <= DECIMAL_BYTES_MAX {
        true => Ok(bytes),
        false => Err(DIGITS),
    }
}

/// How many steps of its type's unit a date, time or timestamp is.
pub(super) fn steps(value: &Value, logical: Option<Logical>) -> Result<i64, &'static str> {
    let finer = "the time is finer than the unit of its type";
    let range = "the time is out of the range of its type";
    match (value, logical) {
        (Value::Date(days), Some(Logical::Date)) => Ok(i64::from(*days)),
        (Value::Time(nanos), Some(Logical::Time(unit))) => {
            let nanos = i64::try_from(*nanos).ok().filter(|_| *nanos < DAY_NANOS);
            let nanos = nanos.ok_or(range)?;
            match nanos % step_nanos(unit) {
                0 => Ok(nanos / step_nanos(unit)),
                _ => Err(finer),
            }
        }
        (Value::Timestamp(time), Some(Logical::Timestamp(frame, unit))) if time.frame == frame => {
            let nanos = i64::from(time.nanos);
            if nanos % step_nanos(unit) != 0 {
                return Err(finer);
            }
            let steps = i128::from(time.seconds) * i128::from(per_second(unit));
            i64::try_from(steps + i128::from(nanos / step_nanos(unit))).map_err(|_| range)
        }
        _ => Err("a value of another type"),
    }
}

/// The text of a UUID.
pub(super) fn uuid_text(value: &Value) -> Option<String> {
    matches!(value, Value::Uuid(_)).then(|| to_text(value))?
}

fn step_nanos(unit: TimeUnit) -> i64 {
    SECOND_NANOS / per_second(unit)
}

/// A float in twice the bits. Those of a NaN stay as they are, which the processor does not
/// promise.
fn widen(float: f32) -> f64 {
    if !float.is_nan() {
        return f64::from(float);
    }
    let bits = u64::from(float.to_bits());
    f64::from_bits((bits >> 31) << 63 | 0x7ff << 52 | (bits & 0x7f_ffff) << 29)
}

/// A float in half the bits, when that is the same number.
pub(super) fn narrow(double: f64) -> Option<f32> {
    let float = match double.is_nan() {
        true => {
            let bits = double.to_bits();
            f32::from_bits(((bits >> 63) << 31 | 0xff << 23 | bits >> 29 & 0x7f_ffff) as u32)
        }
        false => double as f32,
    };
    (widen(float).to_bits() == double.to_bits()).then_some(float)
}
