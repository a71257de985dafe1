//! Scalars as text: digit by digit, never through a binary float unless the value is one.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use crate::codec::Malformed;
use crate::shape::{TimeUnit, Type};
use crate::value::{Decimal, Float, Frame, Timestamp, Value};

/// How far the point of a decimal may lie from its last digit. Beyond this, printing a few bytes
/// of input would fill the memory.
pub const SCALE_MAX: i64 = 10_000;

const DAY_SECONDS: i64 = 86_400;
const NANOS: u32 = 1_000_000_000;

/// The text of a scalar; `None` for lists, maps, records, unions and nothing.
#[must_use]
pub fn to_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Float(float) => float_text(float.0),
        Value::Decimal(decimal) => decimal_text(decimal),
        Value::Text(text) | Value::Enum(text) | Value::Json(text) => text.clone(),
        Value::Bytes(bytes) => BASE64.encode(bytes),
        Value::Date(days) => date_text(i64::from(*days)),
        Value::Time(nanos) => time_text(*nanos),
        Value::Timestamp(time) => timestamp_text(*time),
        Value::Uuid(bytes) => uuid_text(bytes),
        Value::Absent
        | Value::Null
        | Value::Union(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_)
        | Value::Native(_) => return None,
    })
}

/// Reads a scalar of the given type.
pub fn from_text(text: &str, ty: &Type) -> Result<Value, Malformed> {
    let read = match ty {
        Type::Text | Type::Any => Some(Value::Text(text.to_owned())),
        Type::Json => Some(Value::Json(text.to_owned())),
        Type::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Int { bits, signed } => return int(text, *bits, *signed),
        Type::Float { .. } => float(text),
        Type::Decimal { .. } => return decimal(text).map(Value::Decimal),
        Type::Bytes => BASE64.decode(text).ok().map(Value::Bytes),
        Type::Date => date(text)
            .and_then(|days| i32::try_from(days).ok())
            .map(Value::Date),
        Type::Time => time(text).map(Value::Time),
        Type::Timestamp { frame, .. } => timestamp(text, *frame).map(Value::Timestamp),
        Type::Uuid => uuid(text).map(Value::Uuid),
        Type::Enum { symbols } if symbols.iter().any(|symbol| symbol == text) => {
            Some(Value::Enum(text.to_owned()))
        }
        Type::Enum { .. }
        | Type::Union { .. }
        | Type::List(_)
        | Type::Map(..)
        | Type::Record(_) => None,
    };
    read.ok_or(Malformed::new(expected(ty)))
}

/// What a text of this type should have been, for messages.
pub(crate) fn expected(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "expected `true` or `false`",
        Type::Int { .. } => "expected a whole number",
        Type::Float { .. } | Type::Decimal { .. } => "expected a number",
        Type::Bytes => "expected bytes as base64",
        Type::Date => "expected a date",
        Type::Time => "expected a time of day",
        Type::Timestamp {
            frame: Frame::Instant,
            ..
        } => "expected a timestamp with its offset",
        Type::Timestamp {
            frame: Frame::Local,
            ..
        } => "expected a timestamp without offset",
        Type::Uuid => "expected a UUID",
        Type::Enum { .. } => "expected one of the declared symbols",
        Type::Union { .. } => "expected an object with one tag",
        Type::List(_) => "expected a list",
        Type::Map(..) | Type::Record(_) => "expected an object",
        Type::Text | Type::Json | Type::Any => "expected text",
    }
}

/// The steps of a unit in one second.
#[must_use]
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Seconds => 1,
        TimeUnit::Millis => 1_000,
        TimeUnit::Micros => 1_000_000,
        TimeUnit::Nanos => 1_000_000_000,
    }
}

/// Whether a whole number fits an integer type of that width.
#[must_use]
pub fn int_fits(value: &Value, bits: u8, signed: bool) -> bool {
    let number = match value {
        Value::Int(number) => i128::from(*number),
        Value::Uint(number) => i128::from(*number),
        _ => return false,
    };
    let (low, high) = match signed {
        true => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
        false => (0, (1_i128 << bits) - 1),
    };
    (low..=high).contains(&number)
}

fn int(text: &str, bits: u8, signed: bool) -> Result<Value, Malformed> {
    let value = match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(number), _) => Value::Int(number),
        (_, Ok(number)) => Value::unsigned(number),
        (Err(_), Err(_)) => return Err(Malformed::new("expected a whole number of 64 bits")),
    };
    match int_fits(&value, bits, signed) {
        true => Ok(value),
        false => Err(Malformed::new("the number does not fit its type")),
    }
}

fn float_text(float: f64) -> String {
    match float {
        _ if float.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => format!("{float:?}"),
    }
}

fn float(text: &str) -> Option<Value> {
    let float = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => text.parse().ok().filter(|float: &f64| float.is_finite())?,
    };
    Some(Value::Float(Float(float)))
}

