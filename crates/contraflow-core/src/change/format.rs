//! What the payloads of a topic are, as declared.

use std::path::PathBuf;

use super::node::{Content, Fields, Node, nearest};
use super::reading::Reading;
use super::secret::Secret;
use super::spec::Located;
use crate::code::Code;
use crate::error::Problem;
use crate::log::Partitioner;
use crate::shape::{Field, Type};

/// What the payloads of a pair of topics are.
#[derive(Clone, Debug)]
pub enum Format<P = PathBuf> {
    /// Bytes that nobody looks into, for a mapping that changes nothing.
    Raw,
    /// JSON of a shape for each topic.
    Json {
        /// That of the old topic.
        old: Members,
        /// That of the new topic.
        new: Members,
    },
    /// Avro of a registry's schemas, for each topic the newest one or that of a file.
    Avro {
        /// The file of the old topic's schema, which must be registered.
        old: Option<Secret<P>>,
        /// The file of the new topic's schema, which is registered when the change begins; without
        /// it the schema must be there.
        new: Option<Secret<P>>,
    },
}

/// What JSON is.
#[derive(Clone, Debug)]
pub enum Members {
    /// An object with these members, and others that nobody declared.
    Object(Vec<Field>),
    /// One value.
    Value(Type),
}

/// What the keys of a pair of topics are, and how one topic's become the other's.
#[derive(Clone, Debug)]
pub struct KeySpec<P = PathBuf> {
    /// `payload`: what they are.
    pub format: Format<P>,
    /// `mapping`: the operations, unread.
    pub mapping: Option<Node>,
    /// `partitioner`: how the producers of both topics choose the partition of a key; `None` when
    /// nobody said so.
    pub partitioner: Option<Partitioner>,
}

impl<P> KeySpec<P> {
    pub(super) fn map<Q>(self, convert: impl Fn(P) -> Q) -> KeySpec<Q> {
        KeySpec {
            format: self.format.map(convert),
            mapping: self.mapping,
            partitioner: self.partitioner,
        }
    }
}

/// The registry of a change, as it is declared.
#[derive(Clone, Debug)]
pub struct RegistrySpec<P = PathBuf> {
    /// `url`: where it is. May hold `user:password@`.
    pub url: Secret<String>,
    /// `user_info`: `user:password`.
    pub user_info: Option<Secret<String>>,
    /// `ca`: a file of certificates that are trusted instead of the system's.
    pub ca: Option<Secret<P>>,
}

impl<P> RegistrySpec<P> {
    pub(super) fn map<Q>(self, convert: impl FnOnce(P) -> Q) -> RegistrySpec<Q> {
        RegistrySpec {
            url: self.url,
            user_info: self.user_info,
            ca: self.ca.map(|ca| ca.map(convert)),
        }
    }
}

impl<P> Format<P> {
    pub(super) fn map<Q>(self, convert: impl Fn(P) -> Q) -> Format<Q> {
        match self {
            Format::Raw => Format::Raw,
            Format::Json { old, new } => Format::Json { old, new },
            Format::Avro { old, new } => Format::Avro {
                old: old.map(|file| file.map(&convert)),
                new: new.map(|file| file.map(&convert)),
            },
        }
    }
}

