//! Turns: what keeps one from happening, and what is the same however often they happen.

use contraflow_core::probe::Point;

use super::bank::BANK;
use super::stage::{Layout, Plan, Stage};
use crate::live::process::until;

/// Money that only changes hands: neither the number of accounts nor their sum ever changes.
const TRANSFER: &str = "
\\set from random(1, 1500)
\\set to random(1501, 3000)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance - :delta where aid = :from;
update pgbench_accounts set abalance = abalance + :delta where aid = :to;
commit;
";

const TRANSFERS: Plan = Plan {
    script: TRANSFER,
    audits: &[
        [
            "select count(*), sum(abalance * 0.01)::numeric(20,2) from pgbench_accounts",
            "select count(*), sum(abalance) from accounts",
        ],
        BANK.audits[0],
    ],
    rate: 400,
    ..BANK
};

/// Rows that go and come back as they were, all the time.
const RETURNING: Plan = Plan {
    script: "
\\set gone random(1, 200)
\\set back random(1, 200)
delete from pgbench_accounts where aid = :gone;
insert into pgbench_accounts values (:back, 1, 5, 'back') on conflict (aid) do nothing;
",
    clients: 4,
    rate: 800,
    rows: 2_800,
    ..BANK
};

/// A new table that does not take everything.
const PICKY: Plan = Plan {
    new: "create table accounts (aid int primary key, branch int,
            abalance numeric(20,2) check (abalance < 1000000), filler char(84))",
    ..BANK
};

#[test]
fn ten_turns_under_load_neither_make_nor_lose_anything() {
    let stage = Stage::new(TRANSFERS, Layout::TwoDatabases);
    let totals = |side: &str| stage.rows(side).lines().next().map(str::to_owned);
    let before = totals("old");
    let load = stage.load();
    let mut run = stage.run(None);
    run.reaches("follow");
    for turn in 0..10 {
        let (verb, authority) = [("cutover", "new"), ("rollback", "old")][turn % 2];
        run.asks(&[verb]);
        load.pause();
        run.asks(&["verify"]);
        stage.audit(authority);
        assert_eq!(totals(authority), before, "turn {turn}");
        load.resume();
    }
}

/// What was written before the fence is still on its way: the old end is sealed behind it.
#[test]
fn a_cutover_waits_for_what_was_written_before_its_fence() {
    let limits = "{ fence_max: 30s }";
    let stage = Stage::new(Plan { limits, ..BANK }, Layout::TwoDatabases);
    let at = format!("{}:1", Point::TURN_JUDGED.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    until("follow", || stage.status()["phase"] == "follow");
    let mut verb = stage.start(&["cutover"], &[]);
    run.until_stopped();
    let write = "update pgbench_accounts set abalance = 7 where aid = 1";
    stage.sql("old", write);
    let (session, _) = stage.session("new", "begin; lock table accounts in share mode");
    run.signal("-CONT");
    let fenced = "select count(*) from pg_locks where mode = 'ShareRowExclusiveLock' and granted
                  and relation = 'pgbench_accounts'::regclass";
    let waits = "select count(*) from pg_locks where not granted
                 and relation = 'accounts'::regclass";
    until("the write waits behind the fence", || {
        stage.number("old", fenced) == Some(1) && stage.number("new", waits) == Some(1)
    });
    assert_eq!(stage.open(), ["old"]);
    session.finish("rollback");
    assert_eq!(verb.wait(), Some(0), "{}", verb.err());
    let carried = "select abalance from accounts where aid = 1";
    assert_eq!(stage.sql("new", carried).trim(), "0.07");
    stage.audit("new");
}

/// The mirror may be ahead of what was read: two looks that both differ prove nothing while the row
/// moves.
#[test]
fn a_row_that_goes_and_comes_back_is_not_told_to_differ() {
    let stage = Stage::new(RETURNING, Layout::TwoDatabases);
    let load = stage.load();
    let mut run = stage.run(None);
    run.reaches("follow");
    for _ in 0..5 {
        run.asks(&["verify"]);
    }
    run.asks(&["cutover"]);
    load.pause();
    run.asks(&["verify"]);
    stage.audit("new");
}

/// A transaction that has written stands between the fence and its table: it is named, and goes on.
#[test]
fn an_open_transaction_on_the_old_table_refuses_a_cutover_and_is_named() {
    let stage = Stage::new(BANK, Layout::TwoDatabases);
    let mut run = stage.run(None);
    run.reaches("follow");
    let writes = "begin; update pgbench_accounts set abalance = 7 where aid = 1;
                  select pg_backend_pid()";
    let (session, pid) = stage.session("old", writes);
    let named = format!("Sessions with a lock on the tables: {pid}.");
    let said = stage.says(&["cutover"], 1, &["CF0205", &named]);
    assert_eq!(stage.open(), ["old"], "{said}");
    assert_eq!(stage.status()["phase"], "follow");
    // Everybody else writes on, and it may too.
    stage.sql(
        "old",
        "update pgbench_accounts set abalance = 8 where aid = 2",
    );
    session.finish("update pgbench_accounts set abalance = 9 where aid = 1; commit");
    run.asks(&["cutover"]);
    stage.audit("new");
    let carried = "select string_agg(abalance::text, ' ' order by aid) from accounts where aid < 3";
    assert_eq!(stage.sql("new", carried).trim(), "0.09 0.08");
}

/// What refused a cutover is judged anew by whoever comes next: no request survives as a grant.
#[test]
fn a_cutover_with_a_closed_gate_is_refused_after_a_kill_too() {
    let stage = Stage::new(PICKY, Layout::TwoDatabases);
    let load = stage.load();
    let mut run = stage.run(Some("turn.judged:1"));
    run.reaches("follow");
    let balance = |cents| format!("update pgbench_accounts set abalance = {cents} where aid = 5");
    stage.sql("old", &balance(200_000_000));
    let mut verb = stage.start(&["cutover"], &[]);
    until("the run is killed when it has judged", || {
        !run.process.runs()
    });
    verb.kill();
    let mut run = stage.run(None);
    run.reaches("follow");
    // Requests are answered in order: the one that stood has been when this one is.
    stage.says(&["verify"], 1, &["CF0404"]);
    assert_eq!(stage.open(), ["old"]);
    stage.says(
        &["cutover"],
        1,
        &["CF0402", "letters: 1 where 0 are allowed"],
    );
    stage.sql("old", &balance(5));
    run.asks(&["verify"]);
    assert_eq!(stage.open(), ["old"], "an open gate is no cutover");
    run.asks(&["cutover"]);
    load.pause();
    run.asks(&["verify"]);
    stage.audit("new");
}