/// Digits with a point, or with an exponent when the scale is negative: the scale survives.
#[must_use]
pub fn decimal_text(decimal: &Decimal) -> String {
    let (digits, scale) = decimal.0.as_bigint_and_exponent();
    let digits = digits.to_string();
    if scale == 0 {
        return digits;
    }
    if !(0..=SCALE_MAX).contains(&scale) {
        return format!("{digits}e{}", scale.saturating_neg());
    }
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let scale = usize::try_from(scale).expect("the range above is positive");
    let width = scale + 1;
    let padded = format!("{digits:0>width$}");
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// Reads digits, a point and an exponent exactly as they stand.
pub fn decimal(text: &str) -> Result<Decimal, Malformed> {
    let fault = Malformed::new("expected a number");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| fault)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if unsigned.is_empty() && fraction.is_empty()
        || !digits_only(unsigned)
        || !digits_only(fraction)
    {
        return Err(fault);
    }
    let digits: BigInt = format!("{whole}{fraction}").parse().map_err(|_| fault)?;
    let scale = i64::try_from(fraction.len())
        .ok()
        .and_then(|length| length.checked_sub(exponent))
        .filter(|scale| scale.abs() <= SCALE_MAX)
        .ok_or(Malformed::new("the number's exponent is too large"))?;
    Ok(Decimal(BigDecimal::new(digits, scale)))
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    if text.len() != 36 || !text.is_ascii() {
        return None;
    }
    let mut hex = Vec::with_capacity(32);
    for (i, byte) in text.bytes().enumerate() {
        match dashes.contains(&i) {
            true if byte == b'-' => {}
            true => return None,
            false => hex.push(char::from(byte).to_digit(16)? as u8),
        }
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

fn timestamp_text(time: Timestamp) -> String {
    let (days, second) = (
        time.seconds.div_euclid(DAY_SECONDS),
        time.seconds.rem_euclid(DAY_SECONDS),
    );
    let nanos = second.cast_unsigned() * u64::from(NANOS) + u64::from(time.nanos);
    let zone = match time.frame {
        Frame::Instant => "Z",
        Frame::Local => "",
    };
    format!("{}T{}{zone}", date_text(days), time_text(nanos))
}

fn timestamp(text: &str, frame: Frame) -> Option<Timestamp> {
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let (clock, offset) = match frame {
        Frame::Local => (rest, 0),
        Frame::Instant => zone(rest)?,
    };
    let nanos = time(clock)?;
    let second = i64::try_from(nanos / u64::from(NANOS)).ok()?;
    Some(Timestamp {
        seconds: date(day)?
            .checked_mul(DAY_SECONDS)?
            .checked_add(second - offset)?,
        nanos: u32::try_from(nanos % u64::from(NANOS)).ok()?,
        frame,
    })
}

/// Splits a clock reading from its offset in seconds east of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let seconds = number(hours, 2)? * 3600 + number(minutes, 2)? * 60;
    Some((
        clock,
        if offset.starts_with('-') {
            -seconds
        } else {
            seconds
        },
    ))
}

fn time_text(nanos: u64) -> String {
    let (second, nanos) = (nanos / u64::from(NANOS), nanos % u64::from(NANOS));
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let mut text = format!("{hour:02}:{minute:02}:{:02}", second % 60);
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        let digits = match fraction.trim_end_matches('0').len() {
            0..=3 => 3,
            4..=6 => 6,
            _ => 9,
        };
        text.push('.');
        text.push_str(&fraction[..digits]);
    }
    text
}

fn time(text: &str) -> Option<u64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) if (1..=9).contains(&fraction.len()) => (clock, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = number(&format!("{fraction:0<9}"), 9)?;
    u64::try_from((hour * 3600 + minute * 60 + second) * i64::from(NANOS) + nanos).ok()
}

fn number(text: &str, width: usize) -> Option<i64> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn date_text(days: i64) -> String {
    let (year, month, day) = civil(days);
    let sign = match year {
        10_000.. => "+",
        i64::MIN..0 => "-",
        0..10_000 => "",
    };
    format!("{sign}{:04}-{month:02}-{day:02}", year.abs())
}

/// Year, month and day of a day number, in days since 1970-01-01 of the proleptic Gregorian
/// calendar. Year 0 is 1 BC. Howard Hinnant's algorithm, in eras of 400 years.
#[must_use]
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn date(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = digits.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(4..=12).contains(&year.len()) {
        return None;
    }
    let (year, month, day) = (
        number(year, year.len())? * sign,
        number(month, 2)?,
        number(day, 2)?,
    );
    days(year, month, day)
}

/// The day number of a civil date, in days since 1970-01-01 of the proleptic Gregorian calendar;
/// `None` when there is no such day. Year 0 is 1 BC. Howard Hinnant's algorithm.
#[must_use]
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let shifted = year - i64::from(month <= 2);
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}
