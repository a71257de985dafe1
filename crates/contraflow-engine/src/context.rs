//! What a change needs at run time: checked, bound to its ends, handed to every loop.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::consumers::Consumer;
use contraflow_core::change::history::Reach;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::{
    Apply, End, Feed, Late, Lookup, Readers, Role, Scan, Structure, Switch,
};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Rule;
use contraflow_core::log::{Keys, Partitioner};
use contraflow_core::mapping::Mapping;
use contraflow_core::phase::{Mode, Unmappable};
use contraflow_core::probe::Probe;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;

/// A change at run time.
pub struct Context {
    /// The change's name.
    pub change: String,
    /// The kind of dataflow.
    pub mode: Mode,
    /// Its pairs, in order.
    pub pairs: Vec<Pair>,
    /// Who is known to read the old logs.
    pub consumers: Vec<Consumer>,
    /// The old end and its role.
    pub old: Bound,
    /// The new end and its role.
    pub new: Bound,
    /// What becomes of a row that cannot be mapped.
    pub unmappable: Unmappable,
    /// Digest of all mappings.
    pub mapping: String,
    /// Bounds.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Named points.
    pub probe: Arc<dyn Probe>,
}

/// One pair at run time.
pub struct Pair {
    /// The old table.
    pub old: String,
    /// The new table.
    pub new: String,
    /// How one maps to the other.
    pub mapping: Mapping,
    /// Which rows from before the change are copied, and which the new table may lack.
    pub history: Reach,
    /// What is known of the keys of records, in logs.
    pub keying: Option<Keying>,
}

/// The keys of a pair of logs.
pub struct Keying {
    /// How they are carried; `None` as they are.
    pub keys: Option<Keys>,
    /// How producers choose a key's partition, if somebody said so.
    pub partitioner: Option<Partitioner>,
    /// How many there are.
    pub partitions: usize,
}

/// An end with its role.
pub struct Bound {
    /// The end.
    pub end: Arc<dyn End>,
    /// Its role.
    pub role: Arc<Role>,
}

/// Bounds of a change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time for which writers may be refused in a turn.
    pub fence_max: Duration,
    /// Events behind which a turn does not begin.
    pub lag_events_max: u64,
    /// For how long nothing may have been written before writers are taken for stopped.
    pub writers_quiet: Duration,
    /// For how long nobody must have read the old logs before they are taken down.
    pub readers_gone: Duration,
    /// Letters at which the change is held instead of collecting more.
    pub letters_max: u64,
    /// Rows per second that a backfill reads at most, if any.
    pub backfill_rows_per_s: Option<u64>,
    /// The share of its time that a reader of history reads, in percent.
    pub copy_share_percent: u64,
}

impl Limits {
    /// Whether readers of history never rest.
    #[must_use]
    pub fn copies_at_full_speed(&self) -> bool {
        self.copy_share_percent >= 100
    }
}

impl Context {
    /// The end of a side, with its role.
    #[must_use]
    pub fn side(&self, side: Side) -> &Bound {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// A pair.
    #[must_use]
    pub fn pair(&self, pair: PairId) -> &Pair {
        &self.pairs[usize::from(pair.0)]
    }

    /// All pair ids.
    pub fn pair_ids(&self) -> impl Iterator<Item = PairId> + use<> {
        self.old
            .role
            .pairs()
            .map(|(pair, _)| pair)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// How many of a rule's findings a gate lets pass.
    #[must_use]
    pub fn allowed(&self, rule: Rule) -> u64 {
        match rule {
            Rule::Lag => self.limits.lag_events_max,
            Rule::Compare
            | Rule::Letters
            | Rule::Laws
            | Rule::Keys
            | Rule::ForeignKeys
            | Rule::Users
            | Rule::Writers => 0,
        }
    }
}

impl Bound {
    /// The feed face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn feed(&self) -> Result<Box<dyn Feed>> {
        self.end.feed(&self.role).ok_or_else(|| self.lacks("feed"))
    }

    /// The scan face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn scan(&self) -> Result<Box<dyn Scan>> {
        self.end.scan(&self.role).ok_or_else(|| self.lacks("scan"))
    }

    /// The apply face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn apply(&self) -> Result<Box<dyn Apply>> {
        self.end
            .apply(&self.role)
            .ok_or_else(|| self.lacks("apply"))
    }

    /// The lookup face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn lookup(&self) -> Result<Box<dyn Lookup>> {
        self.end
            .lookup(&self.role)
            .ok_or_else(|| self.lacks("lookup"))
    }

    /// The structure face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn structure(&self) -> Result<Box<dyn Structure>> {
        self.end
            .structure(&self.role)
            .ok_or_else(|| self.lacks("structure"))
    }

    /// The face of late writes.
    ///
    /// # Errors
    /// When the end has none.
    pub fn late(&self) -> Result<Box<dyn Late>> {
        self.end.late(&self.role).ok_or_else(|| self.lacks("late"))
    }

    /// The readers face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn readers(&self) -> Result<Box<dyn Readers>> {
        self.end
            .readers(&self.role)
            .ok_or_else(|| self.lacks("readers"))
    }

    /// The switch face.
    ///
    /// # Errors
    /// When the end has none.
    pub fn switch(&self) -> Result<Box<dyn Switch>> {
        self.end
            .switch(&self.role)
            .ok_or_else(|| self.lacks("switch"))
    }

    fn lacks(&self, face: &str) -> Error {
        let message = format!("the {} end has no `{face}` face", self.role.side);
        Error::new(Kind::Precondition, Code::END_SETTING, message).at(self.role.side)
    }
}
