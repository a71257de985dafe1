//! The runner on real files, with a ledger and ends that fail at the worst moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use contraflow_core::code::Code;
use contraflow_core::error::Result;
use contraflow_core::ledger::{Answer, Entry, Ledger, RunnerMark};
use contraflow_core::phase::{Ask, Phase, State};
use contraflow_core::probe::{Point, Probe};
use contraflow_ends::ledger::SqliteLedger;
use contraflow_engine::progress::Progress;
use contraflow_engine::runner::{Runner, SharedLedger, Until, Watcher};
use contraflow_engine::tasks::Stop;
use rusqlite::Connection;

use super::files::File;
use super::load::{clock, context_with};

const OLD: &str = "create table people (id integer primary key, name text not null,
    tag text unique, n integer not null); insert into people values (1, 'a', null, 1)";
const NEW: &str = "create table contacts (id integer primary key, label text not null,
    tag text unique, kind text not null)";

struct Silent;

impl Watcher for Silent {
    fn noted(&mut self, _: &Entry) {}
    fn progressed(&mut self, _: &State, _: &Progress) {}
}

/// Asks for the cutover as soon as history is copied: the first request of its ledger.
struct Asks(SharedLedger);

const FIRST: u64 = 1;

impl Watcher for Asks {
    fn noted(&mut self, entry: &Entry) {
        if entry.text == "history is copied" {
            let ask = Ask::Cutover { accept_loss: false };
            let id = self.0.lock().unwrap().ask(&ask, &mark("asker")).unwrap();
            assert_eq!(id, FIRST);
        }
    }
    fn progressed(&mut self, _: &State, _: &Progress) {}
}

fn mark(run: &str) -> RunnerMark {
    RunnerMark {
        run: run.to_owned(),
        pid: 7,
        started: 70,
        file: 0,
        brief: false,
        beat_ms: 0,
    }
}

fn shared(ledger: &Place) -> SharedLedger {
    let ledger = SqliteLedger::open(&ledger.0, "load").unwrap();
    Arc::new(Mutex::new(Box::new(ledger)))
}

/// Where a ledger lies.
struct Place(std::path::PathBuf);

/// Locks the ledger's file, as another program would, from the seal until the flip.
struct Locks {
    ledger: std::path::PathBuf,
    lock: Mutex<Option<Connection>>,
    flipped_under_lock: AtomicBool,
}

impl Probe for Locks {
    fn at(&self, point: Point) -> Result<()> {
        if point == Point::SEAL_AFTER {
            let db = Connection::open(&self.ledger).unwrap();
            db.execute_batch("begin immediate").unwrap();
            *self.lock.lock().unwrap() = Some(db);
        }
        if point == Point::FLIP_AFTER {
            let held = self.lock.lock().unwrap().take();
            self.flipped_under_lock
                .store(held.is_some(), Ordering::SeqCst);
        }
        Ok(())
    }
}

#[test]
fn a_ledger_that_is_locked_after_the_seal_does_not_keep_both_ends_closed() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let place = Place(old.path.with_file_name("ledger.db"));
    let ledger = shared(&place);
    let probe = Arc::new(Locks {
        ledger: place.0.clone(),
        lock: Mutex::default(),
        flipped_under_lock: AtomicBool::new(false),
    });
    let context = context_with(&old, &new, Arc::clone(&probe) as Arc<dyn Probe>);
    let mut watcher = Asks(Arc::clone(&ledger));
    let runner = Runner::start(
        context,
        Arc::clone(&ledger),
        mark("run"),
        |_| true,
        Stop::default(),
        &mut watcher,
    )
    .unwrap();
    let state = runner.run(Until::Answered(FIRST)).unwrap();
    assert_eq!(state.phase, Phase::Reverse);
    assert!(probe.flipped_under_lock.load(Ordering::SeqCst));
}

/// Makes the gaining end refuse to open, and asks to stop.
struct Refuses(Stop, std::path::PathBuf);

impl Probe for Refuses {
    fn at(&self, point: Point) -> Result<()> {
        if point == Point::SEAL_AFTER {
            let db = Connection::open(&self.1).unwrap();
            db.execute_batch(
                "create trigger refuse before update of token on \"_contraflow_load_new_lane\"
                 begin select raise(abort, 'refused'); end",
            )
            .unwrap();
            self.0.ask();
        }
        Ok(())
    }
}

#[test]
fn a_flip_that_is_refused_for_long_hears_a_stop_and_is_finished_by_the_next_run() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let place = Place(old.path.with_file_name("ledger.db"));
    let ledger = shared(&place);
    let stop = Stop::default();
    let probe = Arc::new(Refuses(stop.clone(), new.path.clone()));
    let context = context_with(&old, &new, Arc::clone(&probe) as Arc<dyn Probe>);
    let run = |context, stop| {
        let mut watcher = Asks(Arc::clone(&ledger));
        let ledger = Arc::clone(&ledger);
        Runner::start(context, ledger, mark("run"), |_| true, stop, &mut watcher)
            .unwrap()
            .run(Until::Answered(FIRST))
    };
    let error = run(context, stop).unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    let lines = ledger.lock().unwrap().history(1_000).unwrap().len();
    assert!(lines < 60, "{lines} lines of history");
    new.db.execute_batch("drop trigger refuse").unwrap();
    let probe = Arc::new(contraflow_core::probe::Silent);
    let context = context_with(&old, &new, probe);
    let state = run(context, Stop::default()).unwrap();
    assert_eq!(state.phase, Phase::Reverse);
}

