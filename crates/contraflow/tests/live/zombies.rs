//! Processes that die or hang at the worst moment, and come back when somebody else has gone on.

use std::time::Duration;

use contraflow_core::probe::Point;

use super::fixture::{Fixture, Plan, Writers};
use super::process::{Process, pause, until};

/// Fences that end soon when nobody is there to lift them.
const SHORT: Plan = Plan {
    limits: "{ fence_max: 2s }",
    ..Plan::PHONEBOOK
};

fn followed(fixture: &Fixture) -> Process {
    let runner = fixture.run();
    fixture.wait_for("follow");
    runner
}

/// Starts a run once the other one counts as silent.
pub(super) fn second_instance(fixture: &Fixture) -> Process {
    let mut second = fixture.run();
    until("the silent run is taken over", || {
        if !second.runs() {
            assert!(second.err().contains("CF0306"), "{}", second.err());
            second = fixture.run();
        }
        second.runs()
    });
    second
}

/// Where a process stands still at a point, or `None` when it was caught inside a transaction: then
/// it keeps SQLite's lock for as long as it stands, and nobody can do anything about it.
fn stopped_once(fixture: &Fixture, args: &[&str], point: Point) -> Option<Process> {
    let at = format!("{}:1", point.0);
    let mut process = fixture.spawn(args, &[("CONTRAFLOW_STOP_AT", &at)]);
    process.until_stopped();
    fixture.is_unlocked().then_some(process)
}

/// As [`stopped_once`], tried until it is outside. What those before asked for still stands.
fn stopped_at(fixture: &Fixture, args: &[&str], point: Point) -> Process {
    loop {
        if let Some(process) = stopped_once(fixture, args, point) {
            return process;
        }
    }
}

/// Continues a process whose place was taken: it must notice and end with an error.
pub(super) fn notices(fixture: &Fixture, mut zombie: Process) {
    zombie.signal("-CONT");
    let code = zombie.wait();
    assert_eq!(
        code,
        Some(2),
        "{}\n{}{}",
        zombie.out(),
        zombie.err(),
        fixture.history()
    );
    assert!(zombie.err().contains("CF0301"), "{}", zombie.err());
}

#[test]
fn a_fence_without_an_owner_ends_by_its_deadline() {
    let fixture = Fixture::new(SHORT);
    let mut writers = fixture.writers();
    followed(&fixture).kill();
    let at = format!("{}:1", Point::FENCE_AFTER.0);
    let mut verb = fixture.spawn(&["cutover"], &[("CONTRAFLOW_CRASH_AT", &at)]);
    assert_eq!(verb.wait(), None, "killed while fenced: {}", verb.err());
    // Nobody is there. The application goes on by itself.
    writers.work();
    writers.pause();
    let report = fixture.report("old");
    assert_eq!(report["open"], serde_json::json!(["old"]));
    assert_eq!(report["lost"], serde_json::json!([]));
    writers.resume();
    // The request stands until it is answered: the next run takes it up from the start.
    let _runner = fixture.run();
    fixture.wait_for("reverse");
    writers.work();
    writers.audited("new");
    writers.finish();
}

#[test]
fn a_fence_whose_owner_hangs_ends_by_its_deadline() {
    // Of two requests that stand, one would be refused and the other granted: each try has a change
    // of its own.
    while !is_refused_after_hanging() {}
}

/// False when the owner was caught inside a transaction.
fn is_refused_after_hanging() -> bool {
    let fixture = Fixture::new(SHORT);
    let mut writers = fixture.writers();
    followed(&fixture).kill();
    let Some(mut hanging) = stopped_once(&fixture, &["cutover"], Point::FENCE_AFTER) else {
        return false;
    };
    writers.work();
    writers.pause();
    assert_eq!(
        fixture.report("old")["open"],
        serde_json::json!(["old"]),
        "open again although the owner hangs"
    );
    writers.resume();
    // It comes back after its fence has ended, with nobody in its place: the turn is refused, and
    // the change is back in follow.
    hanging.signal("-CONT");
    assert_eq!(hanging.wait(), Some(1), "{}", hanging.err());
    assert!(hanging.err().contains("CF03"), "{}", hanging.err());
    assert_eq!(fixture.status()["phase"], "follow");
    let _runner = followed(&fixture);
    writers.audited("old");
    writers.finish();
    true
}

/// One instance hangs in a turn, a second one flips, the first comes back.
fn one_end_stays_open(point: Point) {
    let fixture = Fixture::new(SHORT);
    let mut writers = fixture.writers();
    followed(&fixture).kill();
    let zombie = stopped_at(&fixture, &["cutover"], point);
    let _second = second_instance(&fixture);
    // The second instance finds the request that stands, or the flip that was begun.
    fixture.finds("the second instance flips", |status| {
        status["authority"] == "new"
    });
    fixture.finds("the turn is over", |status| status["phase"] == "reverse");
    writers.work();
    writers.pause();
    fixture.audit("new");
    notices(&fixture, zombie);
    fixture.audit("new");
    writers.resume();
    writers.work();
    writers.audited("new");
    writers.finish();
}

#[test]
fn a_zombie_at_its_fence_leaves_one_end_open() {
    one_end_stays_open(Point::FENCE_AFTER);
}

#[test]
fn a_zombie_before_its_seal_leaves_one_end_open() {
    one_end_stays_open(Point::SEAL_BEFORE);
}

#[test]
fn a_zombie_before_its_flip_leaves_one_end_open() {
    one_end_stays_open(Point::SEAL_AFTER);
}

