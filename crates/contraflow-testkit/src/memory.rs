//! An end in memory, with everything a database has that makes carrying hard.
//!
//! A committed transaction is **durable** (in the log, so that the feed hands it out) before it is
//! **visible** to reads, as on PostgreSQL and MySQL; a test decides when it becomes visible. Locks
//! are kept until then, so a transaction that touches the same row or unique value forces it. Own
//! writes come back in the feed and are marked as an echo. Unique values, the guard and its
//! deadline, epochs, lanes, letters, chunks and complements are as the real ends have them.

mod application;
mod apply;
mod feed;
mod order;
mod scan;
mod state;
mod structure;
mod switch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contraflow_core::clock::Clock;
use contraflow_core::end::{Apply, End, Feed, Inspected, Lookup, Role, Scan, Structure, Switch};
use contraflow_core::error::Result;
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Probe;
use contraflow_core::record::{Image, Key};
use contraflow_core::shape::Shape;
use contraflow_core::side::Direction;

pub use application::{Application, Refused, Write};
use state::State;

/// What kind of feed the end has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A log of images: each event shows its row as it was then. Reads lag behind it.
    #[default]
    Log,
    /// A journal of keys: rows are read again, so an image may be newer than its event. Every
    /// commit is visible at once.
    Journal,
}

/// An end in memory. Clones share what it holds.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    style: Style,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl Memory {
    /// An end without tables.
    #[must_use]
    pub fn new(style: Style, clock: Arc<dyn Clock>, probe: Arc<dyn Probe>) -> Memory {
        Memory {
            state: Arc::default(),
            style,
            clock,
            probe,
        }
    }

    /// The same end as another process sees it, with a clock and a probe of its own.
    #[must_use]
    pub fn seen_by(&self, clock: Arc<dyn Clock>, probe: Arc<dyn Probe>) -> Memory {
        Memory {
            clock,
            probe,
            ..self.clone()
        }
    }

    /// Creates a table. Each entry of `unique` names fields whose values no two rows share.
    ///
    /// # Panics
    /// When a name in `unique` is not a field.
    pub fn create_table(&self, name: &str, shape: &Shape, unique: &[&[&str]]) {
        let place = |field: &&str| shape.index(field).expect("unique values are of fields");
        let unique = unique.iter().map(|set| set.iter().map(place).collect());
        self.lock().create(name, shape, unique.collect());
    }

    /// A writer that knows nothing of any change.
    #[must_use]
    pub fn application(&self) -> Application {
        Application::new(self.clone())
    }

    /// Everything a table holds, durable, in the order of its keys.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<(Key, Image)> {
        self.lock().durable_rows(table)
    }

    /// How many transactions are durable and not visible.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// Makes one of the pending transactions visible.
    pub fn reveal(&self, place: usize) {
        let mut state = self.lock();
        if place < state.pending.len() {
            state.reveal(place);
        }
    }

    /// The token and the sequence of a lane as they stand.
    #[must_use]
    pub fn lane(&self, lane: LaneId, direction: Direction) -> Option<(u64, u64)> {
        let state = self.lock();
        let lane = state.book.as_ref()?.lanes.get(&(direction, lane))?;
        Some((lane.token, lane.sequence))
    }

    /// How many transactions were committed here, by whomever.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Everything that is there, bookkeeping included, as text: for telling whether a step left
    /// the end as it was. Rows are not in it.
    #[must_use]
    pub fn declaration(&self) -> String {
        self.lock().declaration()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn face(&self, role: &Arc<Role>) -> Face {
        Face {
            memory: self.clone(),
            role: Arc::clone(role),
        }
    }
}

/// What every face of one end shares.
#[derive(Clone)]
struct Face {
    memory: Memory,
    role: Arc<Role>,
}

/// Positions count events of the log.
fn position(sequence: u64) -> Position {
    Position::new(sequence.to_be_bytes())
}

/// The count in a position; a foreign one is before everything.
fn sequence(position: &Position) -> u64 {
    position.as_bytes().try_into().map_or(0, u64::from_be_bytes)
}

impl End for Memory {
    fn address(&self) -> String {
        "memory:".to_owned()
    }

    fn engine(&self) -> &'static str {
        "memory"
    }

    fn inspect(&self, table: &str, key: &[String]) -> Result<Option<Inspected>> {
        Ok(self.lock().inspect(table, key))
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        Ok(structure::check(&self.lock(), role))
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        sequence(at) >= sequence(goal)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        Some(Box::new(feed::LogFeed::new(self.face(role))))
    }

    fn scan(&self, role: &Arc<Role>) -> Option<Box<dyn Scan>> {
        Some(Box::new(scan::Reader(self.face(role))))
    }

    fn apply(&self, role: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(apply::Writer(self.face(role))))
    }

    fn lookup(&self, role: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        Some(Box::new(scan::Reader(self.face(role))))
    }

    fn structure(&self, role: &Arc<Role>) -> Option<Box<dyn Structure>> {
        Some(Box::new(structure::Tables(self.face(role))))
    }

    fn switch(&self, role: &Arc<Role>) -> Option<Box<dyn Switch>> {
        Some(Box::new(switch::Guard(self.face(role))))
    }
}