#[test]
fn a_request_that_was_withdrawn_is_neither_answered_again_nor_taken() {
    let old = File::new(OLD);
    let mut ledger = SqliteLedger::open(&old.path.with_file_name("ledger.db"), "l").unwrap();
    let id = ledger.ask(&Ask::Contract, &mark("asker")).unwrap();
    assert!(ledger.withdraw(id).unwrap());
    assert!(!ledger.withdraw(id).unwrap(), "it was already");
    assert!(!ledger.answered(id).unwrap().unwrap().granted);
    assert!(ledger.requests().unwrap().is_empty());
    let entry = Entry {
        at_ms: 0,
        kind: "asked".to_owned(),
        text: String::new(),
    };
    let mut state = State::declared();
    state.asked = Some(id);
    let error = ledger.commit(0, &state, "m", &entry).unwrap_err();
    assert_eq!(error.code, Code::NOT_CONFIRMED);
    let taken = ledger.ask(&Ask::Contract, &mark("asker")).unwrap();
    state.asked = Some(taken);
    ledger.commit(0, &state, "m", &entry).unwrap();
    assert!(!ledger.withdraw(taken).unwrap(), "it was taken");
}

/// It was silent for so long that another process took its place, and came back in the middle of a
/// compare that its voided lease had spoiled.
#[test]
fn a_run_that_was_overtaken_does_not_answer() {
    let old = File::new(OLD);
    let mut ledger = SqliteLedger::open(&old.path.with_file_name("ledger.db"), "l").unwrap();
    let id = ledger
        .ask(&Ask::Verify { keys: false }, &mark("asker"))
        .unwrap();
    let answer = |text: &str| Answer {
        granted: text == "clean",
        code: None,
        text: text.to_owned(),
        detail: None,
        hint: None,
        data: None,
    };
    ledger.beat(&mark("silent"), 0, None).unwrap();
    ledger.beat(&mark("next"), 0, Some("silent")).unwrap();
    let error = ledger
        .answer("silent", id, &answer("unproven"))
        .unwrap_err();
    assert_eq!(error.code, Code::FENCED);
    assert!(ledger.answered(id).unwrap().is_none());
    ledger.answer("next", id, &answer("clean")).unwrap();
    assert_eq!(ledger.answered(id).unwrap().unwrap().text, "clean");
}

/// Both looked while the dead run stood in the ledger. Two that run at once would overtake each other
/// at every step.
#[test]
fn of_two_that_find_a_run_dead_one_takes_its_place() {
    let old = File::new(OLD);
    let mut ledger = SqliteLedger::open(&old.path.with_file_name("ledger.db"), "l").unwrap();
    ledger.beat(&mark("dead"), 0, None).unwrap();
    let mut take = |run: &str| ledger.beat(&mark(run), 0, Some("dead")).unwrap().run;
    assert_eq!(take("first"), "first");
    assert_eq!(take("second"), "first");
}

#[test]
fn an_abort_whose_asker_is_gone_is_not_done_by_a_later_run() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let ledger = shared(&Place(old.path.with_file_name("ledger.db")));
    let context = context_with(&old, &new, Arc::new(contraflow_core::probe::Silent));
    let id = ledger
        .lock()
        .unwrap()
        .ask(&Ask::Abort, &mark("gone"))
        .unwrap();
    let mut watcher = Silent;
    let runner = Runner::start(
        context,
        Arc::clone(&ledger),
        mark("run"),
        |_| false,
        Stop::default(),
        &mut watcher,
    );
    let state = runner.unwrap().run(Until::Answered(id)).unwrap();
    assert!(!state.phase.is_end(), "{state:?}");
    let answer = ledger.lock().unwrap().answered(id).unwrap().unwrap();
    assert!(answer.text.contains("withdrawn"), "{}", answer.text);
}

#[test]
fn a_sign_of_life_from_the_future_does_not_keep_a_run() {
    let (old, new) = (File::new(OLD), File::new(NEW));
    let ledger = shared(&Place(old.path.with_file_name("ledger.db")));
    let ahead = RunnerMark {
        beat_ms: clock().unix_ms() + 3_600_000,
        ..mark("ahead")
    };
    ledger.lock().unwrap().beat(&ahead, 0, None).unwrap();
    let context = context_with(&old, &new, Arc::new(contraflow_core::probe::Silent));
    let mut watcher = Silent;
    let stop = Stop::default();
    let runner = Runner::start(context, ledger, mark("run"), |_| true, stop, &mut watcher);
    assert!(runner.is_ok(), "{:?}", runner.err());
}

/// A process that stands still in the middle of a write keeps the others from writing.
#[test]
fn a_ledger_that_somebody_holds_is_said_to_be_locked() {
    let old = File::new(OLD);
    let path = old.path.with_file_name("ledger.db");
    let mut ledger = SqliteLedger::open(&path, "l").unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let error = ledger.report("{}").unwrap_err();
    assert!(
        error.message.contains("locked by another process"),
        "{error}"
    );
    assert_eq!(ledger.reported().unwrap(), None);
    other.execute_batch("rollback").unwrap();
    ledger.report("{}").unwrap();
}
