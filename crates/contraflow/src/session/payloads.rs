//! How the payloads of topics are read and written: their formats, and schemas from a registry.

use std::path::PathBuf;
use std::sync::Arc;

use contraflow_core::change::format::{Format, Members};
use contraflow_core::change::secret::Secret;
use contraflow_core::change::{Change, Pair};
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::codec::payload::{self, Avro, Json, Names, Payload, Raw, Schemas};
use contraflow_core::error::{Error, Kind, Problem, Result};
use contraflow_core::log::Keys;
use contraflow_core::mapping::{Mapping, OpSpec};
use contraflow_core::shape::{Field, Type};
use contraflow_core::side::Side;
use contraflow_ends::kafka::Payloads;
use contraflow_ends::registry::{Part, Registry, Settings, Source, Verdict, subject};
use contraflow_engine::context::Pair as Bound;

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
        let mut payloads = Payloads::default();
        for pair in change.pairs() {
            let topic = pair.table(side);
            let mut open = |format: &Format, part: Part| {
                let opened = open(format, topic, side, part, registry.as_ref());
                let fail = |error| problems.push(of(&error).at(side).place(Some(pair.place)));
                opened.map_err(fail).ok()
            };
            let Some(value) = pair.format.as_ref().map(|format| open(format, Part::Value)) else {
                continue;
            };
            let key = pair.record_key.as_ref();
            let key = key.and_then(|key| open(&key.format, Part::Key));
            if let Some(value) = value {
                payloads.insert(topic, value, key);
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

/// A format of the keys or values of one side's topic.
fn open(
    format: &Format,
    topic: &str,
    side: Side,
    part: Part,
    registry: Option<&Arc<Registry>>,
) -> Result<Arc<dyn Payload>> {
    Ok(match (format, side, registry) {
        (Format::Raw, _, _) => Arc::new(Raw::new(PAYLOAD)),
        (Format::Json { old, .. }, Side::Old, _) => json(old),
        (Format::Json { new, .. }, Side::New, _) => json(new),
        (Format::Avro { .. }, _, None) => {
            let message = "payloads of Avro without a registry";
            return Err(Error::new(Kind::Internal, Code::INTERNAL, message));
        }
        (Format::Avro { old, new }, side, Some(registry)) => {
            let file = match side {
                Side::Old => old,
                Side::New => new,
            };
            let subject = subject(topic, part);
            Arc::new(match file {
                Some(file) => from_file(&subject, side, file, registry)?,
                None => newest(&subject, side, registry)?,
            })
        }
    })
}

fn json(members: &Members) -> Arc<dyn Payload> {
    Arc::new(match members {
        Members::Object(members) => Json::object(members.clone(), payload::UNDECLARED),
        Members::Value(ty) => Json::value(Field::required(WHOLE, ty.clone())),
    })
}

fn names(side: Side) -> Names<'static> {
    Names {
        whole: WHOLE,
        rest: payload::undeclared_of(side),
    }
}

/// Avro of the newest schema that the registry has under a subject.
fn newest(subject: &str, side: Side, registry: &Arc<Registry>) -> Result<Avro> {
    let Some(found) = registry.latest(subject)? else {
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
    subject: &str,
    side: Side,
    file: &Secret<PathBuf>,
    registry: &Arc<Registry>,
) -> Result<Avro> {
    let text = std::fs::read_to_string(file.expose()).map_err(|error| {
        let message = format!("the schema file `{file}` cannot be read");
        Error::new(Kind::Config, Code::FILE_UNREADABLE, message).because(error)
    })?;
    let schemas = Arc::clone(registry) as Arc<dyn Schemas>;
    let pending = Avro::unregistered(subject, &text, Arc::clone(&schemas), names(side))?;
    let source = Source::new(text);
    if let Some(id) = registry.lookup(subject, &source)? {
        return Avro::new(id, schemas, names(side));
    }
    // Registries that compare texts know one that is written otherwise under another question.
    if let Some(id) = registry.lookup_otherwise(subject, &source)? {
        let found = Avro::new(id, schemas, names(side))?;
        if found.fields() == pending.fields() {
            return Ok(found);
        }
    }
    if side == Side::Old {
        let message = format!("subject `{subject}` does not have the schema of `{file}`");
        let error = Error::new(Kind::Precondition, Code::SUBJECT_MISSING, message);
        return Err(error.hint("The schema of what the topic holds is registered already."));
    }
    match registry.compatible(subject, &source)? {
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
pub(super) fn unheld(
    pair: &Pair,
    format: Option<&Format>,
    made: &[Field],
    declared: &[Field],
) -> Vec<Problem> {
    let Some(Format::Avro { .. }) = format else {
        return Vec::new();
    };
    let fields = made.iter().zip(declared);
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
pub(super) fn fingerprint(declared: &Pair, pair: &Bound) -> String {
    let of = |format: &Format, mapping: &Mapping| match format {
        Format::Raw | Format::Json { .. } => format!(":{format:?}"),
        Format::Avro { .. } => {
            let shapes = Side::BOTH.map(|side| mapping.shape(side));
            format!(":avro:{shapes:?}")
        }
    };
    let format = declared.format.as_ref();
    let mut all = format.map_or_else(String::new, |format| of(format, &pair.mapping));
    let keys = pair.keying.as_ref().and_then(|keying| keying.keys.as_ref());
    if let (Some(declared), Some(keys)) = (&declared.record_key, keys) {
        let digest = keys.mapping().digest();
        all += &format!(":key:{digest}{}", of(&declared.format, keys.mapping()));
    }
    all
}

/// How the keys of a pair of topics are carried. Keys that nobody declared are carried as they are.
pub(super) fn keys(
    pair: &Pair,
    ops: &[OpSpec],
    payloads: &[Payloads; 2],
    problems: &mut Vec<Problem>,
) -> Option<Keys> {
    let declared = pair.record_key.as_ref()?;
    if matches!(declared.format, Format::Raw) && ops.is_empty() {
        return None;
    }
    let [old, new] = payloads;
    let formats = [old.key(&pair.old)?, new.key(&pair.new)?].map(Arc::clone);
    let fields = formats[1].fields().to_vec();
    match Keys::check(ops, formats) {
        Ok((keys, warnings)) => {
            problems.extend(warnings);
            problems.extend(unheld(pair, Some(&declared.format), &keys.made(), &fields));
            Some(keys)
        }
        Err(found) => {
            problems.extend(found);
            None
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
