//! JSON payloads: the members of an object, or one value.
//!
//! A member that is missing is absent and one that is `null` is null; both are written as they
//! were read. A field that is neither nullable nor has a default must be there; one with a default
//! may be missing, one that is nullable may be both. Members are written in the order of the
//! fields, undeclared ones after them in the order they came, without white space. A member that
//! comes twice is refused, for readers disagree on which one counts; what is carried as its text
//! stays as it stands.

use crate::code::Code;
use crate::codec::Malformed;
use crate::codec::json::{from_json, members, to_json};
use crate::codec::payload::{Context, Payload, keep, kept, undeclared};
use crate::error::{Error, Kind, Result};
use crate::shape::{Field, Type};
use crate::value::Value;

/// JSON of a declared shape.
#[derive(Debug)]
pub struct Json {
    fields: Vec<Field>,
    ty: Type,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// An object; the last field is for members without a field.
    Object,
    /// Any JSON text, as the one field.
    Value,
}

impl Json {
    /// An object with a member for each field, and a field of that name for all other members.
    #[must_use]
    pub fn object(mut fields: Vec<Field>, rest: &str) -> Json {
        let ty = Type::Record(fields.clone());
        fields.push(undeclared(rest));
        Json {
            fields,
            ty,
            form: Form::Object,
        }
    }

    /// One value, such as the text or number of a key.
    #[must_use]
    pub fn value(field: Field) -> Json {
        Json {
            ty: field.ty.clone(),
            fields: vec![field],
            form: Form::Value,
        }
    }

    /// Refuses null and nothing where a field takes neither.
    fn meets(&self, values: &[Value]) -> std::result::Result<(), String> {
        for (field, value) in self.fields.iter().zip(values) {
            let (name, what) = match value {
                Value::Absent if !field.nullable && !field.has_default => (&field.name, "missing"),
                Value::Null if !field.nullable => (&field.name, "null"),
                _ => continue,
            };
            return Err(format!("`{name}` is {what}"));
        }
        Ok(())
    }

    fn parse(&self, text: &str, row: &mut Vec<Value>) -> std::result::Result<(), Malformed> {
        match (from_json(text, &self.ty)?, self.form) {
            (Value::Record(record), Form::Object) => {
                row.extend(record.fields);
                row.push(keep(record.extras));
            }
            (_, Form::Object) => return Err(Malformed::new("expected an object")),
            (value, Form::Value) => row.push(value),
        }
        Ok(())
    }

    fn print(&self, values: &[Value]) -> std::result::Result<String, Malformed> {
        let mut text = String::new();
        match (values, self.form) {
            ([value], Form::Value) => to_json(value, &self.ty, &mut text)?,
            ([declared @ .., rest], Form::Object) if values.len() == self.fields.len() => {
                let rest = kept(rest).ok_or(Malformed::new("undeclared fields are no record"))?;
                let fields = &self.fields[..declared.len()];
                members(declared, rest, fields, &mut text)?;
            }
            _ => return Err(Malformed::new("the number of values differs")),
        }
        Ok(text)
    }
}

impl Payload for Json {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn read(&self, payload: &[u8], row: &mut Vec<Value>) -> Result<Context> {
        let before = row.len();
        let text = std::str::from_utf8(payload).map_err(|fault| Malformed {
            reason: "text is not UTF-8",
            at: fault.valid_up_to(),
        });
        let parsed = text.and_then(|text| self.parse(text, row));
        parsed.map_err(|malformed| {
            let message = "the payload is not JSON of its shape";
            Error::new(Kind::Data, Code::PAYLOAD_MALFORMED, message)
                .because(malformed)
                .hint("Read the record with a consumer of its own; its producer wrote it so.")
        })?;
        if let Err(message) = self.meets(&row[before..]) {
            row.truncate(before);
            let error = Error::new(Kind::Data, Code::PAYLOAD_UNFIT, message);
            return Err(error.hint("Declare the field with a `?`, or correct its producer."));
        }
        Ok(Context::default())
    }

    fn write(&self, values: &[Value], out: &mut Vec<u8>) -> Result<()> {
        let unwritable = |message| Error::new(Kind::Data, Code::PAYLOAD_UNWRITABLE, message);
        let text = self.print(values).map_err(|malformed| {
            unwritable("the row cannot be written as JSON".to_owned()).because(malformed)
        })?;
        self.meets(values).map_err(unwritable)?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
