//! No way of writing gets past the guard and the journal.

use contraflow_core::lease::Epoch;
use contraflow_core::side::Side;
use rusqlite::Connection;

use super::peculiar::{Carried, LONG, int, touched};

const SCHEMA: &str = "create table t (id integer primary key, u unique, p);
     insert into t values (1, 'a', 1), (2, 'b', 1)";

/// Every way to write that an application has.
const WAYS: &[&str] = &[
    "insert into t values (3, 'c', 1)",
    "insert or ignore into t values (3, 'c', 1)",
    "insert or fail into t values (3, 'c', 1), (4, 'd', 1)",
    "insert or rollback into t values (3, 'c', 1)",
    "insert or replace into t values (3, 'a', 1)",
    "replace into t values (1, 'z', 1)",
    "insert into t values (1, 'z', 1) on conflict (id) do update set u = excluded.u",
    "insert into t values (9, 'a', 1) on conflict do update set p = 7",
    "insert into t select 3, 'c', 1",
    "update t set p = 2",
    "update or ignore t set id = 7 where id = 1",
    "update or replace t set id = 2 where id = 1",
    "update or fail t set u = 'q' where id = 2",
    "delete from t where id = 1",
    "delete from t",
    "with x(i) as (values (1)) delete from t where id in (select i from x)",
];

fn content(carried: &Carried) -> String {
    let sql = "select group_concat(id || u || p) from (select * from t order by id)";
    carried.file.one::<Option<String>>(sql).unwrap_or_default()
}

fn refused(carried: &Carried) {
    let before = content(carried);
    for way in WAYS {
        let error = carried.file.db.execute_batch(way).unwrap_err();
        assert!(error.to_string().contains("CF0302"), "{way}: {error}");
        assert_eq!(content(carried), before, "{way}");
    }
}

#[test]
fn a_closed_end_refuses_every_way_to_write() {
    let new = Carried::new(SCHEMA, &["id"], Side::New);
    refused(&new);
    new.run("pragma recursive_triggers = on");
    refused(&new);
}

#[test]
fn a_fenced_end_refuses_every_way_to_write() {
    let old = Carried::new(SCHEMA, &["id"], Side::Old);
    old.switch().fence(Epoch::FIRST, LONG).unwrap();
    refused(&old);
    old.switch().lift(Epoch::FIRST).unwrap();
    old.run(WAYS[0]);
}

#[test]
fn the_journal_has_every_way_to_write() {
    for pragma in [
        "pragma recursive_triggers = off",
        "pragma recursive_triggers = on",
    ] {
        for way in WAYS {
            let old = Carried::new(SCHEMA, &["id"], Side::Old);
            let mut mirror = vec![(1, "1a1".to_owned()), (2, "2b1".to_owned())];
            let mut feed = old.feed();
            old.run(pragma);
            old.run(way);
            for (key, _) in touched(feed.as_mut()) {
                let id = (-9..20).find(|id| int(*id) == key).unwrap();
                mirror.retain(|(other, _)| *other != id);
                let sql = format!("select max(id || u || p) from t where id = {id}");
                if let Some(row) = old.file.one::<Option<String>>(&sql) {
                    mirror.push((id, row));
                }
            }
            mirror.sort();
            let mirror: Vec<String> = mirror.into_iter().map(|(_, row)| row).collect();
            assert_eq!(mirror.join(","), content(&old), "{pragma}: {way}");
        }
    }
}

#[test]
fn cascades_of_a_parent_are_followed_and_refused() {
    let schema = "create table parent (id integer primary key);
         create table t (id integer primary key,
           u references parent on delete cascade on update cascade, p);
         insert into parent values (1), (2);
         insert into t values (1, 1, 0), (2, 2, 0), (3, 2, 0)";
    let old = Carried::new(schema, &["id"], Side::Old);
    let mut feed = old.feed();
    old.run("pragma foreign_keys = on; delete from parent where id = 1");
    assert_eq!(touched(feed.as_mut()), [(int(1), false)]);
    old.run("update parent set id = 9 where id = 2");
    assert_eq!(touched(feed.as_mut()), [(int(2), true), (int(3), true)]);
    old.switch().fence(Epoch::FIRST, LONG).unwrap();
    let error = old.file.db.execute_batch("delete from parent").unwrap_err();
    assert!(error.to_string().contains("CF0302"), "{error}");
}

#[test]
fn a_file_that_is_attached_is_followed_and_refused() {
    let old = Carried::new(SCHEMA, &["id"], Side::Old);
    let mut feed = old.feed();
    let other = Connection::open_in_memory().unwrap();
    other
        .execute("attach ?1 as app", [old.file.path.to_str().unwrap()])
        .unwrap();
    other
        .execute_batch("create table t (id, u, p); insert into app.t values (5, 'e', 1)")
        .unwrap();
    assert_eq!(touched(feed.as_mut()), [(int(5), true)]);
    old.switch().fence(Epoch::FIRST, LONG).unwrap();
    let error = other.execute_batch("delete from app.t").unwrap_err();
    assert!(error.to_string().contains("CF0302"), "{error}");
}
