//! Values in the server's own form: what it takes and gives in least time. It need not read or
//! write digits, and we do so faster.
//!
//! A form follows from the type of the column. What is spelled otherwise than the type's own output
//! function spells it is left to the server: it reads more than that.

use std::borrow::Cow;

use contraflow_core::codec::text;
use contraflow_core::shape::Type;
use contraflow_core::value::{Frame, Timestamp, Value};

use super::catalog::Column;
use super::codec::{encode, hex};

/// Days and seconds from 1970-01-01, where we begin to count, to 2000-01-01, where the server does.
const EPOCH_DAYS: i64 = 10_957;
const DAY_SECONDS: i64 = 86_400;
const SECOND_MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = DAY_SECONDS * SECOND_MICROS;
const MICRO_NANOS: u64 = 1_000;
/// Decimal digits in one digit of a `numeric`.
const GROUP: usize = 4;

/// The form of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// Bytes of Unicode: texts, symbols, `json`.
    Text,
    Jsonb,
    Bytes,
    Date,
    Time,
    Timestamp,
    /// In UTC.
    Instant,
    Uuid,
}

impl Form {
    /// `None` for types whose form is not known here.
    pub(super) fn of(column: &Column) -> Option<Form> {
        if matches!(column.ty, Type::Enum { .. }) {
            return Some(Form::Text);
        }
        if column.foreign {
            return None;
        }
        Some(match column.base.as_str() {
            "boolean" => Form::Bool,
            "smallint" => Form::Int2,
            "integer" => Form::Int4,
            "bigint" => Form::Int8,
            "real" => Form::Float4,
            "double precision" => Form::Float8,
            "numeric" => Form::Numeric,
            "text" | "character varying" | "bpchar" | "json" => Form::Text,
            "jsonb" => Form::Jsonb,
            "bytea" => Form::Bytes,
            "date" => Form::Date,
            "time without time zone" => Form::Time,
            "timestamp without time zone" => Form::Timestamp,
            "timestamp with time zone" => Form::Instant,
            "uuid" => Form::Uuid,
            _ => return None,
        })
    }

