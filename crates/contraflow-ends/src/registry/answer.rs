//! What is said to a registry, and what it answers.

use serde::{Deserialize, Serialize};

/// The longest message of a registry that is shown.
const SHOWN_CHARS_MAX: usize = 400;

/// A schema as a registry keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The text.
    pub schema: String,
    /// The schemas whose names it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// The format; Avro when it is not said.
    #[serde(
        default,
        rename = "schemaType",
        skip_serializing_if = "Option::is_none"
    )]
    format: Option<String>,
}

impl Source {
    /// A schema that uses no other ones.
    #[must_use]
    pub fn new(schema: impl Into<String>) -> Source {
        Source {
            schema: schema.into(),
            ..Source::default()
        }
    }

    /// The same schema, which uses these.
    #[must_use]
    pub fn using(mut self, references: Vec<Reference>) -> Source {
        self.references = references;
        self
    }

    /// The format, when it is not Avro.
    pub(super) fn other_format(&self) -> Option<&str> {
        self.format.as_deref().filter(|format| *format != "AVRO")
    }
}

/// A schema that another one uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name by which it is used.
    pub name: String,
    /// Where it is registered.
    pub subject: String,
    /// Which version of it.
    pub version: u32,
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Registered {
    id: u32,
    /// The version.
    pub version: u32,
    /// The schema.
    #[serde(flatten)]
    pub source: Source,
}

impl Registered {
    /// The number that payloads name.
    #[must_use]
    pub fn id(&self) -> contraflow_core::codec::payload::SchemaId {
        contraflow_core::codec::payload::SchemaId(self.id)
    }
}

/// Whether a subject takes a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Compatible,
    /// It does not, and why, in the registry's own words.
    Incompatible(Vec<String>),
}

#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: u32,
}

#[derive(Deserialize)]
pub(super) struct Compatible {
    is_compatible: bool,
    /// Confluent's and Karapace's reasons.
    #[serde(default)]
    messages: Vec<String>,
    /// Apicurio's.
    #[serde(default)]
    reason: Option<String>,
}

impl From<Compatible> for Verdict {
    fn from(answer: Compatible) -> Verdict {
        let mut reasons = answer.messages;
        reasons.extend(answer.reason);
        match answer.is_compatible {
            true => Verdict::Compatible,
            false => Verdict::Incompatible(reasons),
        }
    }
}

/// A question that the registry did not answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: String,
}

#[derive(Deserialize)]
struct Words {
    message: String,
}

impl Refusal {
    /// The registry's own words, when it is a registry.
    pub(super) fn shown(&self) -> Option<String> {
        let words: Words = serde_json::from_str(&self.body).ok()?;
        Some(words.message.chars().take(SHOWN_CHARS_MAX).collect())
    }
}
