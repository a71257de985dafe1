//! What happens to a change that already runs: edited files, altered and dropped tables.

use crate::desk::{CHANGE, Desk};

#[test]
fn an_edited_change_file_is_refused_until_it_is_restored() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    for edited in [
        CHANGE.replace("to: b", "to: bb"),
        CHANGE.replace(", mapping: [{rename: {from: a, to: b}}]", ""),
    ] {
        desk.change(&edited);
        for args in [
            &["cutover"][..],
            &["verify"],
            &["diff", "--key", "1"],
            &["run"],
            &["check"],
        ] {
            let done = desk.run(args);
            assert_eq!(done.code, 2, "{done:#?}");
        }
        desk.run(&["status"]).says(0, &["phase follow"]);
    }
    desk.change(&CHANGE.replace("]}", ", {add: {field: w, value: 1}}]}"));
    desk.run(&["cutover"]).says(2, &[]);
    desk.change(CHANGE);
    desk.run(&["verify"]).says(0, &["3 rows compared"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn an_edited_mapping_is_named_and_can_be_aborted() {
    let desk = Desk::usual();
    let before = desk.schema("app.db");
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    // The same tables, another way between them.
    let edited = CHANGE.replace(
        "{rename: {from: a, to: b}}",
        "{rename: {from: a, to: b}}, {convert: {field: n, to: text}}",
    );
    desk.change(&edited);
    for verb in ["run", "verify", "cutover", "plan", "resume"] {
        let done = desk.run(&[verb]);
        assert_eq!(done.code, 2, "{verb} {done:#?}");
    }
    assert_eq!(desk.one::<i64>("v2.db", "select count(*) from t2"), 3);
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(desk.schema("app.db"), before);
    assert_eq!(desk.schema("v2.db"), "");
}

#[test]
fn an_abort_takes_down_what_stands_even_when_the_file_names_other_tables() {
    let desk = Desk::usual();
    desk.sql(
        "app.db",
        "create table u (id integer primary key); insert into u values (1)",
    );
    desk.change(&CHANGE.replace("pairs:", "pairs:\n  - {old: u, new: u2, key: [id]}"));
    let before = desk.schema("app.db");
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    desk.change(CHANGE);
    desk.run(&["run"])
        .says(2, &["error[CF0307]", "contraflow abort"]);
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(desk.schema("app.db"), before);
    assert_eq!(desk.schema("v2.db"), "");
    desk.sql("app.db", "insert into u values (2)");
}

#[test]
fn an_altered_old_table_is_a_hold_that_ends_when_it_is_undone() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.sql("app.db", "alter table t add column more text");
    run.wait_for("held");
    let status = desk.run(&["status"]);
    status.says(
        1,
        &[
            "HELD: table `t` was altered while the change runs",
            "contraflow resume",
        ],
    );
    desk.run(&["cutover"]).says(1, &["error[CF0401]"]);
    desk.sql("app.db", "insert into t values (4, 'late', 1, 'm')");
    desk.run(&["resume"]).says(0, &[]);
    run.wait_for("held");
    desk.sql("app.db", "alter table t drop column more");
    desk.run(&["resume"]).says(0, &[]);
    run.wait_for("lag");
    desk.run(&["verify"]).says(0, &["4 rows compared"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn a_dropped_old_table_is_a_hold_that_can_be_aborted() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.sql("app.db", "drop table t");
    run.wait_for("held");
    desk.run(&["status"])
        .says(1, &["HELD: table `t` was dropped", "contraflow abort"]);
    desk.run(&["cutover"])
        .says(2, &["error[CF0102]: there is no table `t`"]);
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(run.ended(), Some(0));
    assert_eq!(desk.schema("app.db"), "");
}

#[test]
fn an_altered_new_table_is_a_hold() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.sql("v2.db", "alter table t2 add column more text");
    run.wait_for("held");
    desk.run(&["status"])
        .says(1, &["HELD: table `t2` was altered while the change runs"]);
    desk.sql("v2.db", "alter table t2 drop column more");
    desk.run(&["resume"]).says(0, &[]);
    desk.run(&["verify"]).says(0, &["3 rows compared"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn a_deleted_new_file_is_a_hold_or_an_error_and_loses_nothing() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    for file in ["v2.db", "v2.db-wal", "v2.db-shm"] {
        // The last connection may have taken the side files with it.
        drop(std::fs::remove_file(desk.path(file)));
    }
    let done = desk.run(&["run"]);
    assert!(matches!(done.code, 2 | 3), "{done:#?}");
    assert!(done.err.contains("error[CF0"), "{done:#?}");
    desk.run(&["abort", "--yes"]);
    assert_eq!(desk.one::<i64>("app.db", "select count(*) from t"), 3);
}