/// Every byte of both ends, our own bookkeeping included.
fn everything(fixture: &Fixture) -> [String; 2] {
    [fixture.dump("old"), fixture.dump("new")]
}

/// A run hangs at a point, a second one takes its place and is stopped in its turn; the first one
/// comes back and must not write a byte.
fn writes_nothing(point: Point, limits: &'static str) {
    let fixture = Fixture::new(Plan {
        limits,
        ..Plan::PHONEBOOK
    });
    let mut writers = fixture.writers();
    let zombie = stopped_at(&fixture, &["run"], point);
    let mut second = second_instance(&fixture);
    fixture.wait_for("follow");
    writers.work();
    writers.audited("old");
    writers.pause();
    let rests = |writers: &mut Writers<'_>| {
        let before = everything(&fixture);
        pause(Duration::from_millis(1_500));
        writers.healthy();
        before == everything(&fixture)
    };
    until("the ends are still", || rests(&mut writers));
    second.stand_still();
    let before = everything(&fixture);
    notices(&fixture, zombie);
    assert!(before == everything(&fixture), "the zombie wrote");
    second.signal("-CONT");
    writers.resume();
    writers.work();
    writers.audited("old");
    writers.finish();
}

#[test]
fn a_zombie_with_a_chunk_in_hand_writes_nothing() {
    writes_nothing(Point::CHUNK_READ, "{ rate_rows_per_s: 2000 }");
}

#[test]
fn a_zombie_with_a_batch_in_hand_writes_nothing() {
    writes_nothing(Point::FEED_RECEIVED, "{ fence_max: 5s }");
}

#[test]
fn a_zombie_with_a_batch_unconfirmed_writes_nothing() {
    writes_nothing(Point::BATCH_APPLIED, "{ fence_max: 5s }");
}

/// A process that hangs inside a transaction keeps the mirror's lock. Whoever takes its place waits
/// and says so; when the lock is gone it goes on.
#[test]
fn a_zombie_inside_a_transaction_is_waited_for() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut writers = fixture.writers();
    let at = format!("{}:1", Point::COMMIT_BEFORE.0);
    let mut zombie = fixture.spawn(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    zombie.until_stopped();
    // The mirror is not where the application writes: it notices nothing.
    writers.work();
    let mut second = fixture.spawn(&["run"], &[]);
    let told = |second: &mut Process| !second.runs() || second.err().contains("trying again");
    until("the second instance waits", || {
        if !second.runs() {
            assert!(second.err().contains("CF0306"), "{}", second.err());
            second = fixture.spawn(&["run"], &[]);
        }
        told(&mut second)
    });
    notices(&fixture, zombie);
    fixture.wait_for("follow");
    writers.work();
    writers.audited("old");
    writers.finish();
}

#[test]
fn a_second_instance_is_refused_while_the_first_lives() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut runner = followed(&fixture);
    let second = fixture.verb(&["run"]);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.err.contains("CF0306"), "{second:?}");
    assert!(runner.runs());
    fixture.must(&["verify"]);
}

/// It is the next one's turn as soon as the verb has its answer.
#[test]
fn a_run_waits_for_a_verb_that_runs_the_change_itself() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    assert_eq!(followed(&fixture).terminate(), Some(0));
    let mut verb = stopped_at(&fixture, &["verify"], Point::LEASE_CLAIMED);
    let mut run = fixture.spawn(&["run"], &[]);
    until("it waits, or was refused", || {
        run.err().contains("waiting for that") || !run.runs()
    });
    assert!(run.runs(), "{}", run.err());
    verb.signal("-CONT");
    assert_eq!(verb.wait(), Some(0), "{}", verb.err());
    until("it runs", || run.err().contains("follow") || !run.runs());
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

#[test]
fn of_several_first_runs_at_once_one_runs_and_none_breaks() {
    for _ in 0..4 {
        let fixture = Fixture::new(Plan::PHONEBOOK);
        let mut runs: Vec<Process> = (0..4).map(|_| fixture.spawn(&["run"], &[])).collect();
        until("one runs", || {
            runs.iter_mut()
                .filter_map(|run| run.runs().then_some(()))
                .count()
                == 1
        });
        for run in runs
            .iter_mut()
            .filter_map(|run| (!run.runs()).then_some(run))
        {
            assert_eq!(run.wait(), Some(2), "{}", run.err());
            assert!(run.err().contains("CF0306"), "{}", run.err());
        }
        fixture.wait_for("follow");
    }
}

#[test]
fn a_hold_is_a_true_pause() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut writers = fixture.writers();
    let mut runner = followed(&fixture);
    fixture.must(&["hold", "--reason", "a look"]);
    assert_eq!(fixture.verb(&["status"]).code, Some(1));
    let before = fixture.dump("new");
    writers.work();
    assert!(before == fixture.dump("new"), "carried while held");
    assert_eq!(fixture.verb(&["cutover"]).code, Some(1));
    // A restart does not end it.
    assert_eq!(runner.terminate(), Some(0));
    let mut runner = fixture.run();
    writers.work();
    assert!(before == fixture.dump("new"), "carried while held");
    fixture.must(&["resume"]);
    writers.audited("old");
    assert_eq!(runner.terminate(), Some(0));
    writers.finish();
}

#[test]
fn a_verb_and_a_run_start_at_once() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    followed(&fixture).kill();
    for verb in ["cutover", "rollback", "cutover", "rollback"] {
        let mut runner = fixture.spawn(&["run"], &[]);
        fixture.must(&[verb]);
        until("the run has its turn", || {
            !runner.runs() || fixture.status()["running"]["pid"] == runner.id()
        });
        assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    }
    fixture.must(&["verify"]);
}
