//! Avro payloads in the wire format of Confluent's registry: a zero, the number of the writer's
//! schema, the bytes.
//!
//! Rows have the fields of one schema, the side's own. Each payload is read with the schema that
//! it names, so that fields which only newer writers know are kept undeclared; see
//! [`crate::codec::avro`]. Payloads are written with the side's own schema, which has no place for
//! undeclared fields.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, RwLock};

use crate::code::Code;
use crate::codec::avro::{Cause, Fault, Plan, Schema};
use crate::codec::payload::{Context, Payload, SchemaId, keep, kept, undeclared};
use crate::error::{Error, Kind, Result};
use crate::shape::Field;
use crate::value::Value;

const MAGIC: u8 = 0;
/// The zero and the number.
const FRAME_BYTES: usize = 5;

/// Where schemas are found by their number.
pub trait Schemas: fmt::Debug + Send + Sync {
    /// The schema of that number. Once it has been found, it is found for ever.
    fn by_id(&self, id: SchemaId) -> Result<Arc<Schema>>;

    /// The number of a schema under a subject, registered there unless it is already.
    fn give(&self, subject: &str, text: &str) -> Result<SchemaId>;
}

/// How fields are called that no schema names.
#[derive(Clone, Copy, Debug)]
pub struct Names<'n> {
    /// The one field of a payload that is not a record.
    pub whole: &'n str,
    /// The field for what a record holds and the side's schema does not declare.
    pub rest: &'n str,
}

/// Avro of one side's schema.
#[derive(Debug)]
pub struct Avro {
    /// Of the side's own schema, once it is registered.
    id: OnceLock<SchemaId>,
    /// Where the schema is registered before anything is written, and its text.
    pending: Option<(String, String)>,
    schema: Arc<Schema>,
    fields: Vec<Field>,
    schemas: Arc<dyn Schemas>,
    /// How to read what other schemas wrote. Registries have few schemas of a subject.
    plans: RwLock<BTreeMap<SchemaId, Arc<Plan>>>,
}

impl Avro {
    /// Payloads that are written with, and have the fields of, the schema of that number.
    pub fn new(id: SchemaId, schemas: Arc<dyn Schemas>, names: Names<'_>) -> Result<Avro> {
        let schema = schemas.by_id(id)?;
        Avro::of(schema, OnceLock::from(id), None, (schemas, names))
    }

    /// Payloads of a schema that is not registered yet: [`Payload::prepare`] does that.
    pub fn unregistered(
        subject: &str,
        text: &str,
        schemas: Arc<dyn Schemas>,
        names: Names<'_>,
    ) -> Result<Avro> {
        let schema = Schema::parse(text, &[] as &[&str]).map_err(|cause| {
            let message = format!("what is to be registered under `{subject}` is not a schema");
            Error::new(Kind::Precondition, Code::SCHEMA_UNUSABLE, message).because(cause)
        })?;
        let pending = Some((subject.to_owned(), text.to_owned()));
        Avro::of(Arc::new(schema), OnceLock::new(), pending, (schemas, names))
    }

