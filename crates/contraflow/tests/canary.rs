//! Row values never reach logs, errors, answers or the ledger, whatever becomes of the row. A
//! marker stands for a value that nobody may read but its owner.

use crate::desk::{Desk, Done};

/// In values that are carried, in values that cannot be, and in keys.
const MARK: &str = "canary7f3a";

const CHANGE: &str = "\
version: 1
change: c
old: { sqlite: app.db }
new: { sqlite: v2.db }
pairs:
  - old: t
    new: t2
    key: [k]
    mapping:
      - rename: {from: a, to: b}
      - convert: {field: n, to: int64, on_fail: {up: letter}}
";

/// Five rows: one that is carried, and four that break one rule each.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.change(CHANGE);
    desk.sql(
        "app.db",
        "create table t (k text primary key, a text, n text, extra text)",
    );
    // A unique value, a check and a not null of the new side, each broken by one row.
    desk.sql(
        "v2.db",
        "create table t2 (k text primary key, b text not null unique check (length(b) < 40), n int)",
    );
    let mut rows = vec![
        row("good", &text("good"), "1"),
        row("bad", &text("bad"), MARK),
    ];
    rows.push(row("long", &text(&"x".repeat(60)), "2"));
    rows.push(row("null", "null", "3"));
    rows.push(row("twin", &text("good"), "4"));
    desk.sql("app.db", &rows.concat());
    desk
}

fn row(key: &str, a: &str, n: &str) -> String {
    format!("insert into t values ('{MARK}-{key}', {a}, '{n}', 'extra {MARK}');")
}

fn text(more: &str) -> String {
    format!("'{MARK} {more}'")
}

#[track_caller]
fn silent(desk: &Desk, heard: &[(String, Done)]) {
    for (line, Done { out, err, .. }) in heard {
        let said = out.contains(MARK) || err.contains(MARK);
        assert!(!said, "{line}: {out}{err}");
    }
    assert!(!desk.log().contains(MARK), "{}", desk.log());
    for file in std::fs::read_dir(desk.path(".contraflow")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut windows = bytes.windows(MARK.len());
        let found = windows.any(|bytes| bytes == MARK.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn values_are_nowhere_but_in_rows() {
    let desk = desk();
    let run = desk.start();
    run.wait_for("follow");
    let mut heard = Vec::new();
    let mut ask = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        let human = desk.run(&args);
        let json = desk.run(&[&args[..], &["--json"]].concat());
        heard.push((line.to_owned(), human));
        heard.push((format!("{line} --json"), json));
    };
    for line in [
        "check --laws",
        "plan",
        "status",
        "verify",
        "cutover",
        "letters list",
    ] {
        ask(line);
    }
    let letters = desk.run(&["letters", "list"]);
    assert_eq!(letters.out.lines().count(), 4, "{letters:#?}");
    // Live writes that break, and one that heals.
    desk.sql("app.db", &row("live", &text("live"), MARK));
    desk.sql(
        "app.db",
        &format!("update t set n = '5' where k = '{MARK}-bad'"),
    );
    for line in [
        "letters replay",
        "verify",
        "repair nowhere",
        "cutover --accept-loss",
        "status",
    ] {
        ask(line);
    }
    // The guard refuses the mirror without naming what was written.
    let refused = desk
        .open("v2.db")
        .execute_batch(&format!("update t2 set b = '{MARK}'"));
    assert!(!refused.unwrap_err().to_string().contains(MARK));
    // What a person asked for by name is shown: the key of a letter, and a row.
    let listed = desk.run(&["letters", "list"]).out;
    let id = listed.split_whitespace().next().unwrap();
    let shown = desk.run(&["letters", "show", id]);
    assert!(shown.out.contains(MARK), "{listed}{shown:#?}");
    let diff = desk.run(&["diff", "--key", &format!("{MARK}-good")]);
    assert!(diff.out.contains(MARK), "{diff:#?}");
    desk.sql("app.db", "alter table t add column more text");
    run.wait_for("held");
    ask("status");
    ask("resume");
    assert_eq!(run.stop(), Some(0));
    silent(&desk, &heard);
}
