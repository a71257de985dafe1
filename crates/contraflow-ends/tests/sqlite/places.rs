//! Where a batch ends, which history a place belongs to, and who points at a table.

use contraflow_core::code::Code;
use contraflow_core::end::Start;
use contraflow_core::record::Op;
use contraflow_core::side::Side;

use super::peculiar::{Carried, int};

const SCHEMA: &str = "create table t (id integer primary key, u)";

/// A key that is written before and after many huge rows is in the first batch and in the last.
#[test]
fn a_batch_of_huge_rows_ends_early_and_skips_no_key() {
    let old = Carried::new(SCHEMA, &["id"], Side::Old);
    let mut feed = old.feed();
    old.run("insert into t values (0, 'first')");
    for id in 1..=20 {
        old.run(&format!("insert into t values ({id}, zeroblob(1000000))"));
    }
    old.run("update t set u = 'last' where id = 0; delete from t where id = 20");
    let mut batches = Vec::new();
    loop {
        let batch = feed.next(1_000).unwrap();
        if batch.events.is_empty() {
            break;
        }
        let keys: Vec<_> = batch.events.into_iter().map(|e| (e.key.0, e.op)).collect();
        batches.push(keys);
    }
    assert!(batches.len() >= 4, "{} batches", batches.len());
    for id in 0..=20 {
        let times = batches.iter().flatten();
        let times = times.filter(|(key, _)| *key == [int(id)]).count();
        assert!(times > 0, "key {id} is in no batch");
    }
    let last = batches.last().unwrap();
    assert!(last.contains(&(vec![int(0)], Op::Put)), "{last:?}");
    assert!(batches[0].contains(&(vec![int(0)], Op::Put)));
    let deleted = batches.iter().flatten().filter(|(_, op)| *op == Op::Delete);
    assert!(deleted.count() > 0);
}

/// A file that was put back from a copy counts on from where the copy stood: its numbers are those
/// of another history.
#[test]
fn a_place_of_another_history_is_lost() {
    let old = Carried::new(SCHEMA, &["id"], Side::Old);
    let mut feed = old.feed();
    old.run("insert into t values (1, 0), (2, 0)");
    let through = feed.next(100).unwrap().through;
    assert!(old.reopened(&through).is_ok());
    let journal = old.journal();
    old.run(&format!("delete from {journal} where seq = 2"));
    old.run(&format!(
        "update sqlite_sequence set seq = 1 where name = trim('{journal}', '\"')"
    ));
    old.run("insert into t values (3, 0)");
    let error = old.reopened(&through).unwrap_err();
    assert_eq!(error.code, Code::FEED_LOST, "{error}");
    assert!(old.feed().open(&Start::Earliest).is_ok());
}

#[test]
fn views_and_foreign_keys_are_users_of_a_table() {
    let old = Carried::new(SCHEMA, &["id"], Side::Old);
    assert_eq!(old.users(), Vec::<String>::new());
    old.run(
        "create table other (id integer primary key, t_id references t (id));
         create view seen as select u from t;
         create view unseen as select id from other",
    );
    assert_eq!(old.users(), ["table `other`", "view `seen`"]);
}
