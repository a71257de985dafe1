//! The canonical bytes of values: one encoding per value, one value per encoding.
//!
//! Every value is a tag and a payload that knows its own length, so a sequence of values is their
//! concatenation. Reading refuses whatever writing would not have produced, so that equal bytes
//! and equal values are the same thing.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use crate::codec::Malformed;
use crate::value::{Decimal, Float, Frame, Native, Record, Timestamp, Value};

/// How deep lists, maps, records and unions may nest. Deeper input is refused, so that garbage
/// cannot exhaust the stack.
pub const DEPTH_MAX: usize = 128;

mod tag {
    pub(super) const ABSENT: u8 = 0;
    pub(super) const NULL: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 3;
    pub(super) const INT: u8 = 4;
    pub(super) const UINT: u8 = 5;
    pub(super) const FLOAT: u8 = 6;
    pub(super) const DECIMAL: u8 = 7;
    pub(super) const TEXT: u8 = 8;
    pub(super) const BYTES: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const INSTANT: u8 = 12;
    pub(super) const LOCAL: u8 = 13;
    pub(super) const UUID: u8 = 14;
    pub(super) const ENUM: u8 = 15;
    pub(super) const UNION: u8 = 16;
    pub(super) const JSON: u8 = 17;
    pub(super) const LIST: u8 = 18;
    pub(super) const MAP: u8 = 19;
    pub(super) const RECORD: u8 = 20;
    pub(super) const NATIVE: u8 = 21;
}

/// Appends the values of a row or key.
pub fn encode_values(values: &[Value], out: &mut Vec<u8>) {
    for value in values {
        encode(value, out);
    }
}

/// Appends one value.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.push(tag::ABSENT),
        Value::Null => out.push(tag::NULL),
        Value::Bool(truth) => out.push(if *truth { tag::TRUE } else { tag::FALSE }),
        Value::Int(number) => signed(tag::INT, *number, out),
        Value::Uint(number) => match i64::try_from(*number) {
            Ok(number) => signed(tag::INT, number, out),
            Err(_) => unsigned(tag::UINT, *number, out),
        },
        Value::Float(float) => {
            out.push(tag::FLOAT);
            out.extend_from_slice(&float.0.to_bits().to_le_bytes());
        }
        Value::Decimal(decimal) => {
            let (digits, scale) = decimal.0.as_bigint_and_exponent();
            signed(tag::DECIMAL, scale, out);
            lengthy(&digits.to_signed_bytes_le(), out);
        }
        Value::Text(text) => tagged(tag::TEXT, text.as_bytes(), out),
        Value::Bytes(bytes) => tagged(tag::BYTES, bytes, out),
        Value::Date(days) => signed(tag::DATE, i64::from(*days), out),
        Value::Time(nanos) => unsigned(tag::TIME, *nanos, out),
        Value::Timestamp(time) => {
            let frame = match time.frame {
                Frame::Instant => tag::INSTANT,
                Frame::Local => tag::LOCAL,
            };
            signed(frame, time.seconds, out);
            varint(u64::from(time.nanos), out);
        }
        Value::Uuid(bytes) => {
            out.push(tag::UUID);
            out.extend_from_slice(bytes);
        }
        Value::Enum(symbol) => tagged(tag::ENUM, symbol.as_bytes(), out),
        Value::Union(branch) => {
            tagged(tag::UNION, branch.0.as_bytes(), out);
            encode(&branch.1, out);
        }
        Value::Json(text) => tagged(tag::JSON, text.as_bytes(), out),
        Value::List(items) => {
            unsigned(tag::LIST, items.len() as u64, out);
            encode_values(items, out);
        }
        Value::Map(entries) => {
            unsigned(tag::MAP, entries.len() as u64, out);
            for (key, value) in entries {
                encode(key, out);
                encode(value, out);
            }
        }
        Value::Record(record) => {
            unsigned(tag::RECORD, record.fields.len() as u64, out);
            encode_values(&record.fields, out);
            varint(record.extras.len() as u64, out);
            for (name, value) in &record.extras {
                lengthy(name.as_bytes(), out);
                encode(value, out);
            }
        }
        Value::Native(native) => {
            out.extend_from_slice(&[tag::NATIVE, native.class]);
            lengthy(&native.bytes, out);
        }
    }
}

/// Reads the values back.
pub fn decode_values(bytes: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let mut values = Vec::new();
    while reader.at < bytes.len() {
        values.push(reader.value(DEPTH_MAX)?);
    }
    Ok(values)
}

fn unsigned(tag: u8, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    varint(number, out);
}

