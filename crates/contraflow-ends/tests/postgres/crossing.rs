//! What lies across a confirmed place: transactions that began before it, rows that fail behind it,
//! and a log in which nothing concerns us.

use contraflow_core::code::Code;
use contraflow_core::end::{Apply, Feed, Progress};
use contraflow_core::error::Kind;
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::record::Record;
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use super::carried::{Carried, events, put};

const TABLE: &str = "create table t (id int primary key, v text)";

/// The keys of the next so many events, and the place behind them, which is confirmed.
fn confirmed(feed: &mut dyn Feed, count: usize) -> (Vec<i64>, Position) {
    let key = |value: &Value| match value {
        Value::Int(key) => *key,
        other => panic!("{other:?}"),
    };
    let found = events(feed, count);
    let keys = found.iter().map(|event| key(&event.key.0[0])).collect();
    let through = feed.received();
    feed.confirm(&through).unwrap();
    (keys, through)
}

/// Transactions arrive when they are committed, whatever was confirmed since they began.
#[test]
fn a_transaction_that_began_before_the_confirmed_place_is_not_skipped() {
    let old = Carried::new(TABLE, Side::Old);
    let mut feed = old.feed();
    let [mut first, mut second, mut third] = [1, 2, 3].map(|id| {
        let mut session = old.database.connect();
        let sql = format!("begin; insert into t values ({id}, 'a')");
        session.batch_execute(&sql).unwrap();
        session
    });
    second
        .batch_execute("insert into t values (20, 'b'); commit")
        .unwrap();
    let (keys, through) = confirmed(feed.as_mut(), 2);
    assert_eq!(keys, [2, 20]);
    drop(feed);
    let (mut feed, _) = old.restarted(&through);
    first
        .batch_execute("insert into t values (10, 'b'); commit")
        .unwrap();
    let (keys, through) = confirmed(feed.as_mut(), 2);
    assert_eq!(keys, [1, 10]);
    // Committed while nobody was there, and it began before everything else was confirmed.
    drop(feed);
    third
        .batch_execute("insert into t values (30, 'b'); commit")
        .unwrap();
    old.database.run("insert into t values (40, 'c')");
    let (mut feed, _) = old.restarted(&through);
    let (keys, _) = confirmed(feed.as_mut(), 3);
    assert_eq!(keys, [3, 30, 40]);
}

/// Applies rows as the flow does, and says what came of it and where the checkpoint is then.
fn applied(
    apply: &mut dyn Apply,
    rows: &[i64],
    at: &Position,
) -> (contraflow_core::error::Result<u64>, Option<Position>) {
    let records: Vec<_> = rows.iter().map(|id| put(*id, "v")).collect();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let progress = Progress::Advance {
        through: at,
        seen: at,
    };
    let applied = apply.apply(&records, &[], &progress, &mut lease);
    let checkpoint = apply.checkpoint(Direction::Forward).unwrap();
    (applied.map(|applied| applied.letters), checkpoint)
}

/// Passed with a letter in the same transaction, or not passed at all.
#[test]
fn a_checkpoint_does_not_pass_a_row_that_failed() {
    let new = Carried::new(
        &format!("{TABLE}; alter table t add check (id <> 2)"),
        Side::New,
    );
    let mut apply = new.end.apply(&new.role).unwrap();
    let (first, second) = (Position::new([1]), Position::new([2]));
    let (letters, checkpoint) = applied(&mut *apply, &[1, 2, 3], &first);
    assert_eq!((letters.unwrap(), checkpoint.as_ref()), (1, Some(&first)));
    let stored = apply.letters().unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].letter.source_key, put(2, "v").key);
    // No fault of a row: whoever wrote the checkpoint first would have lost what follows.
    new.database.run(
        "create function broken() returns trigger language plpgsql as
           $$ begin raise exception 'no room' using errcode = '53100'; end $$;
         create trigger breaks before insert on t for each row when (new.id = 5)
           execute function broken(); alter table t enable always trigger breaks",
    );
    let (error, checkpoint) = applied(&mut *apply, &[4, 5, 6], &second);
    let error = error.unwrap_err();
    assert_eq!((error.code, error.kind), (Code::DISK_FULL, Kind::Hold));
    assert_eq!(checkpoint.as_ref(), Some(&first));
    assert_eq!(
        new.database.one("select string_agg(id::text, ' ') from t"),
        "1 3"
    );
    new.database.run("drop trigger breaks on t");
    let (letters, checkpoint) = applied(&mut *apply, &[4, 5, 6], &second);
    assert_eq!((letters.unwrap(), checkpoint.as_ref()), (0, Some(&second)));
}

/// A unique index that is made at the mirror meanwhile takes no row away: whoever is refused is a
/// letter, and the next run holds, because the table is another one now.
#[test]
fn a_unique_index_that_comes_meanwhile_deletes_no_other_row() {
    let new = Carried::new(TABLE, Side::New);
    let mut apply = new.end.apply(&new.role).unwrap();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let at = Position::new([1]);
    let progress = Progress::Advance {
        through: &at,
        seen: &at,
    };
    let mut letters = |rows: &[Record]| {
        let applied = apply.apply(rows, &[], &progress, &mut lease).unwrap();
        assert_eq!(applied.letters, apply.letters().unwrap().len() as u64);
        applied.letters
    };
    assert_eq!(letters(&[put(1, "same")]), 0);
    new.database.run("create unique index later on t (v)");
    assert_eq!(letters(&[put(2, "same"), put(3, "other")]), 1);
    let found = new
        .database
        .one("select string_agg(id || v, ' ' order by id) from t");
    assert_eq!(found, "1same 3other");
    let letter = apply.letters().unwrap().remove(0).letter;
    assert_eq!(letter.code, Code::UNIQUE_CONFLICT);
    assert_eq!(letter.source_key, put(2, "same").key);
    let error = apply.claim(LaneId(0), Direction::Forward).unwrap_err();
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
}

/// Where the slot lets the server forget.
fn kept_from(old: &Carried) -> String {
    old.database.one(
        "select confirmed_flush_lsn::text from pg_replication_slots
         where database = current_database()",
    )
}

/// Other tables are written, ours is not: the server must not keep all of that log for us.
#[test]
fn a_log_that_concerns_nobody_is_let_go() {
    let old = Carried::new(&format!("{TABLE}; create table other (v text)"), Side::Old);
    let mut feed = old.feed();
    old.database
        .run("insert into other select repeat(md5(n::text), 40) from generate_series(1, 20000) n");
    let behind = old.database.one("select pg_current_wal_lsn()::text");
    let passed = |old: &Carried| {
        let sql = format!("select ('{}'::pg_lsn >= '{behind}')::text", kept_from(old));
        old.database.one(&sql) == "true"
    };
    assert!(!passed(&old));
    let mut looks = 0;
    while !passed(&old) {
        let batch = feed.next(100).unwrap();
        assert!(batch.events.is_empty());
        feed.confirm(&batch.through).unwrap();
        looks += 1;
        assert!(looks < 4_000, "the server keeps it");
    }
    // Nothing of ours was let go with it.
    old.database.run("insert into t values (1, 'a')");
    assert_eq!(confirmed(feed.as_mut(), 1).0, [1]);
}
