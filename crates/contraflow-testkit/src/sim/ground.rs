//! What a simulation stands on: two ends of one kind, and what only a test may know of them.

use std::sync::Arc;

use contraflow_core::clock::Clock;
use contraflow_core::end::End;
use contraflow_core::lease::LaneId;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::record::{Image, Key};
use contraflow_core::shape::Shape;
use contraflow_core::side::Direction;

use super::Schedule;
use crate::clock::SimClock;
use crate::memory::{Memory, Refused, Write};

/// Makes the places where both sides live.
pub trait Ground {
    /// A fresh place with one empty table, whose `tag` is unique.
    fn store(&self, schedule: &Schedule, table: &str, shape: &Shape) -> Arc<dyn Store>;
}

/// A place where one side lives.
pub trait Store: Send + Sync {
    /// The end, as a process of its own opens it.
    fn end(&self, clock: Arc<SimClock>, probe: Arc<dyn Probe>) -> Arc<dyn End>;

    /// One transaction of the application.
    ///
    /// # Errors
    /// When the end refuses; nothing was written then.
    fn transact(&self, table: &str, writes: &[Write]) -> Result<(), Refused>;

    /// Everything the table holds, with what lies beside the rows.
    fn rows(&self, table: &str) -> Vec<(Key, Image)>;

    /// Grows, or changes at least, with every commit.
    fn commits(&self) -> u64;

    /// The token and the sequence of a lane, past the end's own checks.
    fn lane(&self, lane: LaneId, direction: Direction) -> Option<(u64, u64)>;

    /// Transactions that are durable and not visible.
    fn pending(&self) -> usize {
        0
    }

    /// Makes one of them visible.
    fn reveal(&self, _place: usize) {}
}

/// Both sides in memory.
pub struct InMemory;

impl Ground for InMemory {
    fn store(&self, schedule: &Schedule, table: &str, shape: &Shape) -> Arc<dyn Store> {
        let clock = Arc::new(SimClock::default());
        let memory = Memory::new(schedule.style, clock, Arc::new(Silent));
        memory.create_table(table, shape, &[&["tag"]]);
        Arc::new(memory)
    }
}

impl Store for Memory {
    fn end(&self, clock: Arc<SimClock>, probe: Arc<dyn Probe>) -> Arc<dyn End> {
        let clock: Arc<dyn Clock> = clock;
        Arc::new(self.seen_by(clock, probe))
    }

    fn transact(&self, table: &str, writes: &[Write]) -> Result<(), Refused> {
        self.application().transact(table, writes)
    }

    fn rows(&self, table: &str) -> Vec<(Key, Image)> {
        Memory::rows(self, table)
    }

    fn commits(&self) -> u64 {
        Memory::commits(self)
    }

    fn lane(&self, lane: LaneId, direction: Direction) -> Option<(u64, u64)> {
        Memory::lane(self, lane, direction)
    }

    fn pending(&self) -> usize {
        Memory::pending(self)
    }

    fn reveal(&self, place: usize) {
        Memory::reveal(self, place);
    }
}
