//! What `doctor` says is missing, and that it suffices.

use super::bank::BANK;
use super::stage::{Layout, Stage};

/// A role with nothing: every statement that is named is run as it stands, and then a whole change
/// runs.
#[test]
fn doctor_names_the_statement_for_everything_that_is_missing() {
    let bank = Stage::new(BANK, Layout::TwoDatabases);
    bank.sql("old", "create role told_owner");
    bank.sql("old", "alter table pgbench_accounts owner to told_owner");
    bank.sql("old", "create role carrier_told login");
    for side in ["old", "new"] {
        bank.sql(side, "revoke create on schema public from public");
    }
    bank.declare_as("carrier_told");
    let told = bank.says(&["doctor"], 2, &["old end", "new end", "WRONG", "ok"]);
    assert!(told.contains("wal_level: logical"), "{told}");
    let told = bank.says(&["doctor", "--json"], 2, &["contraflow.doctor/1"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("one document");
    let problems = told["problems"].as_array().expect("a list");
    assert!(problems.len() >= 4, "{told}");
    for problem in problems {
        let hint = problem["hint"].as_str().expect("a hint");
        let statement = hint.split('`').nth(1).expect("a statement");
        bank.sql(problem["side"].as_str().expect("a side"), statement);
    }
    bank.says(&["doctor"], 0, &["nothing is in the way"]);
    let mut run = bank.run(None);
    run.reaches("follow");
    bank.says(&["doctor"], 0, &["the slot of the change: read"]);
    for verb in ["cutover", "rollback", "cutover"] {
        run.asks(&[verb]);
    }
    bank.audit("new");
    run.contracts();
    run.ends();
    bank.nothing_is_left();
}
