//! The log runs ahead of visibility, and a read that does not wait for it is wrong.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use contraflow_core::end::{Chunk, Scan, Span, Start};
use contraflow_core::position::Position;
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_engine::tasks::{Stop, TaskSet};
use postgres::Client;

use super::carried::{Carried, MOST, PAIR, events, put};
use super::lost::{is_waited_for, open};
use super::server::Server;

/// Commits wait for a standby that never comes, until this is dropped. Not those of our own
/// sessions: only the writer waits.
pub(super) struct Waiting<'c>(&'c Carried);

impl Waiting<'_> {
    pub(super) fn on(old: &Carried) -> Waiting<'_> {
        standbys(old, "nosuch");
        Waiting(old)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        standbys(self.0, "");
    }
}

fn standbys(old: &Carried, names: &str) {
    let mut admin = old.database.connect();
    let sql = format!("alter system set synchronous_standby_names = '{names}'");
    admin.batch_execute(&sql).unwrap();
    admin.batch_execute("select pg_reload_conf()").unwrap();
    // Who connects from now on must have heard of it, and so must the process that decides for all
    // whether to wait: it hears of settings before it makes a checkpoint.
    let heard = |mut app: Client| {
        let row = app
            .query_one("show synchronous_standby_names", &[])
            .unwrap();
        row.get::<_, &str>(0) == names
    };
    while !heard(old.database.connect()) {}
    admin.batch_execute("checkpoint").unwrap();
}

fn write_new(old: &Carried, tasks: &mut TaskSet) {
    let mut writer = old.database.connect();
    let sql = "update t set v = 'NEW' where id = 42";
    let write = move |_: &Stop| writer.batch_execute(sql).unwrap();
    tasks.spawn("writer", write).unwrap();
}

/// Reads the table behind a place, on a thread of its own.
pub(super) fn reader(
    mut scan: Box<dyn Scan>,
    received: &Position,
    tasks: &mut TaskSet,
) -> Receiver<Chunk> {
    let (out, read) = channel();
    let received = received.clone();
    let reads = move |_: &Stop| {
        let chunk = scan.read(&Span::whole(PAIR), MOST, &received).unwrap();
        out.send(chunk).unwrap();
    };
    tasks.spawn("reader", reads).unwrap();
    read
}

fn still_waits(read: &Receiver<Chunk>, otherwise: &str) {
    let early = read.recv_timeout(Duration::from_millis(300));
    assert_eq!(early.err(), Some(RecvTimeoutError::Timeout), "{otherwise}");
}

/// A standby that never comes keeps a commit invisible that is in the log already.
#[test]
fn a_read_waits_for_what_the_log_has_shown() {
    let server = Server::start();
    let script = "create table t (id int primary key, v text); insert into t values (42, 'v0')";
    let old = Carried::on(&server, script, Side::Old);
    let mut feed = old.feed();
    let mut tasks = TaskSet::new(Stop::default());
    let waiting = Waiting::on(&old);
    write_new(&old, &mut tasks);
    let event = events(feed.as_mut(), 1).remove(0);
    let new = Value::Text("NEW".to_owned());
    assert_eq!(event.image.unwrap().row.0[1], new);
    waits_where_the_textbook_does_not(old.scan(), &feed.received(), waiting, &mut tasks);
    tasks.join();
}

/// The negative control, whose way carries the old row after the new one, and ours.
fn waits_where_the_textbook_does_not(
    mut scan: Box<dyn Scan>,
    received: &Position,
    waiting: Waiting<'_>,
    tasks: &mut TaskSet,
) {
    let naive = scan
        .read(&Span::whole(PAIR), MOST, &Position::new([]))
        .unwrap();
    assert_eq!(naive.rows[0].1.row.0[1], Value::Text("v0".to_owned()));
    let read = reader(scan, received, tasks);
    still_waits(&read, "it read at once");
    drop(waiting);
    let chunk = read.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(chunk.rows[0].1.row.0[1], Value::Text("NEW".to_owned()));
}

