//! What the log has, what it does not have, and what must stop a feed.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Span, Start};
use contraflow_core::error::{Error, Kind};
use contraflow_core::lease::Epoch;
use contraflow_core::position::Position;
use contraflow_core::preflight::problems;
use contraflow_core::record::Op;
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use contraflow_testkit::conformance::Subject;

use super::between::{Between, offer, settle};
use super::carried::{Carried, MOST, PAIR, events, put};
use crate::one_table::one_table;

use super::server::database;

const TABLE: &str = "create table t (id int primary key, v text, large text)";

fn old() -> Carried {
    Carried::new(TABLE, Side::Old)
}

/// Reads on until something stops it.
pub(super) fn stopped(feed: &mut dyn Feed) -> Error {
    for _ in 0..20_000 {
        match feed.next(100) {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    panic!("the feed goes on");
}

#[test]
fn a_value_that_was_not_written_is_not_null() {
    // Too large to stay in the row: the update below does not log it again.
    let old = Carried::new(
        "create table t (id int primary key, v text, large text);
         alter table t alter column large set storage external;
         insert into t select 1, 'a', string_agg(md5(n::text), '') from generate_series(1, 500) n",
        Side::Old,
    );
    let mut feed = old.feed();
    old.database.run("update t set v = 'b' where id = 1");
    let event = events(feed.as_mut(), 1).remove(0);
    let row = event.image.unwrap().row.0;
    assert_eq!(row[1], Value::Text("b".to_owned()));
    let Value::Text(large) = &row[2] else {
        panic!("the large value is {:?}", row[2]);
    };
    assert_eq!(large.len(), 16_000);
}

#[test]
fn a_key_that_moves_goes_and_comes() {
    let old = old();
    old.database
        .run("insert into t values (1, 'a', 'x'), (2, 'b', 'y')");
    let mut feed = old.feed();
    events(feed.as_mut(), 2);
    old.database.run(
        "begin; update t set id = 3 where id = 1; update t set id = 1 where id = 2;
         update t set id = 2 where id = 3; commit",
    );
    let mut found: Vec<(Value, Option<Value>)> = events(feed.as_mut(), 3)
        .into_iter()
        .map(|event| {
            let value = event.image.map(|image| image.row.0[1].clone());
            (event.key.0[0].clone(), value)
        })
        .collect();
    found.sort_by_key(|(key, _)| match key {
        Value::Int(key) => *key,
        _ => 0,
    });
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let expected = [
        (Value::Int(1), text("b")),
        (Value::Int(2), text("a")),
        (Value::Int(3), None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_transaction_larger_than_a_batch_goes_on_where_it_was() {
    let old = old();
    let mut feed = old.feed();
    old.database
        .run("insert into t select n, 'v', null from generate_series(1, 1000) n");
    let first = loop {
        let batch = feed.next(100).unwrap();
        if !batch.events.is_empty() {
            break batch;
        }
    };
    let taken = first.events.len();
    assert!(taken < 1_000, "{taken} at once");
    feed.confirm(&first.through).unwrap();
    drop(feed);
    let mut again = old.feed();
    again.open(&Start::After(first.through)).unwrap();
    let rest = events(again.as_mut(), 1_000 - taken);
    assert_eq!(rest.len(), 1_000 - taken);
    assert!(rest.iter().all(|event| event.op == Op::Put));
}

#[test]
fn a_truncation_holds() {
    let old = old();
    old.database.run("insert into t values (1, 'a', 'x')");
    let mut feed = old.feed();
    events(feed.as_mut(), 1);
    old.database.run("truncate t");
    let error = stopped(feed.as_mut());
    assert_eq!(
        (error.code, error.kind),
        (Code::TABLE_TRUNCATED, Kind::Hold)
    );
}

/// The declaration is what it was, the rows are not, and the log does not tell.
#[test]
fn a_table_that_was_written_anew_holds_once() {
    let old = old();
    old.database.run("insert into t values (1, 'a', 'x')");
    let mut feed = old.feed();
    events(feed.as_mut(), 1);
    old.database
        .run("alter table t alter column v type text using upper(v)");
    let fenced = old.switch().fence(Epoch::FIRST, Duration::from_secs(5));
    let error = fenced.unwrap_err();
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
    assert!(error.to_string().contains("written anew"), "{error}");
    // Whoever goes on has heard it.
    old.database.run("insert into t values (2, 'b', 'y')");
    events(feed.as_mut(), 1);
    old.database.run(
        "alter table t alter column v type text using lower(v); insert into t values (3, 'c', 'z')",
    );
    let error = stopped(feed.as_mut());
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
    assert!(error.to_string().contains("written anew"), "{error}");
    let through = feed.received();
    feed.open(&Start::After(through)).unwrap();
    assert_eq!(events(feed.as_mut(), 1).len(), 1);
}

#[test]
fn an_altered_table_holds() {
    let old = old();
    old.database.run("insert into t values (1, 'a', 'x')");
    let mut feed = old.feed();
    events(feed.as_mut(), 1);
    old.database
        .run("alter table t add column more int; insert into t values (2, 'b', 'y', 3)");
    let error = stopped(feed.as_mut());
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
}

#[test]
fn a_slot_that_is_gone_holds_and_is_never_made_again() {
    let old = old();
    old.database.run(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots
              where database = current_database()",
    );
    let standing = || {
        old.database
            .one("select count(*)::text from contraflow.standing")
    };
    assert_eq!(standing(), "1");
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| old.feed()));
    assert!(error.is_err(), "the feed opens without its slot");
    let slots = "select count(*)::text from pg_replication_slots
                 where database = current_database()";
    assert_eq!(old.database.one(slots), "0");
}

/// Somebody else made a slot of the same name after ours was dropped: what lies between is lost.
#[test]
fn a_slot_that_was_made_again_is_ahead_of_the_checkpoint() {
    let old = old();
    let mut feed = old.feed();
    old.database.run("insert into t values (1, 'a', 'x')");
    events(feed.as_mut(), 1);
    let through = feed.received();
    drop(feed);
    let name = old.database.one(
        "select slot_name::text from pg_replication_slots where database = current_database()",
    );
    old.database.run(&format!(
        "select pg_terminate_backend(active_pid) from pg_replication_slots
         where slot_name = '{name}' and active_pid is not null"
    ));
    let dropped = |sql: &str| loop {
        let mut app = old.database.connect();
        if app.batch_execute(sql).is_ok() {
            return;
        }
    };
    dropped(&format!("select pg_drop_replication_slot('{name}')"));
    old.database.run("insert into t values (2, 'lost', 'x')");
    old.database.run(&format!(
        "select pg_create_logical_replication_slot('{name}', 'pgoutput')"
    ));
    let mut feed = old.feed();
    let error = feed.open(&Start::After(through)).unwrap_err();
    assert_eq!((error.code, error.kind), (Code::FEED_LOST, Kind::Hold));
}

/// Under another name its writes look like those of a table that is none of ours.
#[test]
fn a_table_that_was_renamed_and_renamed_back_holds() {
    let old = old();
    let mut feed = old.feed();
    old.database.run(
        "alter table t rename to x; insert into x values (1, 'a', 'x'); alter table x rename to t",
    );
    let error = stopped(feed.as_mut());
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
}

/// It looks the same, and nothing of it is in the log any more.
#[test]
fn a_table_that_was_dropped_and_made_again_holds() {
    let old = old();
    let mut feed = old.feed();
    assert!(feed.head().is_ok());
    old.database.run(&format!("drop table t; {TABLE}"));
    let error = feed.head().unwrap_err();
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
}

/// A label that is gone from the catalogue leaves a row that nobody can read: `t` with 20 rows, of
/// which one has it.
const UNREADABLE: &str = "create type mood as enum ('fine', 'gone');
    create table t (id int primary key, mood mood);
    insert into t select n, (case n when 13 then 'gone' else 'fine' end)::mood
      from generate_series(1, 20) n";
const LOSE: &str = "create table kept as select * from pg_enum where enumlabel = 'gone';
    delete from pg_enum where enumlabel = 'gone'";
const FIND: &str = "insert into pg_enum select * from kept";

/// An error in the middle of a range is no end of it.
#[test]
fn a_row_that_cannot_be_read_stops_its_range_and_is_not_skipped() {
    let old = Carried::new(UNREADABLE, Side::Old);
    let (mut scan, at) = (old.scan(), Position::new([]));
    old.database.run(LOSE);
    for _ in 0..2 {
        let error = scan.read(&Span::whole(PAIR), MOST, &at).unwrap_err();
        assert_eq!((error.code, error.kind), (Code::END_FAILED, Kind::Hold));
    }
    let mut lookup = old.end.lookup(&old.role).unwrap();
    let keys = [12, 13, 14].map(|id| put(id, "").key);
    assert!(lookup.get(PAIR, &keys, &at).is_err());
    old.database.run(FIND);
    assert_eq!(
        scan.read(&Span::whole(PAIR), MOST, &at).unwrap().rows.len(),
        20
    );
    assert_eq!(lookup.get(PAIR, &keys, &at).unwrap().rows.len(), 3);
}

/// It is computed at each end and never in the log: no row can be found by it.
#[test]
fn a_generated_column_is_no_key_and_is_computed_at_each_end() {
    let table = "create table t (id int not null, twice int generated always as (id * 2) stored,
        v text, primary key (id, twice))";
    let alone =
        "create table t (id int, twice int generated always as (id * 2) stored primary key)";
    for (script, key) in [(table, &["id", "twice"][..]), (alone, &["twice"])] {
        let database = database(script);
        let end = database.end();
        let problems = problems(&end.check(&one_table(&*end, key, Side::Old)).unwrap());
        let refused = problems
            .iter()
            .any(|problem| problem.code == Code::KEY_UNUSABLE);
        assert!(refused, "{key:?}: {problems:?}");
    }
    let beside = "create table t (id int primary key, v text,
        long int generated always as (length(v)) stored)";
    let between = Between::new(beside, "insert into t values (1, 'copied')");
    let mut flow = between.flow(Direction::Forward);
    let read = between.read(&flow, (0, None), 100);
    offer(&mut flow, read);
    settle(&mut flow).unwrap();
    between
        .old
        .database
        .run("insert into t values (2, 'followed'); update t set v = v || '.'");
    settle(&mut flow).unwrap();
    assert!(between.alike());
    assert_eq!(
        between.new.database.one("select sum(long)::text from t"),
        "16"
    );
}

/// Stored out of line and not written again, it is told with the old row only.
#[test]
fn a_key_that_is_stored_out_of_line_is_found() {
    let old = Carried::new(
        "create table t (id text primary key, v text, large text);
         alter table t alter column id set storage external;
         alter table t set (toast_tuple_target = 128);
         insert into t values (repeat('k', 2500), 'a', 'x')",
        Side::Old,
    );
    let mut feed = old.feed();
    old.database.run("update t set v = 'b'");
    let event = events(feed.as_mut(), 1).remove(0);
    assert_eq!(event.key.0[0], Value::Text("k".repeat(2_500)));
    assert_eq!(event.image.unwrap().row.0[1], Value::Text("b".to_owned()));
}

#[test]
fn tables_that_cannot_be_carried_whole_are_refused() {
    let refused = |script: &str| -> String {
        let database = database(script);
        let end = database.end();
        let looked = end.check(&one_table(&*end, &["id"], Side::Old)).unwrap();
        let problems = problems(&looked);
        let said = problems.iter().map(|problem| format!("{problem:?}"));
        said.collect::<Vec<_>>().join("\n")
    };
    let told = refused("create table t (id int primary key); create table u () inherits (t)");
    assert!(told.contains("inherits"), "{told}");
    let told = refused("create extension citext; create table t (id citext primary key)");
    assert!(told.contains("whose order is its own"), "{told}");
    let always = "create table t (id int primary key, n int generated always as identity)";
    let told = refused(always);
    assert!(told.contains("set generated by default"), "{told}");
    let afar = "create sequence s; create table t (id int primary key default nextval('s'))";
    let told = refused(afar);
    assert!(told.contains("does not own"), "{told}");
    assert_eq!(
        refused("create table t (id serial primary key, v text)"),
        ""
    );
    let outside = "create table p (id int primary key); \
                   create table t (id int primary key, p int references p)";
    let told = refused(outside);
    assert!(told.contains("no table of the change"), "{told}");
    let parts = database("create table t (id int primary key) partition by range (id)");
    let error = parts.end().inspect("t", &["id".to_owned()]).unwrap_err();
    assert_eq!(error.code, Code::TABLE_MISSING);
}

/// A session of ours that holds locks of a flip may end at any moment: the flip is done all the
/// same, and one whose answer was lost is not done twice.
#[test]
fn a_flip_whose_session_was_lost_is_done_once() {
    let next = Epoch::FIRST.next();
    let long = Duration::from_secs(60);
    let lost = |new: &Carried| {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity
                   where state = 'idle in transaction' and datname = current_database()";
        new.database.run(sql);
    };
    let gate = "select gate || ' ' || epoch from contraflow.standing";
    let new = Carried::new(TABLE, Side::New);
    new.switch().prepare(next, &[], long).unwrap();
    lost(&new);
    new.switch().flip(next, &[]).unwrap();
    assert_eq!(new.database.one(gate), "open 2");

    let new = Carried::new(TABLE, Side::New);
    new.switch().prepare(next, &[], long).unwrap();
    lost(&new);
    new.switch_again().flip(next, &[]).unwrap();
    new.switch().flip(next, &[]).unwrap();
    assert_eq!(new.database.one(gate), "open 2");
}
