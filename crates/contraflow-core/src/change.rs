//! The declared change: as typed ([`spec::ChangeSpec`]), and as checked ([`Change`]).
//!
//! A change file becomes a [`Change`] in one way only: [`spec::ChangeSpec::read`], then
//! [`spec::ChangeSpec::check`]. Everything that acts takes a [`Change`].

pub mod node;
pub mod yaml;

pub mod interpolate;
pub mod secret;

pub mod quantity;
pub mod settings;

mod reading;
pub mod spec;

pub mod history;

pub mod cluster;
pub mod format;

pub mod consumers;

mod check;

use std::fmt;
use std::path::{Path, PathBuf};

use self::cluster::Cluster;
use self::consumers::Consumer;
use self::format::{Format, KeySpec, RegistrySpec};
use self::node::Node;
use self::secret::Secret;
use self::settings::{Gates, Limits, Poison};
use self::spec::History;
use crate::error::Place;
use crate::phase::Mode;
use crate::record::PairId;
use crate::side::Side;

/// The JSON Schema of the change file. A test compares it with the reader, key by key.
pub const SCHEMA: &str = include_str!("change/schema.json");

/// A change that can be carried: every check that needs no connection has passed.
#[derive(Clone, Debug)]
pub struct Change {
    name: ChangeName,
    old: Connection,
    new: Connection,
    registry: Option<RegistrySpec>,
    pairs: Vec<Pair>,
    poison: Poison,
    consumers: Vec<Consumer>,
    gates: Gates,
    limits: Limits,
    ledger: Secret<PathBuf>,
}

impl Change {
    /// The name of the change.
    #[must_use]
    pub fn name(&self) -> &ChangeName {
        &self.name
    }

    /// Where the end of that side lives.
    #[must_use]
    pub fn connection(&self, side: Side) -> &Connection {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// The kind of dataflow: that of both ends.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.old.mode()
    }

    /// Where the schemas of payloads are. There is one when a pair has payloads of Avro.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistrySpec> {
        self.registry.as_ref()
    }

    /// The pairs, in the order of the file; at least one. `pairs()[i].id` is `PairId(i)`.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// What becomes of records of topics that cannot be carried.
    #[must_use]
    pub fn poison(&self) -> Poison {
        self.poison
    }

    /// Who is known to read the old topics.
    #[must_use]
    pub fn consumers(&self) -> &[Consumer] {
        &self.consumers
    }

    /// The thresholds of the gates.
    #[must_use]
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// What the change may use at most.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The SQLite file of the ledger.
    #[must_use]
    pub fn ledger(&self) -> &Path {
        self.ledger.expose()
    }
}

/// The name of a change. It becomes part of the names of tables and topics, so it is a lowercase
/// letter followed by lowercase letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeName(String);

impl ChangeName {
    /// The longest name: with our longest prefix and suffix it still fits the 63 bytes that
    /// PostgreSQL keeps of an identifier.
    pub const BYTES_MAX: usize = 40;

    /// Checks a name.
    #[must_use]
    pub fn new(name: &str) -> Option<ChangeName> {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        (starts && name.len() <= Self::BYTES_MAX && name.bytes().all(allowed))
            .then(|| ChangeName(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an end lives. What may be shown of it is its `Display`.
#[derive(Clone, Debug)]
pub enum Connection {
    /// A SQLite database file.
    Sqlite {
        /// The file, relative paths resolved against the directory of the change file.
        path: Secret<PathBuf>,
    },
    /// A PostgreSQL database.
    Postgres {
        /// `postgres://user:password@host:port/database`, or the `key=value` form.
        url: Secret<String>,
    },
    /// Topics of a Kafka cluster.
    Kafka(Box<Cluster>),
}

impl Connection {
    /// The kind of dataflow that ends of this kind have.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Connection::Sqlite { .. } | Connection::Postgres { .. } => Mode::Tables,
            Connection::Kafka(_) => Mode::Topics,
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connection::Sqlite { path } => write!(f, "sqlite:{path}"),
            // The text as typed may hold a password: the driver says where it leads.
            Connection::Postgres { .. } => f.write_str("postgres"),
            Connection::Kafka(cluster) => write!(f, "kafka:{}", cluster.servers),
        }
    }
}

/// One old table and its new one.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Its place in the change.
    pub id: PairId,
    /// The table of the old end.
    pub old: String,
    /// The table of the new end.
    pub new: String,
    /// The key fields of the old table.
    pub key_old: Vec<String>,
    /// The key fields of the new table; `None` when they follow from the mapping.
    pub key_new: Option<Vec<String>>,
    /// What the payloads are, of topics.
    pub format: Option<Format>,
    /// What the keys of records are, of topics; `None` when nobody looks into them.
    pub record_key: Option<KeySpec>,
    /// Which rows from before the change are carried.
    pub history: History,
    /// The operations, unread: `mapping::spec::parse` reads them. `None` is the identity.
    pub mapping: Option<Node>,
    /// Where the pair starts in the change file.
    pub place: Place,
}

impl Pair {
    /// What it is a pair of, in messages.
    #[must_use]
    pub fn thing(&self) -> &'static str {
        match self.format {
            Some(_) => "topic",
            None => "table",
        }
    }

    /// The table on that side.
    #[must_use]
    pub fn table(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}
