//! Each fixture declares its change once and runs every ending.

use super::fixture::{Fixture, Plan};

fn complete(plan: Plan) {
    let fixture = Fixture::new(plan);
    let mut writers = fixture.writers();
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    writers.work();
    writers.audited("old");
    fixture.must(&["cutover"]);
    writers.work();
    writers.audited("new");
    fixture.must(&["contract", "--yes"]);
    assert_eq!(runner.wait(), Some(0), "{}", runner.err());
    writers.work();
    writers.pause();
    let report = fixture.audit_still("new");
    assert!(report["old"].is_null(), "the old tables are gone: {report}");
    for side in ["old", "new"] {
        let left = fixture.number(
            side,
            "select count(*) from sqlite_schema where name like '%contraflow%'",
        );
        assert_eq!(left, 0, "nothing of ours is left at the {side} end");
    }
    writers.finish();
}

fn there_and_back_and_there(plan: Plan) {
    let fixture = Fixture::new(plan);
    let mut writers = fixture.writers();
    let _runner = fixture.run();
    fixture.wait_for("follow");
    for (verb, authority) in [("cutover", "new"), ("rollback", "old"), ("cutover", "new")] {
        writers.work();
        fixture.must(&[verb]);
        writers.audited(authority);
    }
    writers.work();
    writers.audited("new");
    writers.finish();
}

/// Killed wherever it happens to be, again and again.
fn kill_and_resume(plan: Plan) {
    let fixture = Fixture::new(plan);
    let mut writers = fixture.writers();
    for _ in 0..3 {
        let mut runner = fixture.run();
        writers.work();
        runner.kill();
    }
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    runner.kill();
    writers.work();
    let mut runner = fixture.run();
    writers.audited("old");
    runner.kill();
    // Nobody runs the change: the verb does the work itself.
    fixture.must(&["cutover"]);
    writers.work();
    let mut runner = fixture.run();
    writers.audited("new");
    runner.kill();
    let mut runner = fixture.run();
    fixture.must(&["rollback"]);
    writers.work();
    writers.audited("old");
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    writers.finish();
}

/// Aborts from everywhere before the first flip: the old side is what it was, byte for byte.
fn abort(plan: Plan) {
    let fixture = Fixture::new(plan);
    let before = fixture.dump("old");
    // Whether there is something to abort before the first run is for the verb's own tests.
    let never_begun = fixture.verb(&["abort", "--yes"]);
    assert!(matches!(never_begun.code, Some(0 | 1)), "{never_begun:?}");
    assert!(fixture.dump("old") == before, "never begun");
    start_over(&fixture, plan);
    for from in ["expand", "backfill", "follow", "held"] {
        let settings: &[_] = match from {
            "expand" => &[("CONTRAFLOW_CRASH_AT", "expand.after:1")],
            _ => &[],
        };
        let mut runner = fixture.spawn(&["run"], settings);
        match from {
            "expand" => assert_eq!(runner.wait(), None, "killed"),
            "backfill" => fixture.wait_for("lag"),
            "held" => {
                fixture.wait_for("follow");
                fixture.must(&["hold"]);
            }
            _ => fixture.wait_for("follow"),
        }
        if from == "backfill" {
            assert_eq!(fixture.status()["phase"], "backfill");
        }
        fixture.must(&["abort", "--yes"]);
        let ended = if from == "expand" { None } else { Some(0) };
        assert_eq!(runner.wait(), ended, "{}", runner.err());
        assert!(fixture.dump("old") == before, "aborted from {from}");
        start_over(&fixture, plan);
    }
    abort_under_load(&fixture);
}

/// Tables that were there before the change stay at an abort, with what was copied into them.
fn start_over(fixture: &Fixture, plan: Plan) {
    // It is not there when nothing was ever begun.
    drop(std::fs::remove_dir_all(fixture.path().join(".contraflow")));
    if plan.premade {
        for table in fixture.new_tables() {
            fixture.sql("new", &format!("delete from {table}"));
        }
    }
}

fn abort_under_load(fixture: &Fixture) {
    let mut writers = fixture.writers();
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    writers.work();
    fixture.must(&["abort", "--yes"]);
    assert_eq!(runner.wait(), Some(0), "{}", runner.err());
    writers.work();
    writers.pause();
    let report = fixture.report("old");
    assert_eq!(report["lost"], serde_json::json!([]), "{report:.3000}");
    assert_eq!(report["problems"], serde_json::json!([]));
    let left = fixture.number(
        "old",
        "select count(*) from sqlite_schema where name like '%contraflow%'",
    );
    assert_eq!(left, 0);
    writers.finish();
}

#[test]
fn phonebook_completes() {
    complete(Plan::PHONEBOOK);
}

#[test]
fn phonebook_in_one_file_completes() {
    complete(Plan::ONE_FILE);
}

#[test]
fn shop_completes() {
    complete(Plan::SHOP);
}

#[test]
fn phonebook_goes_there_and_back_and_there() {
    there_and_back_and_there(Plan::PHONEBOOK);
}

#[test]
fn phonebook_in_one_file_goes_there_and_back_and_there() {
    there_and_back_and_there(Plan::ONE_FILE);
}

#[test]
fn shop_goes_there_and_back_and_there() {
    there_and_back_and_there(Plan::SHOP);
}

#[test]
fn phonebook_is_killed_and_resumes() {
    kill_and_resume(Plan::SLOW);
}

#[test]
fn phonebook_in_one_file_is_killed_and_resumes() {
    kill_and_resume(Plan {
        limits: Plan::SLOW.limits,
        ..Plan::ONE_FILE
    });
}

#[test]
fn shop_is_killed_and_resumes() {
    kill_and_resume(Plan {
        limits: Plan::SLOW.limits,
        ..Plan::SHOP
    });
}

#[test]
fn phonebook_is_aborted() {
    abort(Plan::SLOW);
}

#[test]
fn phonebook_in_one_file_is_aborted() {
    abort(Plan {
        limits: Plan::SLOW.limits,
        ..Plan::ONE_FILE
    });
}

#[test]
fn shop_is_aborted() {
    abort(Plan {
        limits: Plan::SLOW.limits,
        ..Plan::SHOP
    });
}
