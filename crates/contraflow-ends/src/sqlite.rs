//! SQLite: a key-and-operation journal written by triggers, rows re-read by key.
//!
//! One file has one writer at a time, so the journal's sequence is the order of commits, a read
//! transaction's highest sequence is the exact position of what it sees, and a flag set and reset
//! inside one write transaction hides our own writes from our own triggers exactly. Nothing here
//! attaches one file to another: atomic commit across attached files does not exist in WAL mode.

mod apply;
mod codec;
mod connection;
mod feed;
mod inspect;
mod names;
mod preflight;
mod references;
mod rows;
mod scan;
mod statements;
mod structure;
mod switch;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use contraflow_core::clock::Clock;
use contraflow_core::end::{Apply, End, Feed, Inspected, Lookup, Role, Scan, Structure, Switch};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Probe;

pub use connection::{create_folder, failure};

/// A SQLite file as an end.
pub struct Sqlite {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl Sqlite {
    /// An end at `path`. The file is opened by each face when it is first used.
    #[must_use]
    pub fn new(path: &Path, clock: Arc<dyn Clock>, probe: Arc<dyn Probe>) -> Sqlite {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Sqlite { path, clock, probe }
    }

    fn context(&self, role: &Arc<Role>) -> Context {
        Context {
            path: self.path.clone(),
            role: Arc::clone(role),
            names: names::Names::of(role),
            clock: Arc::clone(&self.clock),
            probe: Arc::clone(&self.probe),
        }
    }
}

/// What every face of one end shares.
#[derive(Clone)]
struct Context {
    path: PathBuf,
    role: Arc<Role>,
    names: names::Names,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl End for Sqlite {
    fn address(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn engine(&self) -> &'static str {
        "sqlite"
    }

    fn inspect(&self, table: &str, key: &[String]) -> Result<Option<Inspected>> {
        if !self.path.exists() {
            return Ok(None);
        }
        inspect::table(&connection::reader(&self.path)?, table, key)
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        preflight::check(&self.path, role)
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        feed::sequence(at) >= feed::sequence(goal)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        Some(Box::new(feed::JournalFeed::new(self.context(role))))
    }

    fn scan(&self, role: &Arc<Role>) -> Option<Box<dyn Scan>> {
        Some(Box::new(scan::KeyScan::new(self.context(role))))
    }

    fn apply(&self, role: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(apply::Writer::new(self.context(role))))
    }

    fn lookup(&self, role: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        Some(Box::new(scan::KeyScan::new(self.context(role))))
    }

    fn structure(&self, role: &Arc<Role>) -> Option<Box<dyn Structure>> {
        Some(Box::new(structure::Tables::new(self.context(role))))
    }

    fn switch(&self, role: &Arc<Role>) -> Option<Box<dyn Switch>> {
        Some(Box::new(switch::GuardRow::new(self.context(role))))
    }
}
