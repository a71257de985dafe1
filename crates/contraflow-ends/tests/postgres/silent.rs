//! A network that swallows everything and closes nothing.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{End, Progress, Span, Start};
use contraflow_core::error::{Error, Kind};
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};
use contraflow_engine::tasks::{Stop, TaskSet};
use contraflow_testkit::proxy::{Cut, Proxy};

use super::carried::{Carried, MOST, PAIR, events, put};
use super::held::stopped;
use super::server::Server;

const TABLE: &str = "create table t (id int primary key, v text)";
/// By then an end that waits for a second has given up, and a test has failed that still waits.
const LONG: Duration = Duration::from_secs(60);

/// Sessions that are lost keep their transactions for a while, and new slots would wait for them.
static SERVER: OnceLock<Server> = OnceLock::new();

fn carried(side: Side) -> Carried {
    Carried::on(SERVER.get_or_init(Server::start), TABLE, side)
}

/// What a call says, if it returns at all. Whatever hangs is freed by the end of its proxy.
fn in_time<T: Send + 'static>(proxy: &Proxy, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (out, said) = channel();
    let mut tasks = TaskSet::new(Stop::default());
    tasks
        .spawn("call", move |_| drop(out.send(call())))
        .unwrap();
    let said = said.recv_timeout(LONG);
    if said.is_err() {
        proxy.heal();
    }
    said.expect("it hangs")
}

fn is_lost(error: &Error) -> bool {
    (error.kind, error.code) == (Kind::Transient, Code::END_UNREACHABLE)
}

/// Writes a row through a network that `fails`, and says whether the row was there after all when
/// the lane was claimed again.
fn written(fails: impl Fn(&Proxy)) -> bool {
    let new = carried(Side::New);
    let (proxy, end) = new.database.afar();
    let mut apply = end.apply(&new.role).unwrap();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    fails(&proxy);
    let at = Position::new([7]);
    let (mut apply, said) = in_time(&proxy, move || {
        let progress = Progress::Advance {
            through: &at,
            seen: &at,
        };
        let said = apply.apply(&[put(1, "a")], &[], &progress, &mut lease);
        (apply, said)
    });
    assert!(is_lost(&said.unwrap_err()));
    proxy.heal();
    let (_, resume) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let rows = new.database.one("select count(*)::text from t");
    assert_eq!(
        rows == "1",
        resume.position.is_some(),
        "rows and mark apart"
    );
    resume.position.is_some()
}

#[test]
fn an_apply_that_nobody_answers_does_not_hang() {
    assert!(!written(Proxy::swallow));
}

/// Everybody else gets through: only the session itself is lost.
#[test]
fn an_apply_whose_session_alone_is_swallowed_does_not_hang() {
    assert!(written(|proxy| proxy.cut_at(b"COMMIT\0", Cut::Silence)));
    assert!(!written(
        |proxy| proxy.cut_at(b"savepoint settle", Cut::Silence)
    ));
}

/// Whoever waits for a lock has a server that is at work.
#[test]
fn an_apply_that_waits_for_a_lock_is_not_given_up() {
    let new = carried(Side::New);
    let (proxy, end) = new.database.afar();
    let mut apply = end.apply(&new.role).unwrap();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let mut other = new.database.connect();
    other
        .batch_execute("begin; lock table t in share mode")
        .unwrap();
    let before = proxy.opened();
    let mut tasks = TaskSet::new(Stop::default());
    let (out, said) = channel();
    tasks
        .spawn("apply", move |_| {
            let at = Position::new([7]);
            let progress = Progress::Advance {
                through: &at,
                seen: &at,
            };
            let said = apply.apply(&[put(1, "a")], &[], &progress, &mut lease);
            out.send(said.map(|applied| applied.records)).unwrap();
        })
        .unwrap();
    // It has asked more often than it would take an idle session for lost.
    while proxy.opened() < before + 3 {
        let early = said.recv_timeout(Duration::from_millis(10));
        assert_eq!(early.err(), Some(RecvTimeoutError::Timeout), "given up");
    }
    other.batch_execute("rollback").unwrap();
    assert_eq!(said.recv_timeout(LONG).unwrap().unwrap(), 1);
}

