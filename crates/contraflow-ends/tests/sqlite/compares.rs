//! What a compare must never call equal, and what it must not count twice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::Result;
use contraflow_core::gate::{Rule, Verdict};
use contraflow_core::lease::Epoch;
use contraflow_core::probe::Silent;
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;
use contraflow_engine::compare::{Beside, Comparer, Comparison};
use contraflow_engine::context::{Bound, Context};
use contraflow_engine::tasks::Stop;
use contraflow_engine::turn::{self, Kept, Turn};
use contraflow_engine::worker::Worker;
use contraflow_testkit::mutant::Watched;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::files::File;
use super::load::{OPERATIONS, context, context_mapped, context_with, expanded, started, until};

const OLD: &str = "create table people (id integer primary key, name text not null,
    tag text unique, n integer not null);
    insert into people values (1, 'a', null, 1), (2, 'b', null, 2)";
/// It does not take every name.
const NEW: &str = "create table contacts (id integer primary key,
    label text not null check (label <> 'bad'), tag text unique, kind text not null)";

pub(super) fn copied(context: &Arc<Context>) -> Worker {
    let worker = started(context, Side::Old);
    until(&worker, || worker.status().history_done);
    worker
}

fn compared(context: &Context, worker: &Worker) -> Comparison {
    full(context, worker).unwrap()
}

fn refused(context: &Context, worker: &Worker) -> Code {
    full(context, worker).unwrap_err().code
}

fn full(context: &Context, worker: &Worker) -> Result<Comparison> {
    let touched = worker.windows().unwrap().keep();
    let mut comparer = Comparer::open(context, worker.direction).unwrap();
    comparer.full(Beside {
        worker,
        touched: &touched,
        stop: &Stop::default(),
    })
}

/// A connection that writes to the mirror too, as a person with a shell can.
pub(super) fn unguarded(file: &File) -> Connection {
    let db = file.connect();
    // Dropping the triggers would be noticed; a connection that runs none is not.
    let none = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    db.set_db_config(none, false).unwrap();
    db
}

/// A change in which key 2 has a letter: the new end does not take its name.
fn with_a_letter(old: &File, context: &Arc<Context>) -> Worker {
    let worker = copied(context);
    let sql = "update people set name = 'bad' where id = 2";
    old.db.execute_batch(sql).unwrap();
    until(&worker, || {
        turn::letters(context, Direction::Forward).unwrap() == 1
    });
    worker
}

#[test]
fn a_row_without_a_key_is_never_called_equal() {
    let old = File::new(&OLD.replace("id integer primary key", "id text primary key"));
    let new = File::new(&NEW.replace("id integer primary key", "id text primary key"));
    let context = context_mapped(&old, &new, Arc::new(Silent), OPERATIONS, "id text?");
    for side in Side::BOTH {
        expanded(&context, side);
    }
    let worker = copied(&context);
    assert!(compared(&context, &worker).is_clean());
    let old = unguarded(&old);
    // Nothing finds a row without a key again: no compare says anything about such a table.
    let lost = "insert into people values (null, 'lost', null, 3)";
    old.execute_batch(lost).unwrap();
    assert_eq!(refused(&context, &worker), Code::KEY_VALUES);
    let found = "delete from people where id is null";
    old.execute_batch(found).unwrap();
    assert!(compared(&context, &worker).is_clean());
    let new = unguarded(&new);
    let rogue = "insert into contacts values (null, 'extra', null, 'x')";
    new.execute_batch(rogue).unwrap();
    assert_eq!(refused(&context, &worker), Code::KEY_VALUES);
}

fn judged(turn: &mut Turn, context: &Context, worker: &Worker) -> Vec<Verdict> {
    let (kept, stop) = (&mut Kept::default(), Stop::default());
    turn.judge(context, Epoch::FIRST, worker, kept, &stop)
        .unwrap()
        .1
}

