//! A schema registry that speaks Confluent's REST interface, as Confluent's own, Karapace and
//! Apicurio do.
//!
//! What a number stands for never changes, so a schema is fetched once and kept: when the registry
//! is down, payloads of known schemas flow on. A schema that is needed and cannot be had holds the
//! change.

mod answer;
mod door;

pub use answer::{Reference, Registered, Source, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use contraflow_core::change::secret::Secret;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::codec::avro::Schema;
use contraflow_core::codec::payload::{SchemaId, Schemas};
use contraflow_core::error::{Error, Kind, Result};

use answer::{Compatible, Id, Refusal};
use door::{Answer, Door, escaped};

/// How many schemas one schema may use, directly and through others. Far above what people write;
/// a registry that names ever more of them is refused.
pub const REFERENCES_MAX: usize = 256;

/// The registry does not know the version or the subject.
const NOT_FOUND: u16 = 404;

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `schema.registry.url`; may hold `user:password@`.
    pub url: Secret<String>,
    /// `basic.auth.user.info`: `user:password`.
    pub user_info: Option<Secret<String>>,
    /// `schema.registry.ssl.ca.location`: a PEM file that is trusted instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Which part of a record a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// The subject of a topic's keys or values, named after the topic as `TopicNameStrategy` does.
#[must_use]
pub fn subject(topic: &str, part: Part) -> String {
    match part {
        Part::Key => format!("{topic}-key"),
        Part::Value => format!("{topic}-value"),
    }
}

/// A registry, and the schemas that it has told.
pub struct Registry {
    door: Door,
    known: Mutex<BTreeMap<SchemaId, Arc<Schema>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// A client of that registry. Reaches nothing yet.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Registry> {
        Ok(Registry {
            door: Door::new(settings, clock)?,
            known: Mutex::new(BTreeMap::new()),
        })
    }

    /// The newest schema of a subject; `None` when there is no such subject.
    pub fn latest(&self, subject: &str) -> Result<Option<Registered>> {
        let path = format!("subjects/{}/versions/latest", escaped(subject));
        match self.door.get(&path).map_err(before_start)? {
            Answer::Refused(refusal) if refusal.status == NOT_FOUND => Ok(None),
            answer => self.told(answer, &format!("subject `{subject}`")).map(Some),
        }
    }

    /// The number that a schema has under a subject, as it is written; `None` when it is not
    /// registered there.
    pub fn lookup(&self, subject: &str, source: &Source) -> Result<Option<SchemaId>> {
        self.look_up(subject, "", source)
    }

    /// The number of a schema that is the same to the registry, and written otherwise: with other
    /// spaces, say. Some compare less than what a schema says.
    pub fn lookup_otherwise(&self, subject: &str, source: &Source) -> Result<Option<SchemaId>> {
        self.look_up(subject, "?normalize=true", source)
    }

    fn look_up(&self, subject: &str, how: &str, source: &Source) -> Result<Option<SchemaId>> {
        let path = format!("subjects/{}{how}", escaped(subject));
        match self.door.post(&path, source).map_err(before_start)? {
            Answer::Refused(refusal) if refusal.status == NOT_FOUND => Ok(None),
            answer => {
                let id: Id = self.told(answer, &format!("subject `{subject}`"))?;
                Ok(Some(SchemaId(id.id)))
            }
        }
    }

    /// The number of a schema under a subject. Registers it there unless it is already.
    pub fn register(&self, subject: &str, source: &Source) -> Result<SchemaId> {
        let path = format!("subjects/{}/versions", escaped(subject));
        let answer = self.door.post(&path, source).map_err(before_start)?;
        let id: Id = self.told(answer, &format!("subject `{subject}`"))?;
        Ok(SchemaId(id.id))
    }

    /// Whether the registry would take a schema under a subject, by the subject's own rules.
    /// A subject that is not there takes any.
    pub fn compatible(&self, subject: &str, source: &Source) -> Result<Verdict> {
        let path = format!(
            "compatibility/subjects/{}/versions/latest?verbose=true",
            escaped(subject)
        );
        match self.door.post(&path, source).map_err(before_start)? {
            Answer::Refused(refusal) if refusal.status == NOT_FOUND => Ok(Verdict::Compatible),
            answer => {
                let compatible: Compatible = self.told(answer, &format!("subject `{subject}`"))?;
                Ok(compatible.into())
            }
        }
    }

    fn told<T: serde::de::DeserializeOwned>(&self, answer: Answer, of: &str) -> Result<T> {
        match answer {
            Answer::Given(text) => serde_json::from_str(&text).map_err(|_| {
                let message = format!("the registry's answer on {of} is not one of a registry");
                Error::new(Kind::Precondition, Code::REGISTRY_REFUSED, message)
                    .hint("Give the address of its Confluent interface; Apicurio's has a path.")
            }),
            Answer::Refused(refusal) => Err(refused(&refusal, of)),
        }
    }

    fn fetch(&self, id: SchemaId) -> Result<Schema> {
        let path = format!("schemas/ids/{id}");
        let of = format!("schema {id}");
        let answer = self.door.get(&path).map_err(|cause| {
            let message = format!("schema {id} is needed, and the registry cannot be asked");
            Error::new(Kind::Hold, Code::REGISTRY_UNREACHABLE, message)
                .because(cause)
                .hint("Start the registry, then `contraflow resume`.")
        })?;
        if let Answer::Refused(refusal) = &answer
            && refusal.status == NOT_FOUND
        {
            let message = format!("the registry has no schema {id}");
            return Err(Error::new(Kind::Data, Code::SCHEMA_UNKNOWN, message)
                .hint("Find out which registry the record's producer uses, or what it wrote."));
        }
        let source: Source = self.told(answer, &of)?;
        self.parsed(&source, &of)
    }

    fn parsed(&self, source: &Source, of: &str) -> Result<Schema> {
        if let Some(other) = source.other_format() {
            let message = format!("{of} is {other}, not Avro");
            return Err(Error::new(Kind::Hold, Code::SCHEMA_UNUSABLE, message));
        }
        let mut used = Used::default();
        self.collect(&source.references, &mut used)?;
        Schema::parse(&source.schema, &used.texts).map_err(|cause| {
            let message = format!("{of} cannot be used");
            Error::new(Kind::Hold, Code::SCHEMA_UNUSABLE, message).because(cause)
        })
    }

    /// The texts of the schemas that these refer to, each after those that it refers to itself.
    fn collect(&self, references: &[Reference], used: &mut Used) -> Result<()> {
        for Reference {
            subject, version, ..
        } in references
        {
            if !used.met.insert((subject.clone(), *version)) {
                continue;
            }
            let of = format!("version {version} of subject `{subject}`");
            if used.met.len() > REFERENCES_MAX {
                let message = format!("a schema uses more than {REFERENCES_MAX} others");
                return Err(Error::new(Kind::Hold, Code::SCHEMA_UNUSABLE, message));
            }
            let path = format!("subjects/{}/versions/{version}", escaped(subject));
            let answer = self.door.get(&path).map_err(|cause| {
                let message = format!("{of} is needed, and the registry cannot be asked");
                Error::new(Kind::Hold, Code::REGISTRY_UNREACHABLE, message).because(cause)
            })?;
            let source: Source = self.told(answer, &of)?;
            self.collect(&source.references, used)?;
            used.texts.push(source.schema);
        }
        Ok(())
    }
}

