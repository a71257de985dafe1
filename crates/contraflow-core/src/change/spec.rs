//! The change file as typed: read from its text with all problems at once, not yet checked.

use super::cluster::Cluster;
use super::consumers::Consumer;
use super::format::{Format, KeySpec, RegistrySpec};
use super::interpolate::Secrets;
use super::node::{Content, Fields, Node, nearest};
use super::reading::Reading;
use super::secret::Secret;
use super::settings::{self, Gates, Limits, Poison};
use super::yaml;
use crate::code::Code;
use crate::error::{Place, Problem};

/// The version of the change file that this program reads.
pub const VERSION: &str = "1";

/// The most pairs of one change: more than any schema has tables, far below what
/// [`crate::record::PairId`] counts.
pub const PAIRS_MAX: usize = 1_000;

/// The connection kinds, by their key in the file: a row here, a variant of [`ConnectionSpec`] and
/// of [`super::Connection`].
const CONNECTION_KINDS: [(&str, Connect); 3] = [
    ("sqlite", |path, _, _| {
        Some(ConnectionSpec::Sqlite { path: path? })
    }),
    ("postgres", |url, _, _| {
        Some(ConnectionSpec::Postgres { url: url? })
    }),
    ("kafka", |servers, fields, reading| {
        Some(ConnectionSpec::Kafka(Box::new(
            reading.cluster(fields, servers)?,
        )))
    }),
];

/// From the value of its key, if that could be read, and the keys beside it.
type Connect =
    fn(Option<Secret<String>>, &mut Fields<'_>, &mut Reading<'_>) -> Option<ConnectionSpec>;

/// A value and where it stands in the file.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it starts.
    pub place: Place,
}

/// A change file as typed. What could not be read is `None`, and a problem says why.
#[derive(Clone, Debug, Default)]
pub struct ChangeSpec {
    /// `change`: the name.
    pub name: Option<Located<String>>,
    /// `old`: where the old end lives.
    pub old: Option<Located<ConnectionSpec>>,
    /// `new`: where the new end lives.
    pub new: Option<Located<ConnectionSpec>>,
    /// `registry`: where the schemas of payloads are.
    pub registry: Option<Located<RegistrySpec<String>>>,
    /// `pairs`, in order.
    pub pairs: Vec<PairSpec>,
    /// `letters`: what becomes of records of topics that cannot be carried.
    pub poison: Poison,
    /// `consumers`, in order.
    pub consumers: Vec<Consumer>,
    /// `gates`, with defaults filled in.
    pub gates: Gates,
    /// `limits`, with defaults filled in.
    pub limits: Limits,
    /// `ledger`: the file of the ledger.
    pub ledger: Option<Located<Secret<String>>>,
    pub(super) problems: Vec<Problem>,
}

/// Where an end lives, as typed.
#[derive(Clone, Debug)]
pub enum ConnectionSpec {
    /// `sqlite`: a database file.
    Sqlite {
        /// The path, relative to the change file.
        path: Secret<String>,
    },
    /// `postgres`: a database of a server.
    Postgres {
        /// The URL. Its text as typed may hold a password.
        url: Secret<String>,
    },
    /// `kafka`: topics of a cluster.
    Kafka(Box<Cluster<String>>),
}

/// One item of `pairs`, as typed.
#[derive(Clone, Debug)]
pub struct PairSpec {
    /// `old`: the old table.
    pub old: Option<Located<String>>,
    /// `new`: the new table.
    pub new: Option<Located<String>>,
    /// `key`: the key fields of the old table.
    pub key_old: Vec<Located<String>>,
    /// `key.new`: the key fields of the new table, where they do not follow from the mapping.
    pub key_new: Option<Vec<Located<String>>>,
    /// `payload`: what the payloads of topics are.
    pub format: Option<Format<String>>,
    /// `key` of topics: what the keys of their records are.
    pub record_key: Option<KeySpec<String>>,
    /// `history` of this pair, or of the file.
    pub history: History,
    /// `mapping`, unread and never interpolated: it is the same wherever the change runs.
    pub mapping: Option<Node>,
    /// Where the pair starts.
    pub place: Place,
}

