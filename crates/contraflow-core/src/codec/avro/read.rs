//! Bytes to values, along a plan.

use super::logical::{Raw, fitted, meaning};
use super::resolve::{Plan, RecordWay, Step, Way, Wire};
use super::{Cause, EMPTY_ITEMS_MAX, Fault, Primitive};
use crate::codec::json::to_json;
use crate::shape::Type;
use crate::value::{Record, Value};

impl Plan {
    /// Reads one whole payload.
    pub fn read(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let mut reader = Reader {
            bytes,
            at: 0,
            empty_items: EMPTY_ITEMS_MAX,
        };
        let value = reader.value(&self.root)?;
        match reader.at == bytes.len() {
            true => Ok(value),
            false => Err(malformed("bytes follow the payload")),
        }
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// How many items without bytes may still come.
    empty_items: usize,
}

fn malformed(reason: &'static str) -> Fault {
    Fault::new(Cause::Malformed, reason)
}

fn unfit(reason: &'static str) -> Fault {
    Fault::new(Cause::Unfit, reason)
}

impl<'b> Reader<'b> {
    /// Plans are as deep as their schemas may be, so that this needs no limit of its own.
    fn value(&mut self, way: &Way) -> Result<Value, Fault> {
        match way {
            Way::Scalar(wire, logical, fit) => {
                let value = meaning(self.raw(*wire)?, *logical).map_err(malformed)?;
                match fit {
                    None => Ok(value),
                    Some(fit) => fitted(value, *fit).map_err(unfit),
                }
            }
            Way::List(item) => {
                let mut items = Vec::new();
                self.blocks(|reader| {
                    items.push(reader.value(item)?);
                    Ok(())
                })?;
                Ok(Value::List(items))
            }
            Way::Map(item) => {
                let mut entries = Vec::new();
                self.blocks(|reader| {
                    let key = Value::Text(reader.text()?.to_owned());
                    entries.push((key, reader.value(item)?));
                    Ok(())
                })?;
                Ok(Value::Map(entries))
            }
            Way::Enum(symbols) => match self.pick(symbols)? {
                Some(symbol) => Ok(Value::Enum(symbol.clone())),
                None => Err(unfit("the symbol is not one of the schema's")),
            },
            Way::Record(record) => self.record(record),
            Way::Choice(branches) => match self.pick(branches)? {
                Some(way) => self.value(way),
                None => Err(unfit("the type is not one of the schema's union")),
            },
            Way::Tagged(tag, way) => {
                let value = self.value(way)?;
                Ok(Value::Union(Box::new((tag.clone(), value))))
            }
        }
    }

    fn record(&mut self, way: &RecordWay) -> Result<Value, Fault> {
        let mut fields = way.blank.clone();
        let mut extras = Vec::new();
        for (name, step) in &way.steps {
            let (Step::Place(_, inner) | Step::Extra(inner, _)) = step;
            let value = self.value(inner).map_err(|fault| fault.within(name))?;
            match step {
                Step::Place(place, _) => fields[*place] = value,
                Step::Extra(_, ty) => {
                    let value = loose(value, ty).map_err(|fault| fault.within(name))?;
                    extras.push((name.clone(), value));
                }
            }
        }
        Ok(Value::Record(Box::new(Record { fields, extras })))
    }

    /// Items come in blocks until one is empty; a negative count is followed by the block's size.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                let before = self.at;
                item(self)?;
                if self.at == before {
                    let rest = self.empty_items.checked_sub(1);
                    self.empty_items = rest.ok_or(malformed("too many items without bytes"))?;
                }
            }
        }
    }

    fn raw(&mut self, wire: Wire) -> Result<Raw<'b>, Fault> {
        Ok(match wire {
            Wire::Fixed(size) => Raw::Bytes(self.take(size)?),
            Wire::Plain(Primitive::Null) => Raw::Null,
            Wire::Plain(Primitive::Bool) => match self.take(1)? {
                [0] => Raw::Bool(false),
                [1] => Raw::Bool(true),
                _ => return Err(malformed("a boolean is neither 0 nor 1")),
            },
            Wire::Plain(Primitive::Int) => {
                let number = self.long()?;
                let fits = i32::try_from(number).is_ok();
                Raw::Whole(
                    fits.then_some(number)
                        .ok_or(malformed("an int has over 32 bits"))?,
                )
            }
            Wire::Plain(Primitive::Long) => Raw::Whole(self.long()?),
            Wire::Plain(Primitive::Float) => Raw::Float(f32::from_le_bytes(self.array()?)),
            Wire::Plain(Primitive::Double) => Raw::Double(f64::from_le_bytes(self.array()?)),
            Wire::Plain(Primitive::Bytes) => Raw::Bytes(self.lengthy()?),
            Wire::Plain(Primitive::Text) => Raw::Text(self.text()?),
        })
    }

    /// What a number chooses from a list.
    fn pick<'w, T>(&mut self, list: &'w [T]) -> Result<&'w T, Fault> {
        let index = usize::try_from(self.long()?).ok();
        let chosen = index.and_then(|index| list.get(index));
        chosen.ok_or(malformed("an index is larger than the schema has"))
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count);
        let taken = taken.ok_or(malformed("the bytes end in the middle of a value"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn lengthy(&mut self) -> Result<&'b [u8], Fault> {
        let length = usize::try_from(self.long()?);
        self.take(length.map_err(|_| malformed("a length is negative"))?)
    }

    fn text(&mut self) -> Result<&'b str, Fault> {
        std::str::from_utf8(self.lengthy()?).map_err(|_| malformed("text is not UTF-8"))
    }

    fn long(&mut self) -> Result<i64, Fault> {
        let mut folded = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            folded |= bits << shift;
            if byte < 0x80 {
                return Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed());
            }
        }
        Err(malformed("a number is larger than 64 bits"))
    }
}

/// A value that stands without its type: scalars as they are, others as JSON, where names are
/// kept.
fn loose(value: Value, ty: &Type) -> Result<Value, Fault> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Union(_) => {
            let mut text = String::new();
            let written = to_json(&value, ty, &mut text);
            written.map_err(|malformed| unfit(malformed.reason))?;
            Ok(Value::Json(text))
        }
        scalar => Ok(scalar),
    }
}
