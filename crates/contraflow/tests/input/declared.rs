//! Tables, keys and mappings that cannot be carried: refused before anything is written.

use crate::desk::{CHANGE, Desk, TABLE};

/// Every verb that could write refuses with this code, a next step and untouched files.
#[track_caller]
fn refused(desk: &Desk, parts: &[&str]) {
    let before = desk.schema("app.db");
    let had_new = desk.path("v2.db").exists();
    for verb in ["check", "plan", "run"] {
        let done = desk.run(&[verb]);
        done.says(2, parts);
        done.says(2, &[" hint: "]);
        assert_eq!(done.out, "", "{verb}");
    }
    assert_eq!(desk.schema("app.db"), before);
    assert_eq!(desk.path("v2.db").exists(), had_new);
    assert!(!desk.path(".contraflow").exists(), "no ledger is begun");
}

#[test]
fn a_missing_table() {
    let desk = Desk::over("create table other (id integer primary key)");
    refused(&desk, &["error[CF0102]: there is no table `t`"]);
}

#[test]
fn a_view_in_place_of_a_table() {
    let desk =
        Desk::over("create table b (id integer primary key); create view t as select * from b");
    refused(&desk, &["error[CF0102]: `t` is a view"]);
    let desk = Desk::usual();
    desk.sql(
        "v2.db",
        "create table b (id integer); create view t2 as select * from b",
    );
    refused(&desk, &["error[CF0102]: `t2` is a view"]);
}

#[test]
fn a_virtual_table() {
    let desk = Desk::over("create virtual table t using fts5 (id, a)");
    refused(&desk, &["error[CF0102]: `t` is a virtual table"]);
}

#[test]
fn a_missing_key_column() {
    let desk = Desk::over("create table t (nr integer primary key, a text)");
    refused(&desk, &["error[CF0031]: the key field `id` is not there"]);
}

#[test]
fn a_key_that_is_not_unique() {
    let desk =
        Desk::over("create table t (id integer, a text); insert into t values (1, 'x'), (1, 'y')");
    refused(
        &desk,
        &[
            "error[CF0103]: key (id) of table `t` is not unique",
            "create unique index",
        ],
    );
    let part = Desk::over("create table t (id integer, a text, primary key (id, a))");
    refused(&part, &["error[CF0103]"]);
    let partial = Desk::over(
        "create table t (id integer, a text); create unique index i on t (id) where id > 5",
    );
    refused(&partial, &["error[CF0103]"]);
}

#[test]
fn a_key_with_nulls() {
    let desk =
        Desk::over("create table t (id integer unique, a text); insert into t values (null, 'x')");
    refused(&desk, &["error[CF0111]", "Give them a key"]);
}

#[test]
fn a_unique_index_on_an_expression() {
    let desk = Desk::usual();
    desk.sql("app.db", "create unique index i on t (lower(a))");
    refused(&desk, &["error[CF0107]: unique index `i`"]);
}

#[test]
fn triggers_of_the_application() {
    let desk = Desk::usual();
    desk.sql(
        "app.db",
        "create table log (x); create trigger tr after insert on t begin
         insert into log values (new.id); end",
    );
    refused(&desk, &["error[CF0106]", "`tr`"]);
}

#[test]
fn a_new_table_that_is_not_empty() {
    let desk = Desk::usual();
    desk.sql("v2.db", "create table t2 (id integer primary key, b text, n integer); insert into t2 values (9, 'z', 1)");
    refused(
        &desk,
        &["error[CF0105]: the new table `t2` holds rows already"],
    );
    assert_eq!(desk.one::<i64>("v2.db", "select count(*) from t2"), 1);
}

#[test]
fn a_mapping_that_loses_a_required_column() {
    let desk = Desk::over("create table t (id integer primary key, a text, must text not null)");
    desk.sql("v2.db", "create table t2 (id integer primary key, b text)");
    refused(&desk, &["error[CF0033]", "`must`"]);
}

#[test]
fn a_mapping_that_makes_what_the_new_table_lacks() {
    let desk = Desk::usual();
    desk.sql(
        "v2.db",
        "create table t2 (id integer primary key, bb text, n integer)",
    );
    refused(&desk, &["error[CF0031]", "Did you mean `bb`?"]);
}

#[test]
fn a_mapping_that_names_no_field() {
    let desk = Desk::usual();
    desk.change(&CHANGE.replace("from: a", "from: aa"));
    refused(&desk, &["error[CF0031]", "Did you mean `a`?"]);
}

#[test]
fn types_that_cannot_meet() {
    let desk = Desk::usual();
    desk.sql(
        "v2.db",
        "create table t2 (id integer primary key, b blob, n integer)",
    );
    refused(&desk, &["error[CF0035]", "`b`", "convert"]);
}

#[test]
fn a_column_that_makes_numbers_of_text() {
    let desk = Desk::usual();
    desk.sql(
        "v2.db",
        "create table t2 (id integer primary key, b numeric, n integer)",
    );
    refused(
        &desk,
        &["error[CF0108]", "`b`", "`007`", "Declare it `text`"],
    );
}

#[test]
fn a_file_whose_text_is_not_utf_8() {
    let desk = Desk::new();
    desk.change(CHANGE);
    let db = rusqlite::Connection::open(desk.path("app.db")).unwrap();
    db.pragma_update(None, "encoding", "UTF-16le").unwrap();
    db.execute_batch(TABLE).unwrap();
    refused(
        &desk,
        &["error[CF0110]: the file's text is stored as UTF-16le"],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let desk = Desk::over(&format!("{TABLE} create unique index i on t (lower(a));"));
    desk.change(&CHANGE.replace("pairs:", "pairs:\n  - {old: gone, new: g2, key: [id]}"));
    let done = desk.run(&["check"]);
    done.says(2, &["error[CF0102]: there is no table `gone`"]);
    desk.sql("app.db", "create table gone (id integer)");
    let done = desk.run(&["check"]);
    done.says(2, &["error[CF0103]", "error[CF0107]"]);
}
