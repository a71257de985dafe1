//! The product's own worker and turns on real files, while several connections write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use contraflow_core::change::history::Reach;
use contraflow_core::clock::Clock;
use contraflow_core::end::{Role, Table};
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::mapping::Mapping;
use contraflow_core::phase::Mode;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::side::Side;
use contraflow_ends::sqlite::Sqlite;
use contraflow_engine::compare::{Beside, Comparer};
use contraflow_engine::context::{Bound, Context, Limits, Pair};
use contraflow_engine::tasks::Stop;
use contraflow_engine::turn::{self, Kept, Turn};
use contraflow_engine::worker::Worker;
use contraflow_testkit::chance::Chance;
use contraflow_testkit::mapping::{mapping, shape};
use rusqlite::Connection;

use super::files::File;
use crate::clock::Real;

pub(super) const OPERATIONS: &str = "- rename: {from: name, to: label}
- remove: {field: n, default: 0}
- add: {field: kind, type: text, default: x}
";
/// Turns that may fail under load before one must succeed.
const TRIES: u32 = 60;

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(Real::start())
}

fn bound(
    file: &File,
    side: Side,
    table: &str,
    mapping: &Mapping,
    clock: &Arc<dyn Clock>,
    probe: &Arc<dyn Probe>,
) -> Bound {
    let shape = mapping.shape(side).clone();
    Bound {
        end: Arc::new(Sqlite::new(
            &file.path,
            Arc::clone(clock),
            Arc::clone(probe),
        )),
        role: Arc::new(Role {
            change: "load".to_owned(),
            side,
            tables: vec![Table {
                name: table.to_owned(),
                native: vec![true; shape.fields.len()],
                declared: vec![None; shape.fields.len()],
                shape,
                created: false,
            }],
        }),
    }
}

pub(super) fn context(old: &File, new: &File) -> Arc<Context> {
    let context = context_with(old, new, Arc::new(Silent));
    for side in Side::BOTH {
        expanded(&context, side);
    }
    context
}

/// The change between two files, not expanded yet.
pub(super) fn context_with(old: &File, new: &File, probe: Arc<dyn Probe>) -> Arc<Context> {
    context_mapped(old, new, probe, OPERATIONS, "id int64")
}

/// The same under another mapping, or with another key.
pub(super) fn context_mapped(
    old: &File,
    new: &File,
    probe: Arc<dyn Probe>,
    operations: &str,
    key: &str,
) -> Arc<Context> {
    let people = shape(&format!("{key}, name text, tag text?, n int64"), &["id"]);
    let (mapping, clock) = (mapping(operations, &people, None), clock());
    let context = Context {
        change: "load".to_owned(),
        mode: Mode::Tables,
        unmappable: Mode::Tables.rules().unmappable,
        old: bound(old, Side::Old, "people", &mapping, &clock, &probe),
        new: bound(new, Side::New, "contacts", &mapping, &clock, &probe),
        mapping: mapping.digest(),
        consumers: Vec::new(),
        pairs: vec![Pair {
            old: "people".to_owned(),
            new: "contacts".to_owned(),
            mapping,
            history: Reach::All,
            keying: None,
        }],
        limits: Limits {
            fence_max: Duration::from_secs(5),
            lag_events_max: 1_000,
            writers_quiet: std::time::Duration::ZERO,
            readers_gone: std::time::Duration::ZERO,
            letters_max: 1_000,
            copy_share_percent: 100,
            backfill_rows_per_s: None,
        },
        clock,
        probe,
    };
    Arc::new(context)
}

pub(super) fn expanded(context: &Context, side: Side) {
    let standing = Standing {
        gate: match side {
            Side::Old => Gate::Open,
            Side::New => Gate::Closed,
        },
        epoch: Epoch::FIRST,
        ledger: "load".to_owned(),
        mapping: context.mapping.clone(),
    };
    let mut structure = context.side(side).structure().unwrap();
    structure.expand(&standing).unwrap();
}