/// In the middle of its rows, or before the first of them.
#[test]
fn a_read_that_nobody_answers_does_not_hang() {
    let old = carried(Side::Old);
    let rows = "insert into t select n, repeat('x', 1000) from generate_series(1, 2000) n";
    old.database.run(rows);
    for fails in [
        |proxy: &Proxy| proxy.swallow(),
        |proxy: &Proxy| proxy.cut_at(b"order by t.\"id\" limit", Cut::Silence),
    ] {
        let (proxy, end) = old.database.afar();
        let mut scan = end.scan(&old.role).unwrap();
        let nowhere = Position::new([]);
        let read = scan.read(&Span::whole(PAIR), MOST, &nowhere).unwrap();
        assert_eq!(read.rows.len(), 2_000);
        fails(&proxy);
        let (mut scan, said) = in_time(&proxy, move || {
            let said = scan.read(&Span::whole(PAIR), MOST, &Position::new([]));
            (scan, said)
        });
        assert!(is_lost(&said.unwrap_err()));
        proxy.heal();
        // Its other session finds out by itself that it was cut meanwhile.
        let read = loop {
            match scan.read(&Span::whole(PAIR), MOST, &nowhere) {
                Ok(read) => break read,
                Err(error) => assert!(is_lost(&error), "{error:?}"),
            }
        };
        assert_eq!(read.rows.len(), 2_000);
    }
}

#[test]
fn a_feed_that_nobody_answers_opens_its_stream_again_and_misses_nothing() {
    let old = carried(Side::Old);
    let (proxy, end) = old.database.afar();
    let mut feed = end.feed(&old.role).unwrap();
    feed.open(&Start::Earliest).unwrap();
    old.database.run("insert into t values (1, 'a')");
    assert_eq!(events(feed.as_mut(), 1).len(), 1);
    proxy.swallow();
    old.database.run("insert into t values (2, 'b')");
    let (mut feed, error) = in_time(&proxy, move || {
        let error = stopped(feed.as_mut());
        (feed, error)
    });
    assert!(is_lost(&error));
    proxy.heal();
    old.database.run("insert into t values (3, 'c')");
    // Its other session finds out by itself that it was cut meanwhile.
    let mut found = Vec::new();
    while found.len() < 2 {
        match feed.next(100) {
            Ok(batch) => found.extend(batch.events.into_iter().map(|event| event.key)),
            Err(error) => assert!(is_lost(&error), "{error:?}"),
        }
    }
    assert_eq!(found, [put(2, "b").key, put(3, "c").key]);
}

/// The stream that is watched is the one on which a password is proven.
#[test]
fn a_session_whose_silence_is_watched_signs_in_with_a_password() {
    let server = Server::start();
    let old = Carried::on(&server, TABLE, Side::Old);
    old.database.run(
        "create role alice superuser login password 'secret'; do $$ begin execute format(
           'copy (select unnest(array[''local all alice scram-sha-256'', ''local all all trust'',
              ''local replication alice scram-sha-256''])) to %L',
           current_setting('hba_file')); end $$; select pg_reload_conf()",
    );
    let proxy = old.database.afar().0;
    let key = ["id".to_owned()];
    // The settings are read anew some time after they were written.
    let wrong = loop {
        let alice = old.database.through(&proxy, "user=alice password=wrong");
        if let Err(error) = alice.inspect("t", &key) {
            break error;
        }
    };
    let told = (wrong.kind, wrong.code);
    assert_eq!(told, (Kind::Precondition, Code::END_UNREACHABLE));
    let alice = old.database.through(&proxy, "user=alice password=secret");
    assert!(alice.inspect("t", &key).unwrap().is_some());
    let mut feed = alice.feed(&old.role).unwrap();
    feed.open(&Start::Earliest).unwrap();
    old.database.run("insert into t values (1, 'a')");
    assert_eq!(events(feed.as_mut(), 1).len(), 1);
}
