//! Transactions of a million rows: they come through whole, and nobody holds them whole.

use super::bank::BANK;
use super::stage::{Layout, Plan, Run, Stage};
use super::{soaks, tells};
use crate::live::process::until;

/// What a run may need of the memory, however large a transaction is.
const MEMORY_MAX_KIB: u64 = 256 << 10;

/// Accounts, too many to be told one by one: how many there are, and the sum of their digests.
const MANY: Plan = Plan {
    audits: &[[
        "select count(*), sum(hashtextextended(concat_ws('|', aid, bid,
           (abalance * 0.01)::numeric(20,2), filler), 0)) from pgbench_accounts",
        "select count(*), sum(hashtextextended(concat_ws('|', aid, branch, abalance, filler), 0))
         from accounts",
    ]],
    rows: 1,
    ..BANK
};

/// The most memory that the process of a run has had.
fn memory_kib(run: &Run<'_>) -> u64 {
    let status = format!("/proc/{}/status", run.process.id());
    let status = std::fs::read_to_string(status).expect("it runs");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = most.and_then(|most| most.split_whitespace().next());
    number.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Runs one transaction at the authority, and waits until this can be told of its mirror.
fn carries(run: &mut Run<'_>, sides: [&str; 2], sql: &str, told: [&str; 2]) {
    let [authority, mirror] = sides;
    run.stage.sql(authority, sql);
    let [query, number] = told;
    until("the transaction has arrived", || {
        run.reaches(if mirror == "new" { "follow" } else { "reverse" });
        run.stage.sql(mirror, query).trim() == number
    });
    run.asks(&["verify"]);
    run.stage.audit(authority);
}

/// One is killed on its way, one is not, and one goes back.
#[test]
fn a_transaction_of_a_million_rows_needs_little_memory_soak() {
    let rows = if soaks() { 1_000_000 } else { 20_000 };
    let stage = Stage::new(MANY, Layout::TwoDatabases);
    stage.sql("old", "truncate pgbench_accounts");
    let mut run = stage.run(Some("batch.applied:5"));
    run.reaches("follow");
    let (there, back) = (["old", "new"], ["new", "old"]);
    let insert = format!(
        "insert into pgbench_accounts select n, 1, 100, 'x' from generate_series(1, {rows}) n"
    );
    let told = ["select count(*) from accounts", &rows.to_string()];
    carries(&mut run, there, &insert, told);
    assert!(run.was_killed, "it came through at once");
    let update = "update pgbench_accounts set abalance = 200, filler = 'y' || aid";
    let left = "select count(*) from accounts where abalance <> 2";
    carries(&mut run, there, update, [left, "0"]);
    run.asks(&["cutover"]);
    let delete = "delete from accounts where aid > 7";
    let left = "select count(*) from pgbench_accounts";
    carries(&mut run, back, delete, [left, "7"]);
    let most = memory_kib(&run);
    assert!(most < MEMORY_MAX_KIB, "{most} KiB");
    tells(&format!(
        "transactions of {rows} rows: at most {} MiB in a process",
        most >> 10
    ));
}