/// One random statement, at whichever side lets it through.
fn write(sides: &[Connection; 2], chance: &mut Chance) {
    let (id, other, tag, n) = (
        chance.below(300),
        chance.below(300),
        chance.below(200),
        chance.below(1_000),
    );
    let kind = chance.below(8);
    for (db, table, text) in [
        (&sides[0], "people", "name"),
        (&sides[1], "contacts", "label"),
    ] {
        let last = if table == "people" {
            format!("{n}")
        } else {
            format!("'k{n}'")
        };
        let row = format!("values ({id}, 't{n}', 'u{tag}', {last})");
        let sql = match kind {
            0 => format!("insert into {table} {row}"),
            1 => format!("insert or replace into {table} {row}"),
            2 => format!("update {table} set {text} = 't{n}' where id = {id}"),
            3 => format!("delete from {table} where id = {id}"),
            4 => format!("update {table} set id = {other} where id = {id}"),
            5 => format!("update or replace {table} set tag = 'u{tag}' where id = {id}"),
            6 => format!(
                "begin immediate; delete from {table} where id = {id};
                 insert into {table} {row}; commit"
            ),
            _ => format!(
                "begin immediate; update {table} set tag = 'between' where id = {id};
                 update {table} set tag = 'u{tag}' where id = {other};
                 update {table} set tag = 'u{n}' where id = {id}; commit"
            ),
        };
        let done = db.execute_batch(&sql);
        if !db.is_autocommit() {
            db.execute_batch("rollback").unwrap();
        }
        match done {
            Err(error) if error.to_string().contains("CF0302") => {}
            _ => return,
        }
    }
}

/// Turns away from a side under load; tries again as often as an operator would.
fn turned(context: &Arc<Context>, losing: Side, epoch: Epoch, mut worker: Worker) -> Worker {
    for _ in 0..TRIES {
        let mut turn = Turn::new(context, losing, false, &worker).unwrap();
        let (_, verdicts) = turn
            .judge(
                context,
                epoch,
                &worker,
                &mut Kept::default(),
                &Stop::default(),
            )
            .unwrap();
        if verdicts.iter().any(|verdict| !verdict.open) {
            continue;
        }
        turn.fence(context, epoch).unwrap();
        let ready = turn
            .drain(context, &worker)
            .and_then(|()| turn.compare(context, &worker, &Stop::default()).map(|_| ()));
        if ready.is_err() {
            context.side(losing).switch().unwrap().lift(epoch).unwrap();
            continue;
        }
        worker.stop();
        turn.seal(context, epoch).unwrap();
        turn::flip(context, losing.other(), epoch.next()).unwrap();
        return started(context, losing.other());
    }
    let failure = worker.take_failure().as_ref().map(ToString::to_string);
    panic!("no turn away from {losing} in {TRIES} tries: {failure:?}");
}

pub(super) fn started(context: &Arc<Context>, by: Side) -> Worker {
    let worker = Worker::start(context, by.direction(), by == Side::Old).unwrap();
    until(&worker, || {
        worker.windows().is_some() && worker.status().lag_events.is_some()
    });
    worker
}

/// Waits for something that a running worker brings about.
pub(super) fn until(worker: &Worker, done: impl Fn() -> bool) {
    while !done() {
        let failure = worker.take_failure().as_ref().map(ToString::to_string);
        assert_eq!(failure, None);
        std::thread::yield_now();
    }
}

#[test]
fn turns_both_ways_under_load_lose_nothing() {
    let old = File::new(
        "create table people (id integer primary key, name text not null, tag text unique,
           n integer not null);
         with recursive i(n) as (select 0 union all select n + 1 from i where n < 2999)
         insert into people select n, 'n' || n, iif(n < 100, 'u' || n, null), n from i",
    );
    let new = File::new(
        "create table contacts (id integer primary key, label text not null, tag text unique,
           kind text not null)",
    );
    let context = context(&old, &new);
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (sides, over, written) = ([old.connect(), new.connect()], &over, &written);
            scope.spawn(move || {
                let mut chance = Chance::new(seed);
                while !over.load(Ordering::SeqCst) {
                    write(&sides, &mut chance);
                    written.fetch_add(1, Ordering::SeqCst);
                    std::thread::park_timeout(Duration::from_micros(300));
                }
            });
        }
        let over = Ended(&over);
        let worker = started(&context, Side::Old);
        until(&worker, || worker.status().history_done);
        let mut epoch = Epoch::FIRST;
        let worker = turned(&context, Side::Old, epoch, worker);
        epoch = epoch.next();
        more(&worker, &written);
        let worker = turned(&context, Side::New, epoch, worker);
        more(&worker, &written);
        drop(over);
        let touched = worker.windows().unwrap().keep();
        let mut clean = false;
        for _ in 0..TRIES {
            let mut comparer = Comparer::open(&context, Side::Old.direction()).unwrap();
            let found = comparer.full(Beside {
                worker: &worker,
                touched: &touched,
                stop: &Stop::default(),
            });
            let found = found.unwrap();
            let letters = turn::letters(&context, Side::Old.direction()).unwrap();
            clean = found.is_clean() && letters == 0 && found.compared > 2_000;
            if clean {
                break;
            }
        }
        assert!(clean, "both sides agree");
    });
}

/// Lets the writers go on for a while.
fn more(worker: &Worker, written: &AtomicU64) {
    let goal = written.load(Ordering::SeqCst) + 300;
    until(worker, || written.load(Ordering::SeqCst) >= goal);
}

/// Ends the writers, whatever happens to the test.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
