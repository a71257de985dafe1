//! What `verify` says of a row that differs, and how a person gets from there to the repair.

use rusqlite::config::DbConfig;

use crate::desk::Desk;

/// Changes the mirror behind everybody's back, as a connection that runs no triggers can.
fn spoil(desk: &Desk, sql: &str) {
    let db = desk.open("v2.db");
    let triggers = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    db.set_db_config(triggers, false).unwrap();
    db.execute_batch(sql).unwrap();
}

#[test]
fn keys_that_differ_are_named_on_request_and_can_be_repaired() {
    let desk = Desk::usual();
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["verify"]).says(0, &["3 rows compared"]);
    spoil(
        &desk,
        "update t2 set b = 'other' where id = 1; delete from t2 where id = 2;
         insert into t2 values (77, 'rogue', 1)",
    );
    let silent = desk.run(&["verify"]);
    silent.says(
        1,
        &["3 keys differ", "`contraflow verify --keys` names them"],
    );
    assert!(!silent.out.contains("77"), "{silent:#?}");
    let named = desk.run(&["verify", "--keys"]);
    let lines: Vec<&str> = named.out.lines().collect();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = lines.into_iter().map(words).collect();
    lines.sort();
    let expected = ["t different key 1 b", "t extra key 77", "t missing key 2"];
    assert_eq!(lines, expected, "{named:#?}");
    let json = desk.run(&["verify", "--keys", "--json"]);
    json.says(1, &["\"key\":[\"77\"]"]);
    desk.run(&["diff", "--key", "1"]).says(1, &["other"]);
    desk.run(&["repair", "1", "2", "77"])
        .says(0, &["3 keys carried again"]);
    desk.run(&["verify", "--keys"])
        .says(0, &["3 rows compared"]);
    assert_eq!(desk.one::<i64>("v2.db", "select count(*) from t2"), 3);
    assert_eq!(run.stop(), Some(0));
}
