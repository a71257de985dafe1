//! `pgbench` as it comes: its tables, its script and eight clients, while its accounts move to a
//! table of another shape. Its history says what was acknowledged.

use std::process::Command;

use super::load::PATH;
use super::stage::{Layout, Plan, Stage};
use super::{live, soaks, tells};

const TELLERS: Plan = Plan {
    old: "",
    new: "",
    pairs: r#"  - old: pgbench_accounts
    new: accounts
    key: [aid]
    mapping:
      - rename: { from: aid, to: account }
      - rename: { from: bid, to: branch }
      - rename: { from: abalance, to: balance }
      - convert: { field: balance, to: "decimal(20,2)", factor: "0.01", on_fail: letter }
      - split: { field: filler, by: ":", into: [holder, note] }
"#,
    limits: "{ fence_max: 5s }",
    script: "",
    renamed: &[
        ("pgbench_accounts", "accounts"),
        ("abalance", "balance"),
        ("balance + :delta", "balance + :delta * 0.01"),
        ("aid = :aid", "account = :aid"),
    ],
    clients: 8,
    rate: 250,
    // Too many to be told one by one: how many there are, and the sum of their digests.
    audits: &[[
        "select count(*), sum(hashtextextended(concat_ws('|', aid, bid,
           (abalance * 0.01)::numeric(20,2), split_part(filler, ':', 1),
           split_part(filler, ':', 2)), 0)) from pgbench_accounts",
        "select count(*), sum(hashtextextended(concat_ws('|', account, branch, balance, holder,
           note), 0)) from accounts",
    ]],
    rows: 1,
};

/// Runs `pgbench` to its end, and says what it said.
fn pgbench(args: &str) -> String {
    let done = Command::new("bash")
        .args(["-c", &format!("{PATH}; pgbench {args}")])
        .output()
        .expect("bash is there");
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(done.status.success(), "{}", said[1]);
    said.concat()
}

/// The sides are those whose database has a history of its own.
fn moves(layout: Layout, sides: &[&str]) {
    let (scale, rate) = if soaks() { (10, 2_000) } else { (1, 250) };
    let stage = Stage::new(Plan { rate, ..TELLERS }, layout);
    if layout == Layout::TwoDatabases {
        pgbench(&format!("-i -q -I dt '{}'", stage.url("new")));
        stage.sql("new", "drop table pgbench_accounts");
    }
    pgbench(&format!("-i -q -s {scale} '{}'", stage.url("old")));
    let named = "alter table pgbench_accounts alter filler type text
                 using 'holder ' || aid || ':of branch ' || bid";
    stage.sql("old", named);
    let script = pgbench("--show-script=tpcb-like");
    stage.acts(&script.replace(":scale", &scale.to_string()));
    live(&stage, None);
    // What was acknowledged is what the accounts hold, to the cent.
    let held = stage.number("new", "select (sum(balance) * 100)::bigint from accounts");
    let (mut told, mut count) = (0, 0);
    for side in sides {
        let number = |sql| stage.number(side, sql).expect("a number");
        told += number("select sum(delta)::bigint from pgbench_history");
        count += number("select count(*) from pgbench_history");
    }
    assert_eq!(held, Some(told));
    assert!(count > 1_000, "{count} transactions");
    tells(&format!(
        "scale {scale}: {count} transactions of pgbench, none lost"
    ));
}

#[test]
fn the_accounts_of_pgbench_move_within_a_database_soak() {
    moves(Layout::OneDatabase, &["old"]);
}

#[test]
fn the_accounts_of_pgbench_move_to_another_database_soak() {
    moves(Layout::TwoDatabases, &["old", "new"]);
}