fn signed(tag: u8, number: i64, out: &mut Vec<u8>) {
    let folded = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    unsigned(tag, folded, out);
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    lengthy(bytes, out);
}

fn lengthy(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn fault(&self, reason: &'static str) -> Malformed {
        Malformed {
            reason,
            at: self.at,
        }
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            return Err(self.fault("the bytes end in the middle of a value"));
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.fault("a number is larger than 64 bits"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(self.fault("a number has needless bytes"));
                }
                return Ok(number);
            }
        }
        Err(self.fault("a number is larger than 64 bits"))
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let folded = self.varint()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    fn lengthy(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.varint()?;
        let length =
            usize::try_from(length).map_err(|_| self.fault("a length is larger than the input"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let at = self.at;
        std::str::from_utf8(self.lengthy()?)
            .map(str::to_owned)
            .map_err(|_| Malformed {
                reason: "text is not UTF-8",
                at,
            })
    }

    /// A count, with a capacity that garbage cannot inflate: every counted thing takes a byte.
    fn count(&mut self) -> Result<(u64, usize), Malformed> {
        let count = self.varint()?;
        let rest = self.bytes.len() - self.at;
        Ok((count, rest.min(usize::try_from(count).unwrap_or(rest))))
    }

    fn values(&mut self, depth: usize) -> Result<Vec<Value>, Malformed> {
        let (count, capacity) = self.count()?;
        let mut values = Vec::with_capacity(capacity.min(1024));
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn timestamp(&mut self, frame: Frame) -> Result<Value, Malformed> {
        let seconds = self.signed()?;
        let nanos = self.varint()?;
        let nanos = u32::try_from(nanos).map_err(|_| self.fault("nanoseconds out of range"))?;
        Ok(Value::Timestamp(Timestamp {
            seconds,
            nanos,
            frame,
        }))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("values nest too deep"));
        };
        let value = match self.take(1)?[0] {
            tag::ABSENT => Value::Absent,
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(self.signed()?),
            tag::UINT => match Value::unsigned(self.varint()?) {
                large @ Value::Uint(_) => large,
                _ => return Err(self.fault("a small number is encoded as a large one")),
            },
            tag::FLOAT => Value::Float(Float(f64::from_bits(u64::from_le_bytes(self.array()?)))),
            tag::DECIMAL => self.decimal()?,
            tag::TEXT => Value::Text(self.text()?),
            tag::BYTES => Value::Bytes(self.lengthy()?.to_vec()),
            tag::DATE => match i32::try_from(self.signed()?) {
                Ok(days) => Value::Date(days),
                Err(_) => return Err(self.fault("a date is out of range")),
            },
            tag::TIME => Value::Time(self.varint()?),
            tag::INSTANT => self.timestamp(Frame::Instant)?,
            tag::LOCAL => self.timestamp(Frame::Local)?,
            tag::UUID => Value::Uuid(self.array()?),
            tag::ENUM => Value::Enum(self.text()?),
            tag::UNION => Value::Union(Box::new((self.text()?, self.value(depth)?))),
            tag::JSON => Value::Json(self.text()?),
            tag::LIST => Value::List(self.values(depth)?),
            tag::MAP => self.map(depth)?,
            tag::RECORD => self.record(depth)?,
            tag::NATIVE => {
                let [class] = self.array()?;
                let bytes = self.lengthy()?.to_vec();
                Value::Native(Box::new(Native { class, bytes }))
            }
            _ => return Err(self.fault("a tag is not known")),
        };
        Ok(value)
    }

    fn decimal(&mut self) -> Result<Value, Malformed> {
        let scale = self.signed()?;
        let bytes = self.lengthy()?;
        let digits = BigInt::from_signed_bytes_le(bytes);
        if digits.to_signed_bytes_le() != bytes {
            return Err(self.fault("a decimal has needless bytes"));
        }
        Ok(Value::Decimal(Decimal(BigDecimal::new(digits, scale))))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Malformed> {
        let (count, capacity) = self.count()?;
        let mut entries = Vec::with_capacity(capacity.min(1024));
        for _ in 0..count {
            entries.push((self.value(depth)?, self.value(depth)?));
        }
        Ok(Value::Map(entries))
    }

    fn record(&mut self, depth: usize) -> Result<Value, Malformed> {
        let fields = self.values(depth)?;
        let (count, capacity) = self.count()?;
        let mut extras = Vec::with_capacity(capacity.min(1024));
        for _ in 0..count {
            extras.push((self.text()?, self.value(depth)?));
        }
        Ok(Value::Record(Box::new(Record { fields, extras })))
    }
}