/// Schemas that another one uses.
#[derive(Default)]
struct Used {
    met: BTreeSet<(String, u32)>,
    texts: Vec<String>,
}

impl Schemas for Registry {
    fn by_id(&self, id: SchemaId) -> Result<Arc<Schema>> {
        let known = self.known.lock().expect("nobody panics with it");
        if let Some(schema) = known.get(&id) {
            return Ok(Arc::clone(schema));
        }
        drop(known);
        let schema = Arc::new(self.fetch(id)?);
        let mut known = self.known.lock().expect("nobody panics with it");
        Ok(Arc::clone(known.entry(id).or_insert(schema)))
    }

    fn give(&self, subject: &str, text: &str) -> Result<SchemaId> {
        self.register(subject, &Source::new(text))
    }
}

fn before_start(cause: door::Shut) -> Error {
    let message = "the schema registry cannot be asked";
    Error::new(Kind::Precondition, Code::REGISTRY_UNREACHABLE, message).because(cause)
}

fn refused(refusal: &Refusal, of: &str) -> Error {
    let Refusal { status, .. } = refusal;
    let message = format!("the registry refused the question about {of}, with status {status}");
    let error = Error::new(Kind::Precondition, Code::REGISTRY_REFUSED, message);
    let error = match refusal.shown() {
        Some(words) => error.detail(words),
        None => error,
    };
    match status {
        401 | 403 => error.hint("Give `basic.auth.user.info` of a user who may do this."),
        _ => error,
    }
}
