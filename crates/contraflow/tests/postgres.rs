//! PostgreSQL as a person meets it: `pgbench` writes all the time, the program is killed, and an
//! auditor in plain SQL looks at both ends.

mod bank;
mod digests;
mod doctor;
mod full;
mod huge;
mod kept;
mod killed;
mod load;
mod naive;
mod network;
mod servers;
mod shop;
mod stage;
mod tellers;
mod turns;

use std::io::Write;

use contraflow_core::probe::Point;

use bank::{BANK, FROM_SQLITE};
use stage::{Layout, Stage};

/// Whether tests run whole.
fn soaks() -> bool {
    std::env::var_os("CONTRAFLOW_SOAK").is_some()
}

/// Tells a figure to whoever runs the tests whole.
fn tells(line: &str) {
    if soaks() {
        writeln!(std::io::stdout().lock(), "{line}").expect("somebody listens");
    }
}

/// Where a run is killed here; `CONTRAFLOW_SOAK=1` kills at every point.
const SAMPLE: [Point; 8] = [
    Point::EXPAND_AFTER,
    Point::CHUNK_APPLIED,
    Point::BATCH_APPLY_MID,
    Point::COMMIT_AFTER,
    Point::FENCE_AFTER,
    Point::SEAL_AFTER,
    Point::FLIP_AFTER,
    Point::CONTRACT_SIDE,
];

/// Points that this life does not come to; tests below do.
const OTHER: [Point; 2] = [Point::RECARRY_READ, Point::ABORT_SIDE];

fn points() -> Vec<Point> {
    if !soaks() {
        return SAMPLE.to_vec();
    }
    let all = Point::ALL.iter().copied();
    all.filter(|point| !OTHER.iter().any(|other| other.0 == point.0))
        .collect()
}

/// One life: copy, follow, cutover, rollback, cutover, contract, under load all the time. The run
/// may be killed once on the way; what was asked for is done all the same.
fn live(stage: &Stage, crash_at: Option<&str>) {
    let load = stage.load();
    let mut run = stage.run(crash_at);
    run.reaches("follow");
    for (verb, authority) in [("cutover", "new"), ("rollback", "old"), ("cutover", "new")] {
        run.asks(&[verb]);
        load.pause();
        run.asks(&["verify"]);
        stage.audit(authority);
        load.resume();
    }
    load.pause();
    let before = stage.rows("new");
    run.contracts();
    run.ends();
    assert_eq!(run.was_killed, crash_at.is_some(), "{crash_at:?}");
    assert_eq!(stage.rows("new"), before);
    stage.nothing_is_left();
}

fn killed_at_points(layout: Layout) {
    live(&Stage::new(BANK, layout), None);
    for point in points() {
        live(&Stage::new(BANK, layout), Some(&format!("{}:1", point.0)));
    }
}

#[test]
fn a_change_between_two_databases_survives_every_kill_soak() {
    killed_at_points(Layout::TwoDatabases);
}

#[test]
fn a_change_in_one_database_survives_every_kill_soak() {
    killed_at_points(Layout::OneDatabase);
}

#[test]
fn an_abort_leaves_the_old_side_as_it_was() {
    let bank = Stage::new(BANK, Layout::OneDatabase);
    let load = bank.load();
    let before = bank.declaration();
    let mut run = bank.run(None);
    run.reaches("follow");
    assert_ne!(bank.declaration(), before);
    run.asks(&["abort", "--yes"]);
    run.ends();
    load.pause();
    assert_eq!(bank.declaration(), before);
    bank.nothing_is_left();
}

#[test]
fn an_abort_that_is_killed_between_its_sides_is_finished() {
    let bank = Stage::new(BANK, Layout::TwoDatabases);
    let load = bank.load();
    let before = bank.declaration();
    let mut run = bank.run(Some("abort.side:1"));
    run.reaches("follow");
    run.asks(&["abort", "--yes"]);
    run.ends();
    assert!(run.was_killed);
    load.pause();
    assert_eq!(bank.declaration(), before);
    bank.nothing_is_left();
}

#[test]
fn a_repair_that_is_killed_is_done_all_the_same() {
    let bank = Stage::new(BANK, Layout::OneDatabase);
    let load = bank.load();
    let mut run = bank.run(Some("recarry.read:1"));
    run.reaches("follow");
    run.asks(&["repair", "5"]);
    run.ends();
    assert!(run.was_killed);
    run.asks(&["cutover"]);
    load.pause();
    run.asks(&["verify"]);
    bank.audit("new");
}