#[test]
fn a_flow_that_was_started_anew_fails_the_turn() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let context = context(&old, &new);
    let mut worker = copied(&context);
    let mut turn = Turn::new(&context, Side::Old, false, &worker).unwrap();
    judged(&mut turn, &context, &worker);
    worker.stop();
    let worker = copied(&context);
    // Its windows know of this write, those of the turn do not.
    old.db
        .execute_batch("delete from people where id = 1")
        .unwrap();
    turn.fence(&context, Epoch::FIRST).unwrap();
    let drained = turn.drain(&context, &worker).unwrap_err();
    assert!(drained.to_string().contains("anew"), "{drained}");
    let compared = turn
        .compare(&context, &worker, &Stop::default())
        .unwrap_err();
    assert!(compared.to_string().contains("anew"), "{compared}");
}

/// An end at which something happens after each read of rows.
pub(super) fn watched(bound: Bound, between: impl Fn() + Send + Sync + 'static) -> Bound {
    let watched = Watched::new(bound.end, None, Arc::new(|_, _| None));
    Bound {
        end: Arc::new(watched.between(Arc::new(between))),
        role: bound.role,
    }
}

#[test]
fn a_key_that_comes_and_goes_is_not_called_different() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let plain = context(&old, &new);
    let worker = copied(&plain);
    // Whenever the source is read it lacks the row, and whenever the mirror is read it has it.
    let turns = |sql: &'static str, wanted: i64| {
        let sides = Mutex::new([&old, &new].map(|file| Connection::open(&file.path).unwrap()));
        move || {
            let sides = sides.lock().unwrap();
            sides[0].busy_timeout(Duration::from_secs(10)).unwrap();
            sides[0].execute_batch(sql).unwrap();
            let there = "select count(*) from contacts where id = 7";
            let count = || sides[1].query_row(there, [], |row| row.get::<_, i64>(0));
            while count().unwrap() != wanted {}
        }
    };
    let mut looked = Arc::into_inner(context_with(&old, &new, Arc::new(Silent))).unwrap();
    looked.old = watched(
        looked.old,
        turns("insert into people values (7, 'x', null, 7)", 1),
    );
    looked.new = watched(looked.new, turns("delete from people where id = 7", 0));
    let mut comparer = Comparer::open(&looked, Direction::Forward).unwrap();
    let mut result = Comparison::default();
    let key = [Key(vec![Value::Int(7)])];
    let touched = worker.windows().unwrap().keep();
    let beside = Beside {
        worker: &worker,
        touched: &touched,
        stop: &Stop::default(),
    };
    comparer.keys(PairId(0), &key, beside, &mut result).unwrap();
    assert_eq!((result.diverged, result.unproven), (0, 1));
}

#[test]
fn an_accepted_loss_excuses_its_own_key_and_no_other() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let context = context(&old, &new);
    let worker = with_a_letter(&old, &context);
    // Key 2 is equal by another hand, its letter stands; key 1 is lost.
    unguarded(&new)
        .execute_batch(
            "pragma ignore_check_constraints = on;
             update contacts set label = 'bad' where id = 2;
             delete from contacts where id = 1",
        )
        .unwrap();
    let mut turn = Turn::new(&context, Side::Old, true, &worker).unwrap();
    let verdicts = judged(&mut turn, &context, &worker);
    let compare = verdicts.iter().find(|v| v.rule == Rule::Compare).unwrap();
    assert_eq!((compare.open, compare.count), (false, Some(1)));
}

#[test]
fn rows_given_up_at_a_cutover_do_not_close_the_gates_of_the_new_side() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let context = context(&old, &new);
    let worker = copied(&context);
    let sql = "insert into people values (3, 'bad', null, 3)";
    old.db.execute_batch(sql).unwrap();
    until(&worker, || {
        turn::letters(&context, Direction::Forward).unwrap() == 1
    });
    let mut turn = Turn::new(&context, Side::Old, true, &worker).unwrap();
    let verdicts = judged(&mut turn, &context, &worker);
    assert!(verdicts.iter().all(|verdict| verdict.open), "{verdicts:?}");
    turn.fence(&context, Epoch::FIRST).unwrap();
    turn.drain(&context, &worker).unwrap();
    turn.compare(&context, &worker, &Stop::default()).unwrap();
    drop(worker);
    turn.seal(&context, Epoch::FIRST).unwrap();
    turn::flip(&context, Side::New, Epoch::FIRST.next()).unwrap();
    let worker = started(&context, Side::New);
    let found = compared(&context, &worker);
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(found.given_up, 1);
}