/// Which rows from before the change are carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// Every row.
    #[default]
    All,
    /// No row: only what is written from now on.
    None,
    /// Rows whose field is at least this bound.
    Since {
        /// A field of the old table.
        field: String,
        /// The least value that is carried.
        bound: Bound,
    },
}

/// The bound of [`History::Since`], as typed: the field's own type decides what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A plain scalar, digits as written.
    Plain(String),
    /// A quoted scalar.
    Quoted(String),
}

impl ChangeSpec {
    /// Reads the text of a change file. Never fails: problems are kept for
    /// [`ChangeSpec::check`], which refuses a spec that has any.
    #[must_use]
    pub fn read(text: &str, secrets: &dyn Secrets) -> ChangeSpec {
        let mut reading = Reading {
            secrets,
            problems: Vec::new(),
        };
        let spec = match yaml::read(text) {
            Ok(root) => reading.change(&root),
            Err(problem) => {
                reading.problems.push(problem);
                None
            }
        };
        let mut spec = spec.unwrap_or_default();
        spec.problems = reading.problems;
        spec
    }
}

impl Reading<'_> {
    fn change(&mut self, root: &Node) -> Option<ChangeSpec> {
        let mut fields = Fields::of(root, "the change file", &mut self.problems)?;
        let version = fields.required("version", &mut self.problems);
        if version.is_some_and(|node| !self.version(node)) {
            return None;
        }
        let name = fields.required("change", &mut self.problems);
        let name = name.and_then(|node| self.name("the change's name", node));
        let old = fields.required("old", &mut self.problems);
        let old = old.and_then(|node| self.connection("`old`", node));
        let new = fields.required("new", &mut self.problems);
        let new = new.and_then(|node| self.connection("`new`", node));
        let registry = fields.optional("registry");
        let registry = registry.and_then(|node| self.registry(node));
        let history = fields.optional("history").map(|node| self.history(node));
        let history = history.flatten().unwrap_or_default();
        let pairs = fields.required("pairs", &mut self.problems);
        let topics = matches!(&old, Some(found) if matches!(found.value, ConnectionSpec::Kafka(_)));
        let pairs = pairs.map(|node| self.pairs(node, &history, topics));
        let letters = fields.optional("letters");
        let poison = letters.and_then(|node| self.poison(node, topics));
        let consumers = fields.optional("consumers");
        let consumers = consumers.map(|node| {
            if !topics {
                self.invalid(
                    node.place,
                    "`consumers` says nothing here: only topics have them",
                );
            }
            self.consumers(node)
        });
        let gates = self.gates(fields.optional("gates"));
        let limits = self.limits(fields.optional("limits"));
        let ledger = fields.optional("ledger");
        let ledger = ledger.and_then(|node| self.setting("`ledger`", node));
        fields.finish(&mut self.problems);
        Some(ChangeSpec {
            name,
            old,
            new,
            registry,
            pairs: pairs.unwrap_or_default(),
            poison: poison.unwrap_or_default(),
            consumers: consumers.unwrap_or_default(),
            gates,
            limits,
            ledger,
            problems: Vec::new(),
        })
    }

    /// Whether the rest can be read: a file of another version would only seem full of mistakes.
    fn version(&mut self, node: &Node) -> bool {
        let known = matches!(&node.content, Content::Plain(text) if text == VERSION);
        if !known {
            let message = match node.text() {
                Some(found) => format!("version `{found}` of the change file is not known"),
                None => format!("`version` must be {VERSION}, found {}", node.kind()),
            };
            let hint = format!("Write `version: {VERSION}`; newer versions need a newer program.");
            let problem = Problem::error(Code::VERSION_UNKNOWN, message).hint(hint);
            self.problems.push(problem.place(Some(node.place)));
        }
        known
    }

    fn connection(&mut self, what: &str, node: &Node) -> Option<Located<ConnectionSpec>> {
        let mut fields = Fields::of(node, what, &mut self.problems)?;
        let mut found = Vec::new();
        for (kind, build) in CONNECTION_KINDS {
            if let Some(value) = fields.optional(kind) {
                found.push((kind, build, value));
            }
        }
        let mut read = None;
        if let [(kind, build, value)] = found.as_slice() {
            let value = self.setting(&format!("`{kind}`"), value);
            read = build(value.map(|it| it.value), &mut fields, self);
        }
        let before = self.problems.len();
        fields.finish(&mut self.problems);
        let place = node.place;
        match found.as_slice() {
            [_] => read.map(|value| Located { value, place }),
            [] if self.problems.len() > before => None,
            [] => {
                let message = format!("{what} names no connection");
                let hint = "Write `sqlite: path/to/file.db`, `postgres: postgres://...` or \
                            `kafka: host:9092`.";
                let problem = Problem::error(Code::KEY_MISSING, message).hint(hint);
                self.problems.push(problem.place(Some(node.place)));
                None
            }
            [..] => {
                self.invalid(node.place, format!("{what} names more than one connection"));
                None
            }
        }
    }

    fn pairs(&mut self, node: &Node, history: &History, topics: bool) -> Vec<PairSpec> {
        let Content::List(items) = &node.content else {
            let message = format!("`pairs` must be a list, found {}", node.kind());
            self.invalid(node.place, message);
            return Vec::new();
        };
        if items.is_empty() {
            self.invalid(node.place, "`pairs` must hold at least one pair");
        }
        if items.len() > PAIRS_MAX {
            let found = items.len();
            let message = format!("`pairs` holds {found} pairs, the limit is {PAIRS_MAX}");
            self.invalid(node.place, message);
        }
        let items = items.iter().take(PAIRS_MAX);
        items
            .filter_map(|item| self.pair(item, history, topics))
            .collect()
    }

    fn pair(&mut self, node: &Node, history: &History, topics: bool) -> Option<PairSpec> {
        let mut fields = Fields::of(node, "a pair", &mut self.problems)?;
        let old = fields.required("old", &mut self.problems);
        let old = old.and_then(|node| self.name("the old table", node));
        let new = fields.required("new", &mut self.problems);
        let new = new.and_then(|node| self.name("the new table", node));
        let (mut key, mut format, mut record_key) = (None, None, None);
        if topics {
            let found = fields.required("payload", &mut self.problems);
            format = found.and_then(|node| self.format(node));
            let found = fields.optional("key");
            record_key = found.and_then(|node| self.record_key(node));
        } else {
            let found = fields.required("key", &mut self.problems);
            key = found.map(|node| self.key(node));
            if let Some(node) = fields.optional("payload") {
                let message = "`payload` says nothing here: only topics have payloads";
                self.invalid(node.place, message);
            }
        }
        let (key_old, key_new) = key.unwrap_or_default();
        let own = fields
            .optional("history")
            .and_then(|node| self.history(node));
        let mapping = fields
            .optional("mapping")
            .filter(|node| node.content != Content::Null);
        fields.finish(&mut self.problems);
        Some(PairSpec {
            old,
            new,
            key_old,
            key_new,
            format,
            record_key,
            history: own.unwrap_or_else(|| history.clone()),
            mapping: mapping.cloned(),
            place: node.place,
        })
    }

    fn key(&mut self, node: &Node) -> (Vec<Located<String>>, Option<Vec<Located<String>>>) {
        if !matches!(node.content, Content::Map(_)) {
            return (self.names("`key`", node).unwrap_or_default(), None);
        }
        let Some(mut fields) = Fields::of(node, "`key`", &mut self.problems) else {
            return (Vec::new(), None);
        };
        let old = fields.required("old", &mut self.problems);
        let old = old.and_then(|node| self.names("the old key", node));
        let new = fields
            .optional("new")
            .and_then(|node| self.names("the new key", node));
        fields.finish(&mut self.problems);
        (old.unwrap_or_default(), new)
    }

    fn history(&mut self, node: &Node) -> Option<History> {
        if let Some(word) = node.text() {
            return match word {
                "all" => Some(History::All),
                "none" => Some(History::None),
                _ => {
                    let message = format!("`history` cannot be `{word}`");
                    let problem = Problem::error(Code::VALUE_INVALID, message);
                    let hint = match nearest(word, &["all", "none"]) {
                        Some(near) => format!("Did you mean `{near}`?"),
                        None => "Use `all`, `none` or `{since: {field: .., value: ..}}`.".into(),
                    };
                    self.problems
                        .push(problem.place(Some(node.place)).hint(hint));
                    None
                }
            };
        }
        let mut fields = Fields::of(node, "`history`", &mut self.problems)?;
        let since = fields.required("since", &mut self.problems);
        fields.finish(&mut self.problems);
        let mut fields = Fields::of(since?, "`since`", &mut self.problems)?;
        let field = fields.required("field", &mut self.problems);
        let field = field.and_then(|node| self.name("`field`", node));
        let value = fields.required("value", &mut self.problems);
        let bound = value.and_then(|node| self.bound(node));
        fields.finish(&mut self.problems);
        Some(History::Since {
            field: field?.value,
            bound: bound?,
        })
    }

    fn bound(&mut self, node: &Node) -> Option<Bound> {
        let name = self.name("`value`", node)?.value;
        Some(match node.content {
            Content::Plain(_) => Bound::Plain(name),
            Content::Quoted(_) | Content::Null | Content::List(_) | Content::Map(_) => {
                Bound::Quoted(name)
            }
        })
    }

    fn poison(&mut self, node: &Node, topics: bool) -> Option<Poison> {
        let word = self.text("`letters`", node)?;
        if !topics {
            let message = "`letters` says nothing here: rows of tables that cannot be carried are";
            self.invalid(node.place, format!("{message} always letters"));
            return None;
        }
        match word {
            "stop" => Some(Poison::Stop),
            "park" => Some(Poison::Park),
            _ => {
                self.invalid(
                    node.place,
                    format!("`letters` is `stop` or `park`, not `{word}`"),
                );
                None
            }
        }
    }

    fn gates(&mut self, node: Option<&Node>) -> Gates {
        let mut gates = Gates::default();
        let node = node.filter(|node| node.content != Content::Null);
        let fields = node.and_then(|node| Fields::of(node, "`gates`", &mut self.problems));
        if let Some(mut fields) = fields {
            let events = self.count(&mut fields, "lag_events_max", &settings::LAG_EVENTS);
            gates.lag_events_max = events.unwrap_or(gates.lag_events_max);
            let quiet = self.duration(&mut fields, "writers_quiet", &settings::QUIET);
            gates.writers_quiet = quiet.unwrap_or(gates.writers_quiet);
            let gone = self.duration(&mut fields, "readers_gone", &settings::GONE);
            gates.readers_gone = gone.unwrap_or(gates.readers_gone);
            fields.finish(&mut self.problems);
        }
        gates
    }

    fn limits(&mut self, node: Option<&Node>) -> Limits {
        let mut limits = Limits::default();
        let node = node.filter(|node| node.content != Content::Null);
        let fields = node.and_then(|node| Fields::of(node, "`limits`", &mut self.problems));
        if let Some(mut fields) = fields {
            let share = self.count(&mut fields, "copy_share_percent", &settings::COPY_SHARE);
            limits.copy_share_percent = share.unwrap_or(limits.copy_share_percent);
            limits.rate_rows_per_s =
                self.count(&mut fields, "rate_rows_per_s", &settings::RATE_ROWS);
            let fence = self.duration(&mut fields, "fence_max", &settings::FENCE);
            limits.fence_max = fence.unwrap_or(limits.fence_max);
            let letters = self.count(&mut fields, "letters_max", &settings::LETTERS);
            limits.letters_max = letters.unwrap_or(limits.letters_max);
            fields.finish(&mut self.problems);
        }
        limits
    }
}

#[cfg(test)]
pub(super) mod tests;
