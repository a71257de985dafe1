//! What looks peculiar and works, end to end: cutover, a write, rollback, a write, and back.

use crate::desk::Desk;

/// Carries a change through every phase; `born` and `changed` are written on the new side and on
/// the old one after the rollback.
fn whole(change: &str, old: &str, on_new: &str, on_old: &str) -> Desk {
    let desk = Desk::new();
    desk.change(change);
    desk.sql("app.db", old);
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    desk.sql("v2.db", on_new);
    desk.run(&["verify"]).says(0, &[]);
    desk.run(&["rollback"]).says(0, &["phase follow"]);
    desk.sql("app.db", on_old);
    desk.run(&["verify"]).says(0, &[]);
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
    desk.run(&["verify"]).says(0, &[]);
    assert_eq!(run.stop(), Some(0), "{}", desk.log());
    desk
}

const HEAD: &str =
    "version: 1\nchange: c\nold: { sqlite: app.db }\nnew: { sqlite: v2.db }\npairs:\n";

#[test]
fn quotes_and_unicode_in_names() {
    let desk = whole(
        &format!(
            "{HEAD}  - {{old: \"we\\\"ird 't` ü\", new: \"ne\\\"w 't` ☃\", key: [\"i\\\"d\"],
     mapping: [{{rename: {{from: \"größe\", to: \"si\\\"ze\"}}}}]}}\n"
        ),
        r#"create table "we""ird 't` ü" ("i""d" text primary key, "sel'ect" text, "größe" integer);
           insert into "we""ird 't` ü" values ('a"b', 'q', 1), ('ü☃', '''', 2)"#,
        r#"insert into "ne""w 't` ☃" values ('n''e', 'w', 3);
           update "ne""w 't` ☃" set "si""ze" = 7 where "i""d" = 'a"b'"#,
        r#"delete from "we""ird 't` ü" where "i""d" = 'ü☃'"#,
    );
    let rows = r#"select group_concat("i""d" || ':' || "si""ze", ',') from
                  (select * from "ne""w 't` ☃" order by 1)"#;
    assert_eq!(desk.one::<String>("v2.db", rows), "a\"b:7,n'e:3");
}

#[test]
fn composite_and_text_keys() {
    let desk = whole(
        &format!(
            "{HEAD}  - {{old: t, new: t2, key: [x, y], mapping: [{{rename: {{from: x, to: z}}}}]}}\n"
        ),
        "create table t (a text, y integer, x text, primary key (x, y));
         insert into t values ('1', 1, 'p'), ('2', 2, 'p'), ('3', 1, 'q')",
        "insert into t2 (a, y, z) values ('4', 2, 'q'); update t2 set y = 9 where z = 'p' and y = 2",
        "delete from t where x = 'p' and y = 1",
    );
    let rows = "select group_concat(z || y || a, ',') from (select * from t2 order by z, y)";
    assert_eq!(desk.one::<String>("v2.db", rows), "p92,q13,q24");
    desk.run(&["diff", "--key", "p,9"]).says(0, &["equal"]);
}

#[test]
fn tables_without_rowid() {
    let desk = whole(
        &format!("{HEAD}  - {{old: t, new: t2, key: [k]}}\n"),
        "create table t (k text primary key, v blob) without rowid;
         insert into t values ('a', x'00ff'), ('b', null)",
        "insert into t2 values ('c', x'01')",
        "update t set k = 'z' where k = 'a'",
    );
    let rows = "select group_concat(k, ',') from (select k from t2 order by k)";
    assert_eq!(desk.one::<String>("v2.db", rows), "b,c,z");
}

#[test]
fn generated_columns_are_left_to_each_end_with_a_warning() {
    let table = "create table t (id integer primary key, a text,
                   b text generated always as (upper(a)) stored);
                 insert into t (id, a) values (1, 'x')";
    let change = format!("{HEAD}  - {{old: t, new: t2, key: [id]}}\n");
    let desk = Desk::over(table);
    desk.change(&change);
    desk.run(&["check"]).says(
        0,
        &["warning[CF0108]: column `b` of table `t` is generated"],
    );
    let desk = whole(
        &change,
        table,
        "insert into t2 (id, a) values (2, 'y')",
        "update t set a = 'w' where id = 1",
    );
    assert_eq!(
        desk.one::<String>("app.db", "select group_concat(b, ',') from t"),
        "W,Y"
    );
}

#[test]
fn a_column_the_new_table_lacks_comes_back_with_a_rollback() {
    let change = format!("{HEAD}  - {{old: t, new: t2, key: [id]}}\n");
    let desk = Desk::new();
    desk.change(&change);
    desk.sql(
        "app.db",
        "create table t (id integer primary key, a text, extra text);
                        insert into t values (1, 'x', 'kept'), (2, 'y', 'kept too')",
    );
    desk.sql("v2.db", "create table t2 (id integer primary key, a text)");
    desk.run(&["plan"])
        .says(0, &["preserve", "keeps `extra` beside the new row"]);
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["cutover"]).says(0, &[]);
    desk.sql(
        "v2.db",
        "update t2 set a = 'w' where id = 1; insert into t2 values (3, 'n')",
    );
    desk.run(&["rollback"]).says(0, &[]);
    let rows = "select group_concat(id || a || coalesce(extra, '-'), ',') from t";
    assert_eq!(desk.one::<String>("app.db", rows), "1wkept,2ykept too,3n-");
}