/// A restart forgets what it has waited for: the slot must not.
#[test]
fn what_was_not_proven_visible_is_received_again() {
    let old = Carried::new("create table t (id int primary key, v text)", Side::Old);
    let mut feed = old.feed();
    old.database.run("insert into t values (1, 'a')");
    let through = {
        let found = events(feed.as_mut(), 1);
        found[0].position.clone()
    };
    drop(feed);
    let mut again = old.feed();
    let found = events(again.as_mut(), 1);
    assert_eq!(found[0].position, through, "nothing was confirmed");
    again.confirm(&again.received()).unwrap();
}

/// What was handed out and is not visible yet is unknown to a process that was started again, until
/// it has received it once more: a read must not go ahead before.
#[test]
fn a_read_after_a_restart_waits_for_what_was_handed_out_before_it() {
    let server = Server::start();
    let script = "create table t (id int primary key, v text); insert into t values (42, 'v0')";
    let old = Carried::on(&server, script, Side::Old);
    let mut feed = old.feed();
    let mut tasks = TaskSet::new(Stop::default());
    let waiting = Waiting::on(&old);
    write_new(&old, &mut tasks);
    events(feed.as_mut(), 1);
    let received = feed.received();
    feed.confirm(&received).unwrap();
    drop(feed);
    let (mut feed, scan) = old.restarted(&received);
    let read = reader(scan, &received, &mut tasks);
    still_waits(&read, "it knew nothing");
    // The feed skips what was handed out, and yet makes it known.
    for _ in 0..100 {
        assert!(
            feed.next(100).unwrap().events.is_empty(),
            "handed out twice"
        );
    }
    still_waits(&read, "it read at once");
    drop(waiting);
    let chunk = read.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(chunk.rows[0].1.row.0[1], Value::Text("NEW".to_owned()));
    tasks.join();
}

/// Waits until a commit of sessions with this name waits for its standby, and says whose it is.
fn waits_for_standby(old: &Carried, application: &str) -> i32 {
    let sql = format!(
        "select coalesce(min(pid), 0)::text from pg_stat_activity
         where wait_event = 'SyncRep' and application_name = '{application}'"
    );
    loop {
        let process = old.database.one(&sql);
        if process != "0" {
            return process.parse().unwrap();
        }
    }
}

/// A transaction that began while the slot was being made and is in the log before its first place
/// is never told by the feed: whoever reads must wait until it can be seen.
#[test]
fn a_read_waits_for_a_commit_that_is_older_than_the_slot() {
    let server = Server::start();
    let script = "create table t (id int primary key, v text); insert into t values (42, 'v0')";
    let old = Carried::planned(server.database(script), Side::Old);
    let mut tasks = TaskSet::new(Stop::default());
    // Making the slot waits for the first, and then for the second, which came meanwhile: whoever
    // comes after that is neither waited for nor told.
    let (mut first, process) = open(&old, "insert into t values (1, 'gone')");
    let (end, role, standing) = (Arc::clone(&old.end), Arc::clone(&old.role), old.standing());
    let expand = move |_: &Stop| end.structure(&role).unwrap().expand(&standing).unwrap();
    tasks.spawn("expand", expand).unwrap();
    is_waited_for(&old, process);
    let (mut second, process) = open(&old, "insert into t values (2, 'gone')");
    first.batch_execute("rollback").unwrap();
    is_waited_for(&old, process);
    let waiting = Waiting::on(&old);
    write_new(&old, &mut tasks);
    waits_for_standby(&old, "");
    second.batch_execute("rollback").unwrap();
    // Ours waits for the standby, too, until it is told not to.
    let ours = waits_for_standby(&old, "contraflow");
    old.database
        .one(&format!("select pg_cancel_backend({ours})::text"));
    let mut feed = loop {
        let mut feed = old.end.feed(&old.role).unwrap();
        if feed.open(&Start::Earliest).is_ok() {
            break feed;
        }
    };
    waits_where_the_textbook_does_not(old.scan(), &feed.received(), waiting, &mut tasks);
    old.database.run("insert into t values (3, 'after')");
    let followed = events(feed.as_mut(), 1);
    let followed: Vec<_> = followed.into_iter().map(|event| event.key).collect();
    assert_eq!(followed, [put(3, "").key], "the feed told of it after all");
    tasks.join();
}
