//! `history: none` and `since`: what is copied, what may be missing, what is compared.

use crate::desk::{CHANGE, Desk};

const OLD: &str = "
create table t (id integer primary key, a text, n integer);
insert into t values (1, 'old', 5), (2, 'old', 9), (3, 'young', 10), (4, 'young', 11),
                     (5, 'undated', null);";

fn since(field: &str, value: &str) -> String {
    format!("{CHANGE}history: {{since: {{field: {field}, value: {value}}}}}\n")
}

fn ids(desk: &Desk, file: &str, table: &str) -> String {
    let sql =
        format!("select coalesce(group_concat(id), '') from (select id from {table} order by id)");
    desk.one(file, &sql)
}

#[test]
fn since_copies_from_the_bound_on_and_carries_every_write() {
    let desk = Desk::over(OLD);
    desk.change(&since("n", "10"));
    desk.run(&["check"]).says(
        0,
        &["warning[CF0111]: rows of `t` from before the bound stay behind"],
    );
    desk.run(&["plan"])
        .says(0, &["rows from the bound on are copied"]);
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(ids(&desk, "v2.db", "t2"), "3,4");
    desk.run(&["verify"]).says(0, &["2 rows compared"]);
    // A row from before the bound is written: it is carried, and compared from then on.
    desk.sql(
        "app.db",
        "update t set a = 'touched' where id = 1; insert into t values (6, 'new', 1)",
    );
    desk.run(&["verify"]).says(0, &[]);
    assert_eq!(ids(&desk, "v2.db", "t2"), "1,3,4,6");
    desk.run(&["diff", "--key", "1"]).says(0, &["equal"]);
    // The other way the old side may have more, and loses nothing.
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    desk.sql(
        "v2.db",
        "delete from t2 where id = 3; update t2 set b = 'again' where id = 1",
    );
    desk.run(&["verify"]).says(0, &[]);
    assert_eq!(ids(&desk, "app.db", "t"), "1,2,4,5,6");
    desk.run(&["rollback"]).says(0, &["phase follow"]);
    desk.sql("app.db", "delete from t where id = 1");
    desk.run(&["verify"]).says(0, &[]);
    assert_eq!(ids(&desk, "v2.db", "t2"), "4,6");
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn since_still_finds_what_is_missing_extra_or_different() {
    let desk = Desk::over(OLD);
    desk.change(&since("n", "10"));
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    // Behind the back of guard and feed, as a damaged mirror looks.
    let bypass = "update _contraflow_c_new_standing set applying = 1;
                  delete from t2 where id = 3;
                  update t2 set b = 'wrong' where id = 4;
                  insert into t2 values (2, 'other', 9), (77, 'extra', 1);
                  update _contraflow_c_new_standing set applying = 0;";
    desk.sql("v2.db", bypass);
    let found = desk.run(&["verify", "--json"]);
    found.says(1, &["4 keys differ", "missing", "extra", "different"]);
    desk.run(&["cutover"])
        .says(1, &["error[CF0402]", "compare: 4 where 0 are allowed"]);
    desk.run(&["repair", "2", "3", "4", "77"])
        .says(0, &["4 keys carried again"]);
    desk.run(&["verify"]).says(0, &[]);
    assert_eq!(ids(&desk, "v2.db", "t2"), "2,3,4");
}

#[test]
fn since_takes_texts_and_each_pair_has_its_own() {
    let desk = Desk::over(
        "create table t (id integer primary key, a text, n text);
         insert into t values (1, 'x', '2025-12-31'), (2, 'y', '2026-01-01'), (3, 'z', '2026-02-01');
         create table u (id integer primary key); insert into u values (1), (2)",
    );
    desk.change(&CHANGE.replace(
        "pairs:\n  - {",
        "pairs:\n  - {old: u, new: u2, key: [id]}\n  - {history: {since: {field: n, value: \"2026-01-01\"}}, ",
    ));
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["verify"]).says(0, &["4 rows compared"]);
    assert_eq!(ids(&desk, "v2.db", "t2"), "2,3");
    assert_eq!(ids(&desk, "v2.db", "u2"), "1,2");
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn since_of_a_field_that_is_not_there_or_has_no_order_is_refused() {
    let desk = Desk::over("create table t (id integer primary key, a text, n blob)");
    let before = desk.schema("app.db");
    for (change, part) in [
        (
            since("m", "1"),
            "error[CF0031]: `history` names the field `m`",
        ),
        (
            since("n", "1"),
            "error[CF0005]: `n` is `bytes`: `history` cannot begin there",
        ),
        (since("id", "soon"), "error[CF0005]: `id` is `int64`"),
    ] {
        desk.change(&change);
        for verb in ["check", "run"] {
            desk.run(&[verb]).says(2, &[part, " hint: "]);
        }
    }
    assert_eq!(desk.schema("app.db"), before);
}

#[test]
fn another_bound_is_another_change() {
    let desk = Desk::over(OLD);
    desk.change(&since("n", "10"));
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
    desk.change(&since("n", "9"));
    for verb in ["run", "verify", "cutover"] {
        desk.run(&[verb]).says(2, &["error[CF0307]"]);
    }
}

#[test]
fn none_copies_nothing_and_the_compare_judges_what_was_brought() {
    let desk = Desk::over(OLD);
    desk.change(&format!("{CHANGE}history: none\n"));
    // A backup that was restored, a little old: 2 differs, 4 and 5 are missing, 9 is gone by now.
    desk.sql(
        "v2.db",
        "create table t2 (id integer primary key, b text, n integer);
         insert into t2 values (1, 'old', 5), (2, 'older', 9), (3, 'young', 10), (9, 'gone', 1)",
    );
    desk.run(&["check"]).says(0, &["nothing is in the way"]);
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(ids(&desk, "v2.db", "t2"), "1,2,3,9");
    desk.run(&["verify"])
        .says(1, &["error[CF0404]: 4 keys differ"]);
    desk.run(&["cutover"]).says(1, &["error[CF0402]"]);
    desk.sql("app.db", "update t set a = 'now' where id = 4");
    desk.run(&["verify"]).says(1, &["3 keys differ"]);
    desk.run(&["repair", "2", "5", "9"]).says(0, &[]);
    desk.run(&["verify"]).says(0, &["5 rows compared"]);
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    assert_eq!(ids(&desk, "v2.db", "t2"), "1,2,3,4,5");
    assert_eq!(run.stop(), Some(0));
}
