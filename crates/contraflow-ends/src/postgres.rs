//! PostgreSQL: logical decoding for the feed, a visibility barrier for every read, upserts by key.
//!
//! The log runs ahead of visibility: see [`visible`]. Both feeds of a change have a slot from
//! expand on, so that nothing is created inside a turn. A fence is a table lock in an open
//! transaction that the server itself ends; a seal is a trigger, created by DDL in that
//! transaction, so that sessions with an older snapshot are refused too.

mod names;

mod connection;
mod patience;
mod pgoutput;
mod place;
mod visible;
mod wire;

mod catalog;
mod codec;
mod inspect;

mod bookkeeping;
mod rows;

mod changes;
mod feed;
mod folded;
mod form;
mod scan;
mod slot;

mod apply;
mod write;

mod statements;
mod structure;
mod switch;

mod preflight;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use contraflow_core::clock::Clock;
use contraflow_core::end::{Apply, End, Feed, Inspected, Lookup, Role, Scan, Structure, Switch};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Probe;

/// A database of a PostgreSQL server as an end.
pub struct Postgres {
    target: connection::Target,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
    shared: Arc<Shared>,
}

/// What the faces of one end know of each other.
#[derive(Default)]
struct Shared {
    unproven: visible::Unproven,
    fence: Mutex<Option<switch::Fence>>,
    opening: Mutex<Option<switch::Opening>>,
    files: Mutex<Option<bookkeeping::Files>>,
    /// Whom the slot waits for was told, or will be soon.
    told: AtomicBool,
}

impl Postgres {
    /// An end at a URL. Each face connects when it is first used.
    #[must_use]
    pub fn new(url: &str, clock: Arc<dyn Clock>, probe: Arc<dyn Probe>) -> Postgres {
        Postgres {
            target: connection::Target::parse(url),
            clock,
            probe,
            shared: Arc::default(),
        }
    }

    fn context(&self, role: &Arc<Role>) -> Context {
        Context {
            names: names::Names::of(role, self.target.database()),
            target: self.target.clone(),
            role: Arc::clone(role),
            clock: Arc::clone(&self.clock),
            probe: Arc::clone(&self.probe),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What every face of one end shares.
#[derive(Clone)]
struct Context {
    target: connection::Target,
    role: Arc<Role>,
    names: names::Names,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
    shared: Arc<Shared>,
}

impl End for Postgres {
    fn address(&self) -> String {
        self.target.address()
    }

    fn engine(&self) -> &'static str {
        "postgres"
    }

    fn inspect(&self, table: &str, key: &[String]) -> Result<Option<Inspected>> {
        inspect::table(&mut connection::connect(&self.target)?, table, key)
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        preflight::check(&self.target, role)
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        place::Place::of(at) >= place::Place::of(goal)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        Some(Box::new(feed::LogFeed::new(self.context(role))))
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
        Some(Box::new(switch::Lock::new(self.context(role))))
    }
}
