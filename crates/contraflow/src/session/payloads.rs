//! How the payloads of topics are read and written: their formats, and schemas from a registry.

use std::path::PathBuf;
use std::sync::Arc;

use contraflow_core::change::format::Format;
use contraflow_core::change::secret::Secret;
use contraflow_core::change::{Change, Pair};
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::codec::payload::{self, Avro, Json, Names, Payload, Raw, Schemas};
use contraflow_core::error::{Error, Kind, Problem, Result};
use contraflow_core::mapping::Mapping;
use contraflow_core::shape::{Field, Shape, Type};
use contraflow_core::side::Side;
use contraflow_ends::kafka::Payloads;
use contraflow_ends::registry::{Part, Registry, Settings, Source, Verdict, subject};

/// The field of a payload that nobody looks into.
const PAYLOAD: &str = "(payload)";
/// The field of an Avro payload that is not a record.
const WHOLE: &str = "value";

/// The formats of both sides' topics. Schemas that are not registered yet are not registered here.
pub(super) fn both(
    change: &Change,
    clock: &Arc<dyn Clock>,
    problems: &mut Vec<Problem>,
) -> [Payloads; 2] {
    let registry = match registry(change, clock) {
        Ok(registry) => registry,
        Err(error) => {
            problems.push(of(&error));
            return Default::default();
        }
    };
    Side::BOTH.map(|side| {
        let mut payloads = Payloads::new();
        for pair in change.pairs() {
            let topic = pair.table(side);
            match of_pair(pair, side, registry.as_ref()) {
                Ok(Some(payload)) => drop(payloads.insert(topic.to_owned(), payload)),
                Ok(None) => {}
                Err(error) => problems.push(of(&error).at(side).place(Some(pair.place))),
            }
        }
        payloads
    })
}

fn registry(change: &Change, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Registry>>> {
    let Some(declared) = change.registry() else {
        return Ok(None);
    };
    let settings = Settings {
        url: declared.url.clone(),
        user_info: declared.user_info.clone(),
        ca: declared.ca.as_ref().map(|file| file.expose().clone()),
    };
    Ok(Some(Arc::new(Registry::new(&settings, Arc::clone(clock))?)))
}

fn of_pair(
    pair: &Pair,
    side: Side,
    registry: Option<&Arc<Registry>>,
) -> Result<Option<Arc<dyn Payload>>> {
    Ok(Some(match (&pair.format, side, registry) {
        (None, _, _) => return Ok(None),
        (Some(Format::Raw), _, _) => Arc::new(Raw::new(PAYLOAD)),
        (Some(Format::Json { old, .. }), Side::Old, _) => json(old),
        (Some(Format::Json { new, .. }), Side::New, _) => json(new),
        (Some(Format::Avro { .. }), _, None) => {
            let message = "payloads of Avro without a registry";
            return Err(Error::new(Kind::Internal, Code::INTERNAL, message));
        }
        (Some(Format::Avro { old, new }), side, Some(registry)) => {
            let file = match side {
                Side::Old => old,
                Side::New => new,
            };
            let topic = pair.table(side);
            Arc::new(match file {
                Some(file) => from_file(topic, side, file, registry)?,
                None => newest(topic, side, registry)?,
            })
        }
    }))
}

fn json(members: &[Field]) -> Arc<dyn Payload> {
    Arc::new(Json::object(members.to_vec(), payload::UNDECLARED))
}

fn names(side: Side) -> Names<'static> {
    Names {
        whole: WHOLE,
        rest: payload::undeclared_of(side),
    }
}

/// Avro of the newest schema that the registry has for a topic.
fn newest(topic: &str, side: Side, registry: &Arc<Registry>) -> Result<Avro> {
    let subject = subject(topic, Part::Value);
    let Some(found) = registry.latest(&subject)? else {
        let message = format!("the registry has no subject `{subject}`");
        let hint = match side {
            Side::Old => "Register the schema of what the topic holds, or correct `registry`.",
            Side::New => {
                "Register its schema, or name its file: `payload: {avro: {new: schema.avsc}}`."
            }
        };
        return Err(Error::new(Kind::Precondition, Code::SUBJECT_MISSING, message).hint(hint));
    };
    let schemas = Arc::clone(registry) as Arc<dyn Schemas>;
    Avro::new(found.id(), schemas, names(side))
}