    /// Appends a field: its length and its bytes. `None` when the server has to read it itself;
    /// what was appended is of no use then.
    pub(super) fn put(self, value: &Value, ty: &Type, out: &mut Vec<u8>) -> Option<()> {
        if value.is_nothing() {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Some(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.body(value, ty, out)?;
        let length = i32::try_from(out.len() - start - 4).ok()?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    fn body(self, value: &Value, ty: &Type, out: &mut Vec<u8>) -> Option<()> {
        match (self, value) {
            (Form::Int8, Value::Int(number)) => out.extend_from_slice(&number.to_be_bytes()),
            (Form::Int4, Value::Int(number)) => {
                out.extend_from_slice(&i32::try_from(*number).ok()?.to_be_bytes());
            }
            (Form::Int2, Value::Int(number)) => {
                out.extend_from_slice(&i16::try_from(*number).ok()?.to_be_bytes());
            }
            (Form::Bool, Value::Bool(truth)) => out.push(u8::from(*truth)),
            (Form::Float8, Value::Float(float)) => {
                out.extend_from_slice(&float.0.to_be_bytes());
            }
            (Form::Bytes, Value::Bytes(bytes)) => out.extend_from_slice(bytes),
            (Form::Uuid, Value::Uuid(bytes)) => out.extend_from_slice(bytes),
            (Form::Date, Value::Date(days)) => put_day(i64::from(*days), out)?,
            (Form::Time, Value::Time(nanos)) => {
                out.extend_from_slice(&micros(*nanos)?.to_be_bytes());
            }
            (Form::Timestamp, Value::Timestamp(time)) => put_point(time, Form::Timestamp, out)?,
            (Form::Instant, Value::Timestamp(time)) => put_point(time, Form::Instant, out)?,
            _ => {
                let text: Cow<'_, str> = encode(value, ty).ok()??;
                self.read(&text, out)?;
            }
        }
        Some(())
    }

    /// Reads what the type's own output function spells.
    fn read(self, text: &str, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Form::Text => out.extend_from_slice(text.as_bytes()),
            Form::Jsonb => {
                // The version of the form.
                out.push(1);
                out.extend_from_slice(text.as_bytes());
            }
            Form::Int8 => out.extend_from_slice(&text.parse::<i64>().ok()?.to_be_bytes()),
            Form::Int4 => out.extend_from_slice(&text.parse::<i32>().ok()?.to_be_bytes()),
            Form::Int2 => out.extend_from_slice(&text.parse::<i16>().ok()?.to_be_bytes()),
            Form::Bool => out.push(match text {
                "t" | "true" => 1,
                "f" | "false" => 0,
                _ => return None,
            }),
            Form::Float8 => {
                let float: f64 = text.parse().ok()?;
                is_float(text, float.is_finite(), float == 0.0)?;
                out.extend_from_slice(&float.to_be_bytes());
            }
            Form::Float4 => {
                let float: f32 = text.parse().ok()?;
                is_float(text, float.is_finite(), float == 0.0)?;
                out.extend_from_slice(&float.to_be_bytes());
            }
            Form::Numeric => put_numeric(text, out)?,
            Form::Bytes => out.extend_from_slice(&hex(text)?),
            Form::Uuid => match text::from_text(text, &Type::Uuid).ok()? {
                Value::Uuid(bytes) => out.extend_from_slice(&bytes),
                _ => return None,
            },
            Form::Date => {
                let days = match text {
                    "infinity" => i32::MAX,
                    "-infinity" => i32::MIN,
                    _ => return put_day(day(text)?, out),
                };
                out.extend_from_slice(&days.to_be_bytes());
            }
            Form::Time => out.extend_from_slice(&clock(text)?.to_be_bytes()),
            Form::Timestamp | Form::Instant => {
                out.extend_from_slice(&self.point(text)?.to_be_bytes());
            }
        }
        Some(())
    }

    /// Whether the server is asked for this form: where spelling it costs it most.
    pub(super) fn is_asked_for(self) -> bool {
        matches!(self, Form::Date | Form::Timestamp | Form::Instant)
    }

    /// What the type's own output function makes of a form that is asked for; `None` when it is
    /// none.
    pub(super) fn spelled(self, bytes: &[u8]) -> Option<String> {
        let (days, time) = if self == Form::Date {
            match i32::from_be_bytes(bytes.try_into().ok()?) {
                i32::MAX => return Some("infinity".to_owned()),
                i32::MIN => return Some("-infinity".to_owned()),
                day => (i64::from(day) + EPOCH_DAYS, None),
            }
        } else {
            match i64::from_be_bytes(bytes.try_into().ok()?) {
                i64::MAX => return Some("infinity".to_owned()),
                i64::MIN => return Some("-infinity".to_owned()),
                micros => {
                    let (day, time) =
                        (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
                    (day + EPOCH_DAYS, Some(time))
                }
            }
        };
        let (year, month, day) = text::civil(days);
        let mut out = Vec::with_capacity(32);
        spell_year(if year > 0 { year } else { 1 - year }, &mut out);
        for part in [month, day] {
            out.push(b'-');
            spell_two(part, &mut out);
        }
        if let Some(micros) = time {
            out.push(b' ');
            spell_clock(micros, &mut out);
        }
        if self == Form::Instant {
            out.extend_from_slice(b"+00");
        }
        if year <= 0 {
            out.extend_from_slice(b" BC");
        }
        String::from_utf8(out).ok()
    }

    /// The microseconds of a point in time since 2000-01-01.
    fn point(self, text: &str) -> Option<i64> {
        match text {
            "infinity" => return Some(i64::MAX),
            "-infinity" => return Some(i64::MIN),
            _ => {}
        }
        let (bare, before) = era(text);
        let (date, time) = bare.split_once(' ')?;
        let time = match self {
            Form::Instant => time.strip_suffix("+00")?,
            _ => time,
        };
        (civil(date, before)? - EPOCH_DAYS)
            .checked_mul(DAY_MICROS)?
            .checked_add(clock(time)?)
    }
}

fn put_day(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let days = i32::try_from(days - EPOCH_DAYS).ok()?;
    out.extend_from_slice(&days.to_be_bytes());
    Some(())
}

fn micros(nanos: u64) -> Option<i64> {
    // The server rounds what is finer.
    let whole = nanos.is_multiple_of(MICRO_NANOS);
    whole.then(|| i64::try_from(nanos / MICRO_NANOS).ok())?
}

fn put_point(time: &Timestamp, form: Form, out: &mut Vec<u8>) -> Option<()> {
    let frame = match form {
        Form::Instant => Frame::Instant,
        _ => Frame::Local,
    };
    if time.frame != frame {
        return None;
    }
    let seconds = time.seconds.checked_sub(EPOCH_DAYS * DAY_SECONDS)?;
    let point = seconds
        .checked_mul(SECOND_MICROS)?
        .checked_add(micros(u64::from(time.nanos))?)?;
    out.extend_from_slice(&point.to_be_bytes());
    Some(())
}

/// What is not a number has one spelling, and what has digits must not vanish.
fn is_float(text: &str, finite: bool, zero: bool) -> Option<()> {
    let digits = text.split(['e', 'E']).next()?;
    let some = digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let sound = match finite {
        true => !(zero && some),
        false => matches!(text, "NaN" | "Infinity" | "-Infinity"),
    };
    sound.then_some(())
}

/// Digits to the base of 10 000, with the place of the first and the number of decimal digits
/// behind the point.
fn put_numeric(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut head = |groups: i16, weight: i16, sign: u16, scale: u16| {
        for part in [groups.to_be_bytes(), weight.to_be_bytes()] {
            out.extend_from_slice(&part);
        }
        for part in [sign.to_be_bytes(), scale.to_be_bytes()] {
            out.extend_from_slice(&part);
        }
    };
    let special = match text {
        "NaN" => Some(0xc000),
        "Infinity" => Some(0xd000),
        "-Infinity" => Some(0xf000),
        _ => None,
    };
    if let Some(sign) = special {
        head(0, 0, sign, 0);
        return Some(());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let (before, behind) = (whole.len().div_ceil(GROUP), fraction.len().div_ceil(GROUP));
    let scale = u16::try_from(fraction.len())
        .ok()
        .filter(|n| *n < 1 << 14)?;
    let groups = i16::try_from(before + behind).ok()?;
    head(groups, i16::try_from(before).ok()? - 1, sign, scale);
    let first = whole.len() % GROUP;
    let (short, rest) = whole.as_bytes().split_at(first);
    let leading = (first > 0).then_some(short);
    let groups = leading.into_iter().chain(rest.chunks(GROUP));
    for group in groups {
        out.extend_from_slice(&number(group).to_be_bytes());
    }
    for group in fraction.as_bytes().chunks(GROUP) {
        let missing = u32::try_from(GROUP - group.len()).ok()?;
        out.extend_from_slice(&(number(group) * 10_u16.pow(missing)).to_be_bytes());
    }
    Some(())
}

/// Up to four digits.
fn number(digits: &[u8]) -> u16 {
    let add = |sum: u16, digit: &u8| sum * 10 + u16::from(digit - b'0');
    digits.iter().fold(0, add)
}

/// Whether a date is marked as one before year 1, and the rest.
fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(bare) => (bare, true),
        None => (text, false),
    }
}

fn day(text: &str) -> Option<i64> {
    let (bare, before) = era(text);
    civil(bare, before)
}

/// `Y-MM-DD`, in days since 1970-01-01.
fn civil(text: &str, before: bool) -> Option<i64> {
    let bytes = text.as_bytes();
    let (year, rest) = bytes.split_at_checked(bytes.len().checked_sub(6)?)?;
    let [b'-', m1, m2, b'-', d1, d2] = rest else {
        return None;
    };
    let year = digits(year, 4..=7)?;
    let year = if before { 1 - year } else { year };
    text::days(year, two(*m1, *m2)?, two(*d1, *d2)?)
}

/// `HH:MM:SS` and up to six digits behind a point, in microseconds.
fn clock(text: &str) -> Option<i64> {
    let (whole, fraction) = text.as_bytes().split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = whole else {
        return None;
    };
    let (hour, minute, second) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    let micros = match fraction {
        [] => 0,
        [b'.', digits_of @ ..] => {
            let missing = u32::try_from(6_usize.checked_sub(digits_of.len())?).ok()?;
            digits(digits_of, 1..=6)? * 10_i64.pow(missing)
        }
        _ => return None,
    };
    let sound = minute < 60 && second < 60 && (hour < 24 || (hour, minute, second) == (24, 0, 0));
    let seconds = (hour * 60 + minute) * 60 + second;
    sound.then_some(seconds * SECOND_MICROS + micros)
}

/// `HH:MM:SS`, and what there is of a second without zeros at its end.
fn spell_clock(micros: i64, out: &mut Vec<u8>) {
    let (second, fraction) = (micros / SECOND_MICROS, micros % SECOND_MICROS);
    spell_two(second / 3600, out);
    out.push(b':');
    spell_two(second / 60 % 60, out);
    out.push(b':');
    spell_two(second % 60, out);
    if fraction > 0 {
        out.push(b'.');
        for part in [fraction / 10_000, fraction / 100 % 100, fraction % 100] {
            spell_two(part, out);
        }
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Four digits or more.
fn spell_year(year: i64, out: &mut Vec<u8>) {
    if year > 9_999 {
        return out.extend_from_slice(year.to_string().as_bytes());
    }
    spell_two(year / 100, out);
    spell_two(year % 100, out);
}

/// Two digits of a number below a hundred.
fn spell_two(number: i64, out: &mut Vec<u8>) {
    let digit = |of: i64| b'0' + u8::try_from(of).unwrap_or(0);
    out.extend_from_slice(&[digit(number / 10), digit(number % 10)]);
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    digits(&[tens, ones], 2..=2)
}

fn digits(text: &[u8], width: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let sound = width.contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let add = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
    sound.then(|| text.iter().fold(0, add))
}

#[cfg(test)]
mod tests;