    fn of(
        schema: Arc<Schema>,
        id: OnceLock<SchemaId>,
        pending: Option<(String, String)>,
        (schemas, names): (Arc<dyn Schemas>, Names<'_>),
    ) -> Result<Avro> {
        let mut avro = Avro {
            id,
            pending,
            fields: Vec::new(),
            schema,
            schemas,
            plans: RwLock::new(BTreeMap::new()),
        };
        let mut fields = avro.schema.fields(names.whole).map_err(|cause| {
            let message = format!("{} cannot be the shape of a payload", avro.own());
            Error::new(Kind::Precondition, Code::SCHEMA_UNUSABLE, message).because(cause)
        })?;
        if avro.schema.is_record() {
            fields.push(undeclared(names.rest));
        }
        avro.fields = fields;
        Ok(avro)
    }

    /// The side's own schema, in messages.
    fn own(&self) -> String {
        match (self.id.get(), &self.pending) {
            (Some(id), _) => format!("schema {id}"),
            (None, Some((subject, _))) => format!("the schema of `{subject}`"),
            (None, None) => "the schema".to_owned(),
        }
    }

    fn plan(&self, id: SchemaId) -> Result<Arc<Plan>> {
        let known = {
            let plans = self.plans.read().expect("no reader panics");
            plans.get(&id).map(Arc::clone)
        };
        if let Some(plan) = known {
            return Ok(plan);
        }
        let plan = Plan::new(&*self.schemas.by_id(id)?, &self.schema).map_err(|cause| {
            let message = format!("payloads of schema {id} cannot be read as {}", self.own());
            Error::new(Kind::Hold, Code::SCHEMA_UNUSABLE, message).because(cause)
        })?;
        let plan = Arc::new(plan);
        let mut plans = self.plans.write().expect("no reader panics");
        plans.insert(id, Arc::clone(&plan));
        Ok(plan)
    }
}

impl Payload for Avro {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn read(&self, payload: &[u8], row: &mut Vec<Value>) -> Result<Context> {
        let (id, bytes) = unframed(payload)?;
        let value = self.plan(id)?.read(bytes).map_err(|fault| {
            let (code, what) = match fault.cause {
                Cause::Malformed => (Code::PAYLOAD_MALFORMED, "is not Avro of"),
                Cause::Unfit => (Code::PAYLOAD_UNFIT, "would not be kept as it is, read by"),
            };
            failed(fault, code, format!("the payload {what} schema {id}"))
        })?;
        match value {
            Value::Record(record) if self.schema.is_record() => {
                row.extend(record.fields);
                row.push(keep(record.extras));
            }
            value => row.push(value),
        }
        Ok(Context { schema: Some(id) })
    }

    fn write(&self, values: &[Value], out: &mut Vec<u8>) -> Result<()> {
        let message = format!("the row cannot be written with {}", self.own());
        let unwritable = || Error::new(Kind::Data, Code::PAYLOAD_UNWRITABLE, message.clone());
        let declared = match values {
            [declared @ .., rest] if self.schema.is_record() => match kept(rest) {
                Some([]) => declared,
                _ => return Err(unwritable().detail("It holds fields that are not declared.")),
            },
            values => values,
        };
        let Some(SchemaId(id)) = self.id.get() else {
            return Err(Error::new(Kind::Internal, Code::INTERNAL, message)
                .detail("It was not registered before."));
        };
        let before = out.len();
        out.push(MAGIC);
        out.extend_from_slice(&id.to_be_bytes());
        self.schema.write(declared, out).map_err(|fault| {
            out.truncate(before);
            failed(fault, Code::PAYLOAD_UNWRITABLE, message.clone())
        })
    }

    fn complete(&self, values: &mut [Value]) {
        self.schema.complete(values);
    }

    fn is_ready(&self) -> bool {
        self.id.get().is_some()
    }

    fn preparation(&self) -> Option<String> {
        let (subject, _) = self.pending.as_ref()?;
        Some(format!("register the new schema under subject {subject}"))
    }

    fn prepare(&self) -> Result<()> {
        if let (None, Some((subject, text))) = (self.id.get(), &self.pending) {
            let id = self.schemas.give(subject, text)?;
            self.id.get_or_init(|| id);
        }
        Ok(())
    }
}

fn failed(fault: Fault, code: Code, message: String) -> Error {
    Error::new(Kind::Data, code, message).because(fault)
}

/// The number of the schema, and the bytes that were written with it.
fn unframed(payload: &[u8]) -> Result<(SchemaId, &[u8])> {
    let refused = |message: &str| Err(Error::new(Kind::Data, Code::PAYLOAD_UNFRAMED, message));
    let Some((frame, bytes)) = payload.split_first_chunk::<FRAME_BYTES>() else {
        return refused("the payload is shorter than the number of a schema");
    };
    let [magic, id @ ..] = *frame;
    match magic {
        MAGIC => Ok((SchemaId(u32::from_be_bytes(id)), bytes)),
        _ => refused("the payload does not begin with a zero and the number of a schema"),
    }
}