/// Avro of a schema that the topic has already, or that the new one is to have.
fn from_file(
    topic: &str,
    side: Side,
    file: &Secret<PathBuf>,
    registry: &Arc<Registry>,
) -> Result<Avro> {
    let text = std::fs::read_to_string(file.expose()).map_err(|error| {
        let message = format!("the schema file `{file}` cannot be read");
        Error::new(Kind::Config, Code::FILE_UNREADABLE, message).because(error)
    })?;
    let subject = subject(topic, Part::Value);
    let schemas = Arc::clone(registry) as Arc<dyn Schemas>;
    let pending = Avro::unregistered(&subject, &text, Arc::clone(&schemas), names(side))?;
    let source = Source::new(text);
    if let Some(id) = registry.lookup(&subject, &source)? {
        return Avro::new(id, schemas, names(side));
    }
    if side == Side::Old {
        let message = format!("subject `{subject}` does not have the schema of `{file}`");
        let error = Error::new(Kind::Precondition, Code::SUBJECT_MISSING, message);
        return Err(error.hint("The schema of what the topic holds is registered already."));
    }
    match registry.compatible(&subject, &source)? {
        Verdict::Compatible => Ok(pending),
        Verdict::Incompatible(reasons) => {
            let message = format!("subject `{subject}` does not take the new schema");
            let error = Error::new(Kind::Precondition, Code::REGISTRY_REFUSED, message);
            Err(error.detail(reasons.join("; ")))
        }
    }
}

/// What a mapping makes and the new topic's schema has no place for. Tables are lenient: their ends
/// know a native form for most types. A schema takes what it names.
pub(super) fn unheld(pair: &Pair, made: &Shape, declared: &Shape) -> Vec<Problem> {
    let Some(Format::Avro { .. }) = pair.format else {
        return Vec::new();
    };
    let fields = made.fields.iter().zip(&declared.fields);
    let unheld = fields.filter(|(made, declared)| !takes(&declared.ty, &made.ty));
    let problem = |(made, declared): (&Field, &Field)| {
        let Field { name, ty, .. } = made;
        let (made, declared) = (ty.name(), declared.ty.name());
        let message = format!("the mapping makes `{name}` {made}, but the schema has {declared}");
        let hint = format!("Add `- convert: {{field: {name}, to: ...}}` or change the schema.");
        let problem = Problem::error(Code::TYPE_MISMATCH, message).at(Side::New);
        problem.place(Some(pair.place)).hint(hint)
    };
    unheld.map(problem).collect()
}

/// What a mapping was made for besides its operations: a registry may have newer schemas tomorrow.
pub(super) fn fingerprint(pair: &Pair, mapping: &Mapping) -> String {
    match &pair.format {
        None => String::new(),
        Some(format @ (Format::Raw | Format::Json { .. })) => format!(":{format:?}"),
        Some(Format::Avro { .. }) => {
            let shapes = Side::BOTH.map(|side| mapping.shape(side));
            format!(":avro:{shapes:?}")
        }
    }
}

/// Whether a schema's type takes every value of another type, as it is.
fn takes(schema: &Type, made: &Type) -> bool {
    match (schema, made) {
        (
            Type::Int {
                bits: wide,
                signed: to,
            },
            Type::Int { bits, signed },
        ) => to == signed && wide >= bits,
        (Type::Float { bits: wide }, Type::Float { bits }) => wide >= bits,
        (Type::Enum { symbols: known }, Type::Enum { symbols }) => {
            symbols.iter().all(|symbol| known.contains(symbol))
        }
        (
            Type::Timestamp {
                frame: to,
                unit: fine,
            },
            Type::Timestamp { frame, unit },
        ) => to == frame && fine >= unit,
        (Type::List(schema), Type::List(made)) => takes(schema, made),
        (schema, made) => schema == made,
    }
}

/// An error with its cause: nobody else shows it.
fn of(error: &Error) -> Problem {
    let cause = std::error::Error::source(error);
    let message = match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let problem = Problem::error(error.code, message);
    match error.hint.as_deref().or(error.detail.as_deref()) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
