//! Transactions and rows that are larger than anything should be.

use contraflow_core::end::{Feed, Span};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Event, Origin};
use contraflow_core::side::Side;
use contraflow_core::value::Value;

use super::carried::{Carried, MOST, PAIR, events};

/// Bytes of text in each row of the transaction.
const ROW_BYTES: usize = 64;
/// What a batch may hold at most: the limit of a feed, and the row that reaches it.
const BATCH_BYTES: usize = (4 << 20) + ROW_BYTES;

fn bytes(event: &Event) -> usize {
    match &event.image.as_ref().unwrap().row.0[1] {
        Value::Text(text) => text.len(),
        other => panic!("{other:?}"),
    }
}

/// The next batch with something in it, asked for without a limit.
fn batch(feed: &mut dyn Feed) -> Batch {
    loop {
        let batch = feed.next(usize::MAX).unwrap();
        if !batch.events.is_empty() {
            return batch;
        }
    }
}

/// Rows of the transaction.
fn rows() -> i64 {
    match std::env::var_os("CONTRAFLOW_SOAK") {
        Some(_) => 1_000_000,
        None => 200_000,
    }
}

/// Nobody holds it whole, and a process that is started again in the middle goes on there.
#[test]
fn a_huge_transaction_comes_in_bounded_batches_and_survives_restarts_soak() {
    let last = rows();
    let old = Carried::new("create table t (id bigint primary key, v text)", Side::Old);
    let mut feed = old.feed();
    old.database.run(&format!(
        "insert into t select n, repeat('x', {ROW_BYTES}) from generate_series(1, {last}) n"
    ));
    let (mut next, mut batches) = (1, 0);
    while next <= last {
        let batch = batch(feed.as_mut());
        for event in &batch.events {
            assert_eq!(event.key.0[0], Value::Int(next), "lost or doubled");
            next += 1;
        }
        let size: usize = batch.events.iter().map(bytes).sum();
        assert!(size <= BATCH_BYTES, "{size} bytes at once");
        batches += 1;
        feed.confirm(&batch.through).unwrap();
        if batches == 2 {
            drop(feed);
            feed = old.restarted(&batch.through).0;
        }
    }
    assert!(batches > 3, "{batches} batches");
    old.database.run("insert into t values (0, 'after')");
    let after = events(feed.as_mut(), 1);
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].key.0[0], Value::Int(0));
}

/// Small transactions that lie behind come in few batches, however small the socket is: each costs
/// the mirror a transaction of its own.
#[test]
fn a_log_that_lies_behind_comes_in_whole_batches() {
    const TRANSACTIONS: usize = 10_000;
    const BATCH: usize = 1_000;
    let old = Carried::new("create table t (id bigint primary key, v text)", Side::Old);
    let mut feed = old.feed();
    old.database.run("set synchronous_commit = off");
    old.database.run(&format!(
        "do $$ begin
           for n in 1 .. {TRANSACTIONS} loop insert into t values (n, 'x'); commit; end loop;
         end $$"
    ));
    // By then it has been there for longer than anybody waits.
    old.database.run("select pg_sleep(0.3)");
    let (mut came, mut batches) = (0, 0);
    while came < TRANSACTIONS {
        let batch = feed.next(BATCH).unwrap();
        came += batch.events.len();
        batches += usize::from(!batch.events.is_empty());
    }
    assert!(batches < 3 * TRANSACTIONS / BATCH, "{batches} batches");
}

const HUGE: &str = "create table t (id int primary key, v text, b bytea);
    alter table t alter v set storage external, alter b set storage external";

/// A row of 50 MB.
fn huge(id: i32) -> String {
    format!(
        "insert into t select {id}, repeat(md5('{id}'), 1000000),
           decode(repeat(md5('{id}'), 1125000), 'hex')"
    )
}

/// What is in the table, without carrying all of it here.
fn digest(carried: &Carried) -> String {
    carried.database.one(
        "select string_agg(concat_ws(' ', id, length(v), length(b), md5(v), md5(b)), ', '
           order by id) from t",
    )
}

/// It exceeds every limit of a range and of a batch, and is carried alone.
#[test]
fn a_huge_row_is_copied_followed_and_carried_back() {
    let old = Carried::new(
        &format!("{HUGE}; {}; insert into t values (2)", huge(1)),
        Side::Old,
    );
    let new = Carried::new(HUGE, Side::New);
    let chunk = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &Position::new([]))
        .unwrap();
    assert_eq!(chunk.rows.len(), 1, "the row alone");
    assert_eq!(chunk.cut.as_ref(), Some(&chunk.rows[0].0));
    assert_eq!(new.load(chunk.rows), 0);
    let mut feed = old.feed();
    old.database
        .run(&format!("delete from t where id = 2; {}", huge(3)));
    // As the flow does, which drops the echo of what it wrote itself.
    let carry = |feed: &mut dyn Feed, to: &Carried| {
        let mut rows = Vec::new();
        while rows.len() < 2 {
            let events = events(feed, 1).into_iter();
            let theirs = events.filter(|event| event.origin == Origin::Application);
            rows.extend(theirs.map(|event| (event.key, event.image)));
        }
        assert_eq!(to.apply(rows), 0, "letters");
    };
    carry(feed.as_mut(), &new);
    assert_eq!(digest(&new), digest(&old));
    old.turn_to(&new);
    let mut feed = new.feed();
    new.database
        .run(&format!("delete from t where id = 1; {}", huge(4)));
    carry(feed.as_mut(), &old);
    assert_eq!(digest(&old), digest(&new));
    assert!(
        digest(&old).starts_with("3 32000000 18000000"),
        "{}",
        digest(&old)
    );
}
