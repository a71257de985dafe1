//! The seeded simulation and its negative controls on real files.
//!
//! SQLite makes a commit durable and visible in one instant, so [`Mutant::NoBarrier`] breaks no
//! rule here; the simulation in memory catches it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contraflow_core::end::{End, Most, Role, Span, Table};
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::shape::Shape;
use contraflow_core::side::{Direction, Side};
use contraflow_ends::sqlite::Sqlite;
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::conformance::{Refused, Write};
use contraflow_testkit::mutant::Mutant;
use contraflow_testkit::sim::{self, Ground, Schedule, Store};
use rusqlite::OptionalExtension;

use super::files::{File, transact};

/// Schedules on real files: each takes as long as hundreds in memory.
const SEEDS: u64 = 60;
/// Schedules within which a mutant must be caught.
const SEEDS_MUTANT: u64 = 300;

struct OnFiles;

struct Stored {
    file: Mutex<File>,
    shape: Shape,
    side: Side,
}

impl Ground for OnFiles {
    fn store(&self, _schedule: &Schedule, table: &str, shape: &Shape) -> Arc<dyn Store> {
        let (script, side) = match table {
            "people" => (
                "create table people (id integer primary key, name text not null,
                   tag text unique, n integer not null)",
                Side::Old,
            ),
            _ => (
                "create table contacts (id integer primary key, label text not null,
                   tag text unique, kind text not null)",
                Side::New,
            ),
        };
        Arc::new(Stored {
            file: Mutex::new(File::new(script)),
            shape: shape.clone(),
            side,
        })
    }
}

impl Stored {
    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Stored {
    fn end(&self, clock: Arc<SimClock>, probe: Arc<dyn Probe>) -> Arc<dyn End> {
        Arc::new(Sqlite::new(&self.file().path, clock, probe))
    }

    fn transact(&self, table: &str, writes: &[Write]) -> Result<(), Refused> {
        transact(&self.file().db, table, &self.shape, writes)
    }

    fn rows(&self, table: &str) -> Vec<(Key, Image)> {
        let role = Arc::new(Role {
            change: "sim".to_owned(),
            side: self.side,
            tables: vec![Table {
                name: table.to_owned(),
                shape: self.shape.clone(),
                native: vec![true; self.shape.fields.len()],
                declared: vec![None; self.shape.fields.len()],
                created: false,
            }],
        });
        let most = Most {
            rows: u64::MAX,
            bytes: u64::MAX,
        };
        let end = self.end(Arc::new(SimClock::default()), Arc::new(Silent));
        let exists = "select exists (select 1 from sqlite_schema where name like '_contraflow_%')";
        if !self.file().one::<bool>(exists) {
            return self.file().plain_rows(table, &self.shape);
        }
        let mut scan = end.scan(&role).unwrap();
        scan.read(&Span::whole(PairId(0)), most, &Position::new([]))
            .unwrap()
            .rows
    }

    fn commits(&self) -> u64 {
        self.file().one("pragma data_version")
    }

    fn lane(&self, lane: LaneId, direction: Direction) -> Option<(u64, u64)> {
        let sql = format!(
            "select token, sequence from \"_contraflow_sim_{}_lane\"
             where direction = ?1 and lane = ?2",
            self.side
        );
        let of = rusqlite::params![direction.name(), lane.0];
        let found = self
            .file()
            .db
            .query_row(&sql, of, |row| Ok((row.get(0)?, row.get(1)?)));
        found.optional().unwrap()
    }
}

#[test]
fn seeds_hold_on_files() {
    for seed in sim::seeds(0..SEEDS) {
        if let Err(failure) = sim::run(&OnFiles, seed, None) {
            panic!("{failure}");
        }
    }
}

fn caught(mutant: Mutant) {
    let caught = (0..SEEDS_MUTANT).any(|seed| sim::fails(&OnFiles, seed, Some(mutant)));
    assert!(caught, "{mutant:?} was not noticed");
}

#[test]
fn a_position_after_the_rows_is_noticed() {
    caught(Mutant::LatePosition);
}

#[test]
fn a_checkpoint_outside_the_transaction_is_noticed() {
    caught(Mutant::SeparateCheckpoint);
}

#[test]
fn a_lease_that_nobody_looks_at_is_noticed() {
    caught(Mutant::NoFencing);
}

#[test]
fn a_chunk_that_is_written_blindly_is_noticed() {
    caught(Mutant::BlindChunk);
}
