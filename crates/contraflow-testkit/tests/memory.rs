//! The end in memory passes the suite of the real ones.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::end::End;
use contraflow_core::probe::Silent;
use contraflow_core::record::Row;
use contraflow_core::side::Side;
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::conformance::{self, Fixture, Refused, Subject, TABLE, Write, items};
use contraflow_testkit::memory::{Memory, Style};

struct Fresh(Style);

struct Tried {
    memory: Memory,
    clock: Arc<SimClock>,
}

impl Fixture for Fresh {
    fn fresh(&self, _side: Side) -> Box<dyn Subject> {
        let clock = Arc::new(SimClock::default());
        let memory = Memory::new(self.0, Arc::<SimClock>::clone(&clock), Arc::new(Silent));
        memory.create_table(TABLE, &items(), &[&["tag"]]);
        Box::new(Tried { memory, clock })
    }
}

impl Subject for Tried {
    fn end(&self) -> Arc<dyn End> {
        Arc::new(self.memory.clone())
    }

    fn transact(&self, writes: &[Write]) -> Result<(), Refused> {
        self.memory.application().transact(TABLE, writes)
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.memory.rows(TABLE).into_iter();
        rows.map(|(_, image)| image.row).collect()
    }

    fn declaration(&self) -> String {
        self.memory.declaration()
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

#[test]
fn a_log_passes_the_suite() {
    conformance::run(&Fresh(Style::Log), &[]);
}

#[test]
fn a_journal_passes_the_suite() {
    conformance::run(&Fresh(Style::Journal), &[]);
}
