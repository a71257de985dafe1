//! The tables of a side, and everything of the change beside them.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::lease::Standing;
use crate::record::PairId;

/// A step whose statements `plan` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create what the change needs.
    Expand,
    /// Refuse writers for a while.
    Fence,
    /// Refuse writers for good.
    Seal,
    /// Accept writers.
    Flip,
    /// Take down everything of the change that is not the data itself.
    Clean,
    /// Take down the table.
    Drop,
}

/// What a change asks of an end, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// What expand and contract lock, and for how long.
    pub declaring: &'static str,
    /// What writing rows locks.
    pub carrying: &'static str,
    /// What writers meet while the end is fenced.
    pub fenced: &'static str,
    /// Rights that all of it needs.
    pub rights: &'static str,
}

/// Somebody who still uses a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who, as the end knows them.
    pub who: String,
    /// How the end knows.
    pub seen: String,
}

/// The tables of a side, and everything of the change beside them.
pub trait Structure: Send {
    /// The exact statements of a step.
    fn statements(&self, step: Step) -> Vec<String>;

    /// What carrying and each step lock here, and what they need, in words for `plan`.
    fn demands(&self) -> Demands;

    /// Creates the tables that the change creates, its bookkeeping, journal and guard. Does
    /// nothing when it was done before under the same standing.
    ///
    /// # Errors
    /// [`crate::code::Code::CARRIED_ELSEWHERE`] under another ledger.
    fn expand(&mut self, standing: &Standing) -> Result<()>;

    /// Takes the bookkeeping down, and the tables too when `tables` says so. Does nothing when it
    /// was done before.
    ///
    /// # Errors
    /// When the end cannot be written.
    fn remove(&mut self, tables: Remove) -> Result<()>;

    /// Who still uses the tables, where the end can see it at one moment; `None` where it cannot.
    /// [`Readers`](super::Readers) of logs are watched instead.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn users(&mut self) -> Result<Option<Vec<User>>> {
        Ok(None)
    }

    /// How many rows point at nothing.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn foreign_key_violations(&mut self) -> Result<u64>;

    /// Rows in a table, exactly.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn count(&mut self, pair: PairId) -> Result<u64>;
}

/// What [`Structure::remove`] takes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remove {
    /// The bookkeeping; every table stays.
    Bookkeeping,
    /// The bookkeeping, and the tables that the change itself created.
    Created,
    /// The bookkeeping, and the tables: contract.
    Tables,
}
