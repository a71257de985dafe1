//! Who is kept out: of a guarded table, of a lane that somebody holds, and of a fence that is being
//! made permanent.

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{End, Progress};
use contraflow_core::error::Kind;
use contraflow_core::lease::{Epoch, Gate, LaneId};
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};
use contraflow_engine::tasks::{Stop, TaskSet};

use super::carried::{Carried, put};
use super::lost::{is_waited_for, open};
use super::server::Server;
use super::visibility::Waiting;

const TABLE: &str = "create table t (id int primary key, v text)";
const LONG: Duration = Duration::from_secs(60);

/// What the rows show, where nobody looks.
fn at() -> Position {
    Position::new([])
}

/// Such a session fires ordinary triggers no more: restores and other replications run as one.
#[test]
fn a_session_that_runs_as_a_replica_is_kept_out_too() {
    let (old, new) = (
        Carried::new(TABLE, Side::Old),
        Carried::new(TABLE, Side::New),
    );
    // One that was sealed, and one that has been closed from the beginning.
    old.turn_to(&Carried::new(TABLE, Side::New));
    for carried in [old, new] {
        is_closed_to_replicas(&carried);
    }
}

fn is_closed_to_replicas(carried: &Carried) {
    let mut session = carried.database.connect();
    let role = "set session_replication_role = replica";
    session.batch_execute(role).unwrap();
    for sql in [
        "insert into t values (1, 'a')",
        "update t set v = 'b'",
        "delete from t",
        "truncate t",
    ] {
        let error = session.batch_execute(sql).unwrap_err();
        let state = error.code().map(|state| state.code().to_owned());
        assert_eq!(state.as_deref(), Some("CF302"), "{sql}: {error}");
    }
}

/// Two processes of one epoch: whoever comes second waits for the first, but not for ever, and when
/// it has the lane the first is refused, whatever it still wants to write.
#[test]
fn a_process_that_was_overtaken_writes_nothing_and_is_not_waited_for_for_ever() {
    let new = Carried::new(TABLE, Side::New);
    let (mut first, second) = (new.end.apply(&new.role).unwrap(), new.database.again());
    let mut second = second.apply(&new.role).unwrap();
    let (mut lease, _) = first.claim(LaneId(0), Direction::Forward).unwrap();
    let mut tasks = TaskSet::new(Stop::default());
    // Goes first when the test fails: everybody else then goes on and ends.
    let (mut lock, process) = open(&new, "lock table t in share mode");
    let (out, applied) = channel();
    let apply = move |_: &Stop| {
        let said = first.apply(
            &[put(1, "first")],
            &[],
            &Progress::Keys { seen: &at() },
            &mut lease,
        );
        drop(out.send((first, lease, said)));
    };
    tasks.spawn("first", apply).unwrap();
    is_waited_for(&new, process);
    let (out, claimed) = channel();
    let claim = move |_: &Stop| {
        let said = second.claim(LaneId(0), Direction::Forward);
        drop(out.send((second, said)));
    };
    tasks.spawn("second", claim).unwrap();
    let (mut second, said) = claimed.recv_timeout(LONG).expect("it waits for ever");
    let error = said.unwrap_err();
    assert_eq!((error.code, error.kind), (Code::END_BUSY, Kind::Transient));
    lock.batch_execute("rollback").unwrap();
    let (mut first, mut lease, said) = applied.recv_timeout(LONG).unwrap();
    assert_eq!(said.unwrap().records, 1, "it still had the lane");
    let (mut newer, _) = second.claim(LaneId(0), Direction::Forward).unwrap();
    let said = first.apply(
        &[put(2, "first")],
        &[],
        &Progress::Keys { seen: &at() },
        &mut lease,
    );
    assert_eq!(said.unwrap_err().kind, Kind::Fenced);
    let said = second.apply(
        &[put(3, "second")],
        &[],
        &Progress::Keys { seen: &at() },
        &mut newer,
    );
    assert_eq!(said.unwrap().records, 1);
    let found = new
        .database
        .one("select string_agg(id || v, ' ' order by id) from t");
    assert_eq!(found, "1first 3second");
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args(["-s", name, process]).status();
    assert!(sent.unwrap().success());
}

/// A seal is under way: its commit is in the log and nobody sees it yet. The row that says so must
/// not be believed before the session of the fence is gone.
#[test]
fn a_lift_does_not_answer_before_the_session_of_the_fence_is_gone() {
    let server = Server::start();
    let old = Carried::on(&server, TABLE, Side::Old);
    let mut switch = old.switch();
    let drained = switch.fence(Epoch::FIRST, LONG).unwrap();
    let mut tasks = TaskSet::new(Stop::default());
    let waiting = Waiting::on(&old);
    let (out, sealed) = channel();
    let seal = move |_: &Stop| {
        let said = switch.seal(Epoch::FIRST, &drained, &Position::new([]));
        drop(out.send(said));
    };
    tasks.spawn("seal", seal).unwrap();
    let waits = "select coalesce(max(pid), 0)::text from pg_stat_activity
                 where wait_event = 'SyncRep'";
    let mut process = old.database.one(waits);
    while process == "0" {
        assert!(sealed.try_recv().is_err(), "the seal did not wait");
        process = old.database.one(waits);
    }
    // It hears only later that it was ended.
    signal("STOP", &process);
    let said = old.switch_again().lift(Epoch::FIRST);
    signal("CONT", &process);
    let error = said.expect_err("it answered");
    assert_eq!((error.code, error.kind), (Code::END_BUSY, Kind::Transient));
    let error = old.switch_again().lift(Epoch::FIRST).unwrap_err();
    assert_eq!(error.kind, Kind::Fenced, "{error}");
    let standing = old.switch_again().standing().unwrap().unwrap();
    assert_eq!(
        (standing.gate, standing.epoch),
        (Gate::Closed, Epoch::FIRST.next())
    );
    drop(waiting);
    assert_eq!(
        sealed.recv_timeout(LONG).unwrap().unwrap_err().kind,
        Kind::Transient
    );
}
