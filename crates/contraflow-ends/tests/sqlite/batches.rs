//! Many rows of one batch: what one of them does must not touch the others.

use std::sync::mpsc::channel;

use contraflow_core::end::{Applied, Progress, Remove};
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::record::{Change, Image, Key, PairId, Record, Row};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;
use contraflow_engine::tasks::{Stop, TaskSet};

use super::peculiar::{Carried, int, text};

/// More than are written together, and not a multiple of it.
const ROWS: i64 = 100;

fn put(id: i64, values: &[Value]) -> Record {
    let key = Key(vec![int(id)]);
    let row = Row([&[int(id)], values].concat());
    Record {
        pair: PairId(0),
        source_key: key.clone(),
        key,
        change: Change::Put(Image {
            row,
            ..Image::default()
        }),
    }
}

fn apply(new: &Carried, batches: &[Vec<Record>]) -> Vec<Applied> {
    let mut apply = new.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let at = Position::new(1_u64.to_be_bytes());
    let progress = Progress::Keys { seen: &at };
    let batches = batches.iter();
    batches
        .map(|records| apply.apply(records, &[], &progress, &mut lease).unwrap())
        .collect()
}

#[test]
fn a_refused_row_leaves_those_beside_it() {
    let schema = "create table t (id integer primary key, u not null, n check (n < 1000))";
    let new = Carried::new(schema, &["id"], Side::New);
    let rows = |n: i64| {
        let row = |id| match id {
            40 => put(id, &[Value::Null, int(n)]),
            41 => put(id, &[text("large"), int(5_000)]),
            _ => put(id, &[text("small"), int(n)]),
        };
        (1..=ROWS).map(row).collect::<Vec<_>>()
    };
    let applied = apply(&new, &[rows(1), rows(2)]);
    assert_eq!((applied[0].letters, applied[1].letters), (2, 2));
    let sql = "select count(*) || ' ' || sum(n) || ' ' || sum(id) from t";
    let expected = format!("98 {} {}", 98 * 2, ROWS * (ROWS + 1) / 2 - 81);
    assert_eq!(new.file.one::<String>(sql), expected);
}

#[test]
fn the_last_image_of_a_key_wins_and_large_rows_keep_their_place() {
    let schema = "create table t (id integer primary key, u, n)";
    let new = Carried::new(schema, &["id"], Side::New);
    let large = "x".repeat(100_000);
    let row = |i: i64| match i % 7 {
        0 => put(i % 10, &[text(&large), int(i)]),
        1 => put(i % 10, &[Value::Absent, int(i)]),
        _ => put(i % 10, &[text("small"), int(i)]),
    };
    let applied = apply(&new, &[(0..ROWS).map(row).collect()]);
    assert_eq!(applied[0].letters, 0);
    let sql = "select count(*) || ' ' || min(n) from t";
    assert_eq!(new.file.one::<String>(sql), "10 90");
}

#[test]
fn triggers_of_the_application_run_for_our_writes() {
    let schema = "create table t (id integer primary key, u); create table log (id)";
    let new = Carried::new(schema, &["id"], Side::New);
    let logged = || new.file.one::<i64>("select count(*) from log");
    apply(&new, &[vec![put(1, &[text("a")])]]);
    assert_eq!(logged(), 0);
    new.run("create trigger mine after insert on t begin insert into log values (new.id); end");
    apply(&new, &[vec![put(2, &[text("b")])]]);
    assert_eq!(logged(), 1);
    new.run("drop trigger mine");
    apply(&new, &[vec![put(3, &[text("c")])]]);
    assert_eq!(logged(), 1);
    assert_eq!(new.file.one::<i64>("select count(*) from t"), 3);
}

#[test]
fn the_log_does_not_grow_with_what_is_written() {
    let schema = "create table t (id integer primary key, u, n)";
    let new = Carried::new(schema, &["id"], Side::New);
    let large = "x".repeat(100_000);
    let batch = |n| {
        (0..ROWS)
            .map(|id| put(id, &[text(&large), int(n)]))
            .collect()
    };
    apply(&new, &(0..10).map(batch).collect::<Vec<_>>());
    let mut log = new.file.path.clone().into_os_string();
    log.push("-wal");
    let (written, log) = (
        10 * ROWS as u64 * 100_000,
        std::fs::metadata(log).unwrap().len(),
    );
    assert!(log < written / 2, "{log} bytes of log for {written}");
}

/// Others can write in between: they see a table that goes a few rows at a time, not all at once
/// after they have waited for it. The application's triggers see nothing.
#[test]
fn a_large_table_goes_a_few_rows_at_a_time() {
    for ending in ["", "without rowid"] {
        let schema = format!(
            "create table t (id integer primary key, u, n) {ending};
             create table log (id);
             create trigger told after delete on t begin insert into log values (old.id); end"
        );
        let old = Carried::new(&schema, &["id"], Side::Old);
        old.run(
            "with recursive c (i) as (select 1 union all select i + 1 from c where i < 100000)
             insert into t select i, hex(randomblob(20)), i from c",
        );
        let other = old.file.connect();
        let mut tasks = TaskSet::new(Stop::default());
        let mut structure = old.structure();
        let (began, begun) = channel();
        let remove = move |_: &Stop| {
            began.send(()).unwrap();
            structure.remove(Remove::Tables).unwrap();
        };
        tasks.spawn("remove", remove).unwrap();
        begun.recv().unwrap();
        let mut seen = Vec::new();
        let count = "select count(*) from t";
        while let Ok(rows) = other.query_row(count, [], |row| row.get::<_, u64>(0)) {
            seen.push(rows);
        }
        tasks.join();
        let between = seen.iter().filter(|rows| (1..100_000).contains(*rows));
        assert!(between.count() > 0, "it went at once: {seen:?}");
        assert_eq!(old.file.one::<u64>("select count(*) from log"), 0);
    }
}
