//! A change that is over, or was never begun: what its verbs answer.

use crate::desk::{CHANGE, Desk};

/// Verbs that ask something of a running change.
const ASKING: [&[&str]; 9] = [
    &["cutover"],
    &["rollback"],
    &["contract", "--yes"],
    &["abort", "--yes"],
    &["hold"],
    &["resume"],
    &["verify"],
    &["repair", "1"],
    &["letters", "replay"],
];

fn done() -> Desk {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["cutover"]).says(0, &[]);
    desk.run(&["contract", "--yes"]).says(0, &["phase done"]);
    assert_eq!(run.ended(), Some(0));
    desk
}

fn aborted() -> Desk {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(run.ended(), Some(0));
    desk
}

#[test]
fn a_done_change_is_told_from_the_ledger() {
    let desk = done();
    for gone in [false, true] {
        if gone {
            std::fs::remove_file(desk.path("app.db")).unwrap();
        }
        let status = desk.run(&["status"]);
        status.says(
            0,
            &["phase done", "take the old end down", "the change is over"],
        );
        desk.run(&["wait", "--for", "done"])
            .says(0, &["reached: done"]);
        desk.run(&["wait", "--for", "follow"])
            .says(1, &["not reached: follow"]);
        desk.run(&["run"])
            .says(0, &["the change is done; nothing is left to run"]);
        for args in ASKING {
            let refused = desk.run(args);
            refused.says(
                1,
                &["error[CF0401]: the change is over: the old tables are gone"],
            );
        }
        for args in [
            &["check"][..],
            &["plan"],
            &["diff", "--key", "1"],
            &["letters", "list"],
        ] {
            desk.run(args)
                .says(1, &["error[CF0401]: the change is over", " hint: "]);
        }
        desk.run(&["adopt"]).says(1, &["nothing to adopt"]);
    }
    assert_eq!(desk.one::<i64>("v2.db", "select count(*) from t2"), 3);
    assert!(!desk.schema("v2.db").contains("_contraflow"));
}

#[test]
fn an_aborted_change_refuses_and_runs_again_from_the_beginning() {
    let desk = aborted();
    let status = desk.run(&["status"]);
    status.says(
        0,
        &["phase aborted", "`contraflow run` starts the change again"],
    );
    desk.run(&["wait", "--for", "aborted"]).says(0, &[]);
    for args in ASKING {
        let refused = desk.run(args);
        refused.says(1, &["error[CF0401]: the change is over: it was aborted"]);
    }
    desk.run(&["check"]).says(0, &["nothing is in the way"]);
    // Another mapping than the one that was given up.
    desk.change(&CHANGE.replace("to: b", "to: c"));
    let run = desk.start();
    while desk.run(&["status"]).out.contains("phase aborted") {
        // Every look is a process: nobody spins.
    }
    run.wait_for("follow");
    assert!(
        desk.log().contains("started again after an abort"),
        "{}",
        desk.log()
    );
    desk.run(&["status"]).says(0, &["phase follow"]);
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    assert_eq!(
        desk.one::<String>("v2.db", "select c from t2 where id = 2"),
        "y"
    );
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn a_change_that_was_never_begun_is_not_begun_by_a_question() {
    let desk = Desk::usual();
    let before = desk.schema("app.db");
    for args in ASKING {
        let refused = desk.run(args);
        refused.says(
            1,
            &[
                "error[CF0406]: the change was not started",
                "`contraflow run` starts it",
            ],
        );
    }
    desk.run(&["status"]).says(0, &["phase declared"]);
    desk.run(&["diff", "--key", "1"])
        .says(2, &["error[CF0406]"]);
    desk.run(&["letters", "list"]).says(0, &["no letters"]);
    desk.run(&["adopt"]).says(1, &["nothing to adopt"]);
    assert_eq!(desk.schema("app.db"), before);
    assert!(!desk.path("v2.db").exists());
    assert!(!desk.path(".contraflow/c.db").exists());
}

#[test]
fn a_contract_that_was_cut_off_between_the_ends_is_finished_without_the_old_table() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["cutover"]).says(0, &[]);
    assert_eq!(run.stop(), Some(0));
    // As a kill after the first of the two ends leaves it.
    desk.sql(
        ".contraflow/c.db",
        "update saved set state = json_set(state, '$.phase', json('{\"name\":\"contract\"}'))",
    );
    let names = "select group_concat('drop table ' || quote(name), ';') from sqlite_schema
                 where type = 'table' and name not like 'sqlite_%'";
    let drops: String = desk.one("app.db", names);
    desk.sql("app.db", &drops);
    desk.run(&["status"]).says(0, &["phase contract"]);
    desk.run(&["verify"]).says(1, &["error[CF0401]"]);
    let done = desk.run(&["status"]);
    done.says(0, &["phase done"]);
    desk.run(&["run"]).says(0, &["nothing is left to run"]);
    assert!(!desk.schema("v2.db").contains("_contraflow"));
}
