//! Payloads that nobody looks into.

use crate::code::Code;
use crate::codec::payload::{Context, Payload};
use crate::error::{Error, Kind, Result};
use crate::shape::{Field, Type};
use crate::value::Value;

/// A payload as one field of bytes: what a mapping that changes nothing carries unchanged.
#[derive(Debug)]
pub struct Raw {
    fields: [Field; 1],
}

impl Raw {
    /// The whole payload as a field of that name.
    #[must_use]
    pub fn new(name: &str) -> Raw {
        Raw {
            fields: [Field::required(name, Type::Bytes)],
        }
    }
}

impl Payload for Raw {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn read(&self, payload: &[u8], row: &mut Vec<Value>) -> Result<Context> {
        row.push(Value::Bytes(payload.to_vec()));
        Ok(Context::default())
    }

    fn write(&self, values: &[Value], out: &mut Vec<u8>) -> Result<()> {
        let [Value::Bytes(bytes)] = values else {
            let message = format!("`{}` is not bytes", self.fields[0].name);
            return Err(Error::new(Kind::Data, Code::PAYLOAD_UNWRITABLE, message));
        };
        out.extend_from_slice(bytes);
        Ok(())
    }
}