impl Reading<'_> {
    /// `key` of a pair of topics: `{payload: .., mapping: .., partitioner: ..}`.
    pub(super) fn record_key(&mut self, node: &Node) -> Option<KeySpec<String>> {
        let mut fields = Fields::of(node, "`key` of topics", &mut self.problems)?;
        let format = fields.optional("payload");
        let mapping = fields.optional("mapping").cloned();
        let partitioner = fields.optional("partitioner");
        fields.finish(&mut self.problems);
        let format = match format {
            Some(node) => self.format(node)?,
            None => Format::Raw,
        };
        let partitioner = match partitioner {
            Some(node) => Some(self.partitioner(node)?),
            None => None,
        };
        Some(KeySpec {
            format,
            mapping,
            partitioner,
        })
    }

    fn partitioner(&mut self, node: &Node) -> Option<Partitioner> {
        let word = self.text("`partitioner`", node)?;
        if let Some(known) = Partitioner::of(word) {
            return Some(known);
        }
        let names = Partitioner::ALL.map(Partitioner::name);
        let message = format!("`partitioner` cannot be `{word}`");
        let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
        self.problems
            .push(problem.hint(match nearest(word, &names) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Write one of `{}`.", names.join("`, `")),
            }));
        None
    }

    /// `raw`, `avro`, `{avro: {old: file, new: file}}` or
    /// `{json: {old: {name: type}, new: {name: type}}}`, with a type alone for one value.
    pub(super) fn format(&mut self, node: &Node) -> Option<Format<String>> {
        if let Some(word) = node.text() {
            match word {
                "raw" => return Some(Format::Raw),
                "avro" => {
                    let (old, new) = (None, None);
                    return Some(Format::Avro { old, new });
                }
                _ => {}
            }
            let message = format!("`payload` cannot be `{word}`");
            let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
            let hint = "Write `raw`, `avro`, `{avro: {new: schema.avsc}}`, or \
                        `{json: {old: {..}, new: {..}}}` with a type for each field.";
            self.problems.push(problem.hint(hint));
            return None;
        }
        let mut fields = Fields::of(node, "`payload`", &mut self.problems)?;
        if let Some(node) = fields.optional("avro") {
            fields.finish(&mut self.problems);
            return self.avro(node);
        }
        let json = fields.required("json", &mut self.problems);
        fields.finish(&mut self.problems);
        self.json(json?)
    }

    fn avro(&mut self, node: &Node) -> Option<Format<String>> {
        let mut fields = Fields::of(node, "`avro`", &mut self.problems)?;
        let mut file = |key: &'static str, what: &str| {
            let node = fields.optional(key)?;
            Some(self.setting(what, node)?.value)
        };
        let old = file("old", "the file of the old schema");
        let new = file("new", "the file of the new schema");
        fields.finish(&mut self.problems);
        Some(Format::Avro { old, new })
    }

    fn json(&mut self, node: &Node) -> Option<Format<String>> {
        let mut fields = Fields::of(node, "`json`", &mut self.problems)?;
        let old = fields.required("old", &mut self.problems);
        let old = old.and_then(|node| self.members("the old payload", node));
        let new = fields.required("new", &mut self.problems);
        let new = new.and_then(|node| self.members("the new payload", node));
        fields.finish(&mut self.problems);
        Some(Format::Json {
            old: old?,
            new: new?,
        })
    }

    /// `registry: {url: .., user_info: .., ca: ..}`.
    pub(super) fn registry(&mut self, node: &Node) -> Option<Located<RegistrySpec<String>>> {
        let mut fields = Fields::of(node, "`registry`", &mut self.problems)?;
        let url = fields.required("url", &mut self.problems);
        let url = url.and_then(|node| self.setting("`url`", node));
        let mut optional = |key: &'static str, what: &str| {
            let node = fields.optional(key)?;
            Some(self.setting(what, node)?.value)
        };
        let user_info = optional("user_info", "`user_info`");
        let ca = optional("ca", "`ca`");
        fields.finish(&mut self.problems);
        // The address may hold a password: no more than its name is ever shown.
        let url = Secret::new(url?.value.expose().clone(), "registry");
        let place = node.place;
        Some(Located {
            value: RegistrySpec { url, user_info, ca },
            place,
        })
    }

    /// A map of names to types, or one type.
    fn members(&mut self, what: &str, node: &Node) -> Option<Members> {
        if let Some(word) = node.text() {
            let field = Field::parse("value", word).filter(|field| !field.nullable);
            if field.is_none() {
                self.invalid(node.place, format!("`{word}` is not a type, for {what}"));
            }
            return field.map(|field| Members::Value(field.ty));
        }
        Fields::of(node, what, &mut self.problems)?;
        let Content::Map(entries) = &node.content else {
            return None;
        };
        let mut members = Vec::new();
        for (name, word) in entries {
            let Some(text) = self.text(&format!("the type of `{}`", name.text), word) else {
                continue;
            };
            match Field::parse(&name.text, text) {
                Some(member) => members.push(member),
                None => {
                    let message = format!("`{text}` is not a type, for `{}`", name.text);
                    self.invalid(word.place, message);
                }
            }
        }
        Some(Members::Object(members))
    }
}
