//! SIGKILL at every named point, then resume, then audit.
//!
//! One life of a change reaches every point but those of an abort. By default each point kills
//! one process at its first hit. With `CONTRAFLOW_SOAK=1` each point kills one life of its own at
//! its first, second and last hit, with two files and with one.

use std::collections::BTreeSet;

use contraflow_core::probe::Point;

use super::fixture::{Fixture, Plan, Writers};
use super::process::Process;

/// Time to do something while history is copied.
const LIFE: Plan = Plan {
    rows: 1_200,
    limits: "{ fence_max: 3s, rate_rows_per_s: 600 }",
    ..Plan::PHONEBOOK
};

const STARTING: &[Point] = &[
    Point::EXPAND_BEFORE,
    Point::EXPAND_AFTER,
    Point::LEDGER_INTENT,
    Point::LEDGER_RESULT,
    Point::LEASE_CLAIMED,
    Point::CHUNK_READ,
    Point::CHUNK_APPLY_MID,
    Point::CHUNK_APPLIED,
];
const FOLLOWING: &[Point] = &[
    Point::FEED_RECEIVED,
    Point::BATCH_APPLY_MID,
    Point::COMMIT_BEFORE,
    Point::COMMIT_AFTER,
    Point::BATCH_APPLIED,
    Point::CONFIRMED,
];
const TURNING: &[Point] = &[
    Point::TURN_JUDGED,
    Point::FENCE_BEFORE,
    Point::FENCE_AFTER,
    Point::DRAINED,
    Point::COMPARED,
    Point::SEAL_BEFORE,
    Point::SEAL_AFTER,
    Point::FLIP_AFTER,
];
const CARRYING_AGAIN: &[Point] = &[Point::RECARRY_READ];
const CONTRACTING: &[Point] = &[Point::CONTRACT_SIDE, Point::CONTRACT_AFTER];
pub(super) const ABORTING: &[Point] = &[Point::ABORT_SIDE];

/// Starts a verb that must be killed at a point.
fn doomed(fixture: &Fixture, args: &[&str], point: Point) -> Process {
    fixture.spawn(args, &[("CONTRAFLOW_CRASH_AT", &format!("{}:1", point.0))])
}

/// Waits for the death of a process at a point.
fn dies(fixture: &Fixture, mut process: Process, point: Point) {
    let code = process.wait();
    assert_eq!(
        code,
        None,
        "`{}` was never hit{}",
        point.0,
        fixture.history()
    );
}

#[test]
fn every_point_is_on_a_list() {
    let lists = [
        STARTING,
        FOLLOWING,
        CARRYING_AGAIN,
        TURNING,
        CONTRACTING,
        ABORTING,
    ];
    let listed: BTreeSet<&str> = lists.concat().iter().map(|point| point.0).collect();
    let all: BTreeSet<&str> = Point::ALL.iter().map(|point| point.0).collect();
    assert_eq!(listed, all);
}

#[test]
fn a_change_is_killed_at_every_point_of_its_life() {
    let fixture = Fixture::new(LIFE);
    let mut writers = fixture.writers();
    for &point in STARTING {
        dies(&fixture, doomed(&fixture, &["run"], point), point);
    }
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    writers.audited("old");
    runner.kill();
    for &point in FOLLOWING {
        dies(&fixture, doomed(&fixture, &["run"], point), point);
    }
    for &point in CARRYING_AGAIN {
        let runner = fixture.run_with(&[("CONTRAFLOW_CRASH_AT", &format!("{}:1", point.0))]);
        // The verb outlives the runner, and does the work itself.
        fixture.must(&["repair", "5"]);
        dies(&fixture, runner, point);
    }
    let mut runner = fixture.run();
    writers.audited("old");
    runner.kill();
    let authority = turns(&fixture, &mut writers);
    assert_eq!(authority, "old", "an even number of turns");
    fixture.must(&["cutover"]);
    for &point in CONTRACTING {
        dies(
            &fixture,
            doomed(&fixture, &["contract", "--yes"], point),
            point,
        );
    }
    fixture.must(&["run"]);
    writers.work();
    writers.pause();
    fixture.audit_still("new");
    writers.finish();
}

/// A turn is killed at each of its points; the verb that asked for it outlives the runner and
/// brings it to its end. Every other time the verb is the runner, and is asked again.
fn turns(fixture: &Fixture, writers: &mut Writers<'_>) -> &'static str {
    let mut sides = [("cutover", "new"), ("rollback", "old")].iter().cycle();
    let mut authority = "old";
    for (number, &point) in TURNING.iter().enumerate() {
        let &(verb, gaining) = sides.next().expect("a cycle");
        if number % 2 == 0 {
            let runner = fixture.run_with(&[("CONTRAFLOW_CRASH_AT", &format!("{}:1", point.0))]);
            fixture.must(&[verb]);
            dies(fixture, runner, point);
        } else {
            dies(fixture, doomed(fixture, &[verb], point), point);
            let mut runner = fixture.run();
            fixture.finds("the turn ends", |status| status["authority"] == gaining);
            runner.kill();
        }
        authority = gaining;
        let mut runner = fixture.run();
        writers.work();
        writers.audited(authority);
        runner.kill();
    }
    authority
}

#[test]
fn an_abort_is_killed_between_its_sides() {
    let fixture = Fixture::new(LIFE);
    let before = fixture.dump("old");
    for &point in ABORTING {
        let mut runner = fixture.run();
        fixture.wait_for("lag");
        runner.kill();
        dies(
            &fixture,
            doomed(&fixture, &["abort", "--yes"], point),
            point,
        );
        fixture.must(&["run"]);
    }
    assert!(fixture.dump("old") == before);
}
