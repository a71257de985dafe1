//! What every verb says when it cannot do what it was asked for.

use super::Script;
use crate::desk::{CHANGE, Desk, TABLE};

/// Verbs on a change, each with what it needs.
const ON_A_CHANGE: [&str; 16] = [
    "check",
    "plan",
    "run",
    "status",
    "wait --for follow",
    "cutover",
    "rollback",
    "contract --yes",
    "abort --yes",
    "hold",
    "resume",
    "verify",
    "diff --key 1",
    "repair 1",
    "letters list",
    "adopt",
];

#[test]
fn no_change_file_and_wrong_uses() {
    let desk = Desk::new();
    let mut script = Script::new(&desk);
    for verb in ON_A_CHANGE {
        script.run(verb);
    }
    script.run("run --json");
    for wrong in [
        "",
        "frobnicate",
        "cutover --fast",
        "repair",
        "letters",
        "wait",
    ] {
        script.run(wrong);
    }
    script.both("explain CF9999");
    script.both("init --change Wrong");
    desk.change(CHANGE);
    script.both("init");
    script.both("wait --for folow");
    script.both("wait --for follow --timeout soon");
    script.kept_as("wrong_use");
}

#[test]
fn a_change_file_full_of_mistakes() {
    let desk = Desk::usual();
    desk.change("version: 1\nchange: C\nold: { sqlit: a.db }\nnew: { sqlite: \"${env:NOPE}\" }\npairs:\n  - {old: t, new: t2, key: id, mapping: [{renam: {from: a, to: b}}]}\nlimits: {fence_max: 5}\n");
    let mut script = Script::new(&desk);
    for verb in ["check", "run --json", "status", "cutover", "abort --yes"] {
        script.run(verb);
    }
    desk.change(&CHANGE.replace("from: a", "from: aa"));
    script.both("check");
    script.kept_as("mistakes");
}

#[test]
fn a_change_that_was_not_begun() {
    let desk = Desk::usual();
    let mut script = Script::new(&desk);
    for verb in &ON_A_CHANGE[5..] {
        script.both(verb);
    }
    script.kept_as("not_begun");
}

#[test]
fn letters_and_closed_gates() {
    let desk = Desk::over(TABLE);
    desk.change(&CHANGE.replace(
        "{rename: {from: a, to: b}}",
        "{rename: {from: a, to: b}}, {convert: {field: b, to: int64, on_fail: {up: letter}}}",
    ));
    let mut script = Script::new(&desk);
    script.run("check");
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    script.both("verify");
    script.both("cutover");
    script.both("letters list");
    script.both("letters show 1");
    script.both("letters show 99");
    script.both("letters replay 1");
    script.both("diff --key 1");
    script.both("diff --key x");
    script.both("diff --key 77");
    script.both("repair x");
    script.both("repair 1 --table nowhere");
    script.both("rollback");
    script.both("contract --yes");
    script.run("contract");
    script.run("abort --json");
    script.both("status");
    script.kept_as("letters");
}

#[test]
fn a_change_that_is_over() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["abort", "--yes"]).says(0, &[]);
    assert_eq!(run.ended(), Some(0));
    let mut script = Script::new(&desk);
    for verb in &ON_A_CHANGE[3..] {
        script.both(verb);
    }
    script.kept_as("over");
}
