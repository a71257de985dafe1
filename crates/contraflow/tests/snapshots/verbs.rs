//! A change from its first file to its end.

use super::Script;
use crate::desk::{CHANGE, Desk, TABLE};

const VERBS: [&str; 19] = [
    "init", "check", "plan", "run", "status", "wait", "cutover", "rollback", "contract", "abort",
    "hold", "resume", "verify", "diff", "repair", "letters", "adopt", "explain", "schema",
];

#[test]
fn help() {
    let desk = Desk::new();
    let mut script = Script::new(&desk);
    script.run("--version");
    script.run("--help");
    for verb in VERBS {
        script.run(&format!("{verb} --help"));
    }
    for verb in ["list", "show", "replay"] {
        script.run(&format!("letters {verb} --help"));
    }
    for verb in ["list", "translate", "move", "mark"] {
        script.run(&format!("consumers {verb} --help"));
    }
    script.kept_as("help");
}

#[test]
fn before_the_first_run() {
    let desk = Desk::new();
    let mut script = Script::new(&desk);
    script.run("init");
    script.run("init --json second.yaml");
    script.run("explain CF0031");
    script.run("explain CF0031 --json");
    script.run("explain");
    desk.change(CHANGE);
    desk.sql("app.db", TABLE);
    script.both("check");
    script.both("check --laws");
    script.both("plan");
    script.both("status");
    script.both("letters list");
    script.both("adopt");
    script.kept_as("before");
}

#[test]
fn a_change_that_is_carried_through() {
    let desk = Desk::usual();
    let mut script = Script::new(&desk);
    let run = desk.start();
    run.wait_for("follow");
    run.wait_for("lag");
    script.both("status");
    script.both("wait --for follow");
    script.both("wait --for reverse --timeout 0s");
    script.both("verify");
    script.both("repair 1 2");
    script.both("diff --key 1");
    script.both("letters list");
    script.both("letters replay");
    script.run("hold --reason lunch");
    script.both("status");
    script.run("resume --json");
    script.run("hold --json");
    script.run("resume");
    script.run("cutover");
    script.both("status");
    script.run("rollback --json");
    script.run("cutover --json");
    script.run("rollback");
    run.wait_for("lag");
    assert_eq!(run.stop(), Some(0));
    let run = desk.run(&["cutover"]);
    script.said("cutover", &run);
    script.both("status");
    script.run("contract");
    script.run("contract --yes");
    script.both("status");
    script.both("run");
    script.kept_as("carried");
}

#[test]
fn a_run_and_an_abort() {
    let desk = Desk::usual();
    let mut script = Script::new(&desk);
    for (run, abort) in [("run", "abort --yes"), ("run --json", "abort --json --yes")] {
        let running = desk.start_as(desk.command(&run.split(' ').collect::<Vec<_>>()));
        while desk.run(&["status"]).out.contains("phase aborted") {}
        running.wait_for("follow");
        script.run(abort);
        let done = running.said();
        script.said(run, &done);
        script.both("status");
    }
    script.kept_as("aborted");
}
