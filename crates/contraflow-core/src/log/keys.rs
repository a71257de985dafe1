//! The keys of records, from one log to the other and back.
//!
//! A key has nothing beside it: no complement, no second try. So whatever a mapping would have to
//! note does not map, and a key that went over comes back from itself alone.

use std::sync::Arc;

use crate::code::Code;
use crate::codec::payload::Payload;
use crate::error::{Error, Kind, Problem, Result};
use crate::mapping::{Law, Mapping, OpSpec};
use crate::record::{Complement, Image, Row};
use crate::shape::{Field, Shape, Type};
use crate::side::{Direction, Side};
use crate::value::Value;

/// A mapping is of rows with keys. What identifies a key is the key as a whole, so that its fields
/// may be mapped as any others.
const WHOLE: &str = "(record)";

/// How the keys of the logs of a pair are read, mapped and written.
#[derive(Clone, Debug)]
pub struct Keys {
    mapping: Mapping,
    formats: [Arc<dyn Payload>; 2],
}

impl Keys {
    /// Checks operations against both formats, the old one first; warnings come along.
    ///
    /// # Errors
    /// All problems of the operations, at once.
    pub fn check(
        ops: &[OpSpec],
        formats: [Arc<dyn Payload>; 2],
    ) -> std::result::Result<(Keys, Vec<Problem>), Vec<Problem>> {
        let [old, new] = formats.each_ref().map(|format| shape(format.fields()));
        let whole = [WHOLE.to_owned()];
        let (mapping, warnings) = Mapping::check(ops, &old, &whole, Some(&new), None)?;
        if mapping.law() == Law::Opaque {
            let message = "the mapping of the keys loses something on purpose";
            let problem = Problem::error(Code::KEY_NOT_ISO, message);
            return Err(vec![
                problem.hint("A key must come back from itself alone."),
            ]);
        }
        Ok((Keys { mapping, formats }, warnings))
    }

    /// What a mapping makes of the keys' fields, as the new log is to have them.
    #[must_use]
    pub fn made(&self) -> Vec<Field> {
        self.mapping.shape(Side::New).fields[1..].to_vec()
    }

    /// The operations, and names of them.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whether keys can be written on that side already.
    #[must_use]
    pub fn is_ready(&self, side: Side) -> bool {
        self.format(side).is_ready()
    }

    /// The key of a record's copy.
    ///
    /// # Errors
    /// Of kind `Data` when this key alone is at fault; it never holds anything of the key.
    pub fn carry(&self, direction: Direction, key: &[u8]) -> Result<Vec<u8>> {
        let row = self.map(direction, self.read(direction.source(), key)?)?;
        let mut out = Vec::new();
        let format = self.format(direction.target());
        format.write(&row[1..], &mut out).map_err(of_key)?;
        Ok(out)
    }

    /// Whether the copy of a key says all that the key says. A key that does not map has no copy.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn comes_back(&self, direction: Direction, key: &[u8]) -> Result<Option<bool>> {
        let row = self.read(direction.source(), key);
        let there = |row: &Vec<Value>| self.map(direction, row.clone());
        match row.and_then(|row| there(&row).map(|there| (row, there))) {
            Ok((row, there)) => Ok(Some(
                self.map(direction.opposite(), there)
                    .is_ok_and(|back| back == row),
            )),
            Err(error) if error.kind == Kind::Data => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn format(&self, side: Side) -> &dyn Payload {
        match side {
            Side::Old => &*self.formats[0],
            Side::New => &*self.formats[1],
        }
    }

    fn read(&self, side: Side, key: &[u8]) -> Result<Vec<Value>> {
        let mut row = vec![Value::Int(0)];
        self.format(side).read(key, &mut row).map_err(of_key)?;
        Ok(row)
    }

    fn map(&self, direction: Direction, row: Vec<Value>) -> Result<Vec<Value>> {
        let image = Image {
            row: Row(row),
            complement: Complement::default(),
        };
        let mut mapped = Vec::with_capacity(1);
        let done = self.mapping.map(direction, image, &mut mapped);
        done.map_err(|error| of_key(error.into()))?;
        match mapped.pop() {
            Some(mapped) if mapped.image.complement.is_empty() => Ok(mapped.image.row.0),
            _ => Err(Error::new(
                Kind::Data,
                Code::VALUE_UNMAPPABLE,
                "the key says what the other one has no place for",
            )),
        }
    }
}

fn shape(fields: &[Field]) -> Shape {
    let mut all = vec![Field::required(WHOLE, Type::INT64)];
    all.extend_from_slice(fields);
    Shape {
        fields: all,
        key: vec![0],
    }
}

/// Formats speak of payloads.
fn of_key(mut error: Error) -> Error {
    error.message = format!("of the key: {error}");
    error
}

#[cfg(test)]
mod tests;