/// Whoever keeps the new table from being opened is met before the old one is sealed: writers go on.
#[test]
fn a_lock_on_the_new_table_refuses_a_cutover_and_nobody_else() {
    let bank = Stage::new(BANK, Layout::TwoDatabases);
    let mut run = bank.run(None);
    run.reaches("follow");
    let lock = "begin; lock table accounts in share update exclusive mode";
    let (session, _) = bank.session("new", lock);
    let said = bank.says(&["cutover"], 1, &["CF0205", "Sessions with a lock"]);
    let gate = "select gate || ' ' || epoch from contraflow.standing where side = 'old'";
    assert_eq!(bank.sql("old", gate).trim(), "open 1", "{said}");
    bank.sql(
        "old",
        "update pgbench_accounts set abalance = 5 where aid = 1",
    );
    session.finish("rollback");
    run.asks(&["cutover"]);
    bank.audit("new");
}

#[test]
fn sqlite_moves_to_postgres_and_back() {
    let bank = Stage::new(FROM_SQLITE, Layout::FromSqlite);
    let mut run = bank.run(None);
    run.reaches("follow");
    run.asks(&["cutover"]);
    bank.sql(
        "new",
        "insert into accounts values (9001, 7, 12.50, 'ü'); delete from accounts where aid = 1;
         update accounts set abalance = -0.01 where aid = 2",
    );
    run.asks(&["verify"]);
    run.asks(&["rollback"]);
    let found = bank.sqlite(
        "select group_concat(aid || ':' || bid || ':' || abalance || ':' || filler, ' ')
         from (select * from pgbench_accounts where aid in (1, 2, 9001) order by aid)",
    );
    assert_eq!(found, "2:1:-1:x 9001:7:1250:ü");
    run.asks(&["cutover"]);
    run.asks(&["verify"]);
}

/// Exactly what `docs/postgres.md` grants, and a table that somebody else owns.
#[test]
fn a_role_with_the_documented_grants_carries_a_whole_change() {
    let bank = Stage::new(BANK, Layout::TwoDatabases);
    bank.sql("old", "create role app_owner");
    bank.sql("old", "alter table pgbench_accounts owner to app_owner");
    bank.sql("old", "create role carrier login replication");
    bank.sql("old", "grant app_owner to carrier");
    let set = "grant set on parameter session_replication_role to carrier";
    bank.sql("old", set);
    for side in ["old", "new"] {
        let database = bank.sql(side, "select current_database()");
        let grant = format!("grant create on database {} to carrier", database.trim());
        bank.sql(side, &grant);
        bank.sql(side, "grant create on schema public to carrier");
    }
    bank.declare_as("carrier");
    let load = bank.load();
    let mut run = bank.run(None);
    run.reaches("follow");
    for verb in ["cutover", "rollback", "cutover"] {
        run.asks(&[verb]);
    }
    load.pause();
    run.asks(&["verify"]);
    bank.audit("new");
    run.contracts();
    run.ends();
    bank.nothing_is_left();
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_written() {
    let bank = Stage::new(BANK, Layout::OneDatabase);
    bank.sql(
        "old",
        "alter table pgbench_accounts replica identity nothing",
    );
    bank.says(&["check"], 2, &["error[CF0103]", "replica identity"]);
    bank.sql(
        "old",
        "alter table pgbench_accounts replica identity default",
    );
    bank.sql(
        "old",
        "alter table pgbench_accounts drop constraint pgbench_accounts_pkey",
    );
    bank.says(&["check"], 2, &["error[CF0103]", "create unique index"]);
    bank.sql("old", "alter table pgbench_accounts add primary key (aid)");
    let table = "create table accounts (aid int primary key, branch int, abalance numeric(30,4),
                 filler char(84))";
    bank.sql("new", table);
    let told = ["error[CF0035]", "to: \"decimal(30,4)\""];
    bank.says(&["check"], 2, &told);
    bank.sql("new", "drop table accounts");
    bank.sql("old", "create role nobody login");
    bank.declare_as("nobody");
    let told = ["alter role", "replication", "grant create on database"];
    bank.says(&["check"], 2, &told);
    bank.declare("host=/nowhere user=x password=secret dbname=y");
    let answer = bank.says(&["check"], 2, &["error[CF0101]"]);
    assert!(!answer.contains("secret"), "{answer}");
    bank.declare("postgres://u:secret@[broken/db");
    let answer = bank.says(&["check"], 2, &["error[CF0005]"]);
    assert!(!answer.contains("secret"), "{answer}");
}
