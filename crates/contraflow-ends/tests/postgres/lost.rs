//! Slots: one that the server gave up, and one that waits for transactions before it is there.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{End, Span, Start};
use contraflow_core::error::{Error, Kind};
use contraflow_core::side::Side;
use contraflow_engine::tasks::{Stop, TaskSet};
use postgres::Client;

use super::carried::{Carried, MOST, PAIR, events, put};
use super::held::stopped;
use super::server::Server;

const TABLE: &str = "create table t (id int primary key, v text)";
const LONG: Duration = Duration::from_secs(60);

/// The slot of an end.
const SLOT: &str = "select slot_name || ' ' || wal_status from pg_replication_slots
    where database = current_database()";

/// Writes log that concerns nobody until the server has given the slot up.
fn give_up(old: &Carried) {
    let (mut app, mut looks) = (old.database.connect(), 0);
    while !old.database.one(SLOT).ends_with(" lost") {
        app.batch_execute(
            "create table other as select repeat('x', 1000) from generate_series(1, 20000);
             drop table other; select pg_switch_wal(); checkpoint",
        )
        .unwrap();
        looks += 1;
        assert!(looks < 100, "the server keeps the slot");
    }
}

/// The server keeps no log for a reader that is too far behind: what it had not read is unknown.
#[test]
fn a_slot_that_the_server_gave_up_holds_and_is_never_made_again() {
    let server = Server::start_with(&["max_slot_wal_keep_size=1MB", "max_wal_size=32MB"]);
    let old = Carried::on(&server, TABLE, Side::Old);
    let mut feed = old.feed();
    old.database.run("insert into t values (1, 'a')");
    events(feed.as_mut(), 1);
    let through = feed.received();
    feed.confirm(&through).unwrap();
    old.database.run("insert into t values (2, 'never read')");
    give_up(&old);
    let slot = old.database.one(SLOT);
    let is_held = |error: &Error| {
        assert_eq!((error.code, error.kind), (Code::FEED_LOST, Kind::Hold));
        let said = format!("{error} {:?}", error.hint);
        assert!(said.contains("max_slot_wal_keep_size"), "{said}");
    };
    // The one that was connected is cut off first, and finds out when it comes back.
    let mut error = stopped(feed.as_mut());
    while error.kind == Kind::Transient {
        error = stopped(feed.as_mut());
    }
    is_held(&error);
    for start in [Start::Earliest, Start::After(through)] {
        let mut again = old.database.again().feed(&old.role).unwrap();
        is_held(&again.open(&start).unwrap_err());
    }
    // Whoever expands once more finds everything there, and makes nothing new.
    let standing = old.switch().standing().unwrap().unwrap();
    old.end
        .structure(&old.role)
        .unwrap()
        .expand(&standing)
        .unwrap();
    let mut again = old.database.again().feed(&old.role).unwrap();
    is_held(&again.open(&Start::Earliest).unwrap_err());
    assert_eq!(old.database.one(SLOT), slot);
}

/// Waits until somebody waits for a session.
pub(super) fn is_waited_for(planned: &Carried, process: i32) {
    let sql = format!(
        "select exists (select from pg_stat_activity
           where {process} = any (pg_blocking_pids(pid)))::text"
    );
    while planned.database.one(&sql) != "true" {}
}

/// A transaction that is left open, and its session.
pub(super) fn open(planned: &Carried, sql: &str) -> (Client, i32) {
    let mut writer = planned.database.connect();
    writer.batch_execute(&format!("begin; {sql}")).unwrap();
    let row = writer.query_one("select pg_backend_pid()", &[]).unwrap();
    (writer, row.get(0))
}

/// A slot sees no transaction that was open before it: it says whom it waits for, and what they
/// wrote is in what is read first.
#[test]
fn a_slot_that_waits_says_for_whom_and_leaves_no_hole_behind_them() {
    let server = Server::start();
    let database = server.database(&format!("{TABLE}; insert into t values (1, 'before')"));
    let old = Carried::planned(database, Side::Old);
    let (mut writer, process) = open(&old, "insert into t values (2, 'open')");
    let error = old.expand().unwrap_err();
    assert_eq!((error.code, error.kind), (Code::END_BUSY, Kind::Transient));
    let said = error.detail.unwrap();
    assert!(said.contains(&format!("session {process}")), "{said}");
    // It goes on as soon as they end. Somebody who came meanwhile is still there then.
    let mut tasks = TaskSet::new(Stop::default());
    let (out, expanded) = channel();
    let (end, role, standing) = (Arc::clone(&old.end), Arc::clone(&old.role), old.standing());
    let expand = move |_: &Stop| {
        let done = end.structure(&role).unwrap().expand(&standing);
        out.send(done).unwrap();
    };
    tasks.spawn("expand", expand).unwrap();
    is_waited_for(&old, process);
    let (mut late, process) = open(&old, "insert into t values (3, 'late')");
    writer.batch_execute("commit").unwrap();
    is_waited_for(&old, process);
    late.batch_execute("commit").unwrap();
    expanded.recv_timeout(LONG).unwrap().unwrap();
    let mut feed = old.feed();
    old.database.run("insert into t values (4, 'after')");
    let followed = events(feed.as_mut(), 1);
    let chunk = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &feed.received())
        .unwrap();
    let keys: Vec<_> = chunk.rows.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [1, 2, 3, 4].map(|id| put(id, "").key));
    let followed: Vec<_> = followed.into_iter().map(|event| event.key).collect();
    assert_eq!(followed, [put(4, "").key], "carried twice");
}
