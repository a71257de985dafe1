//! Turns under load: nothing is lost, nothing comes back as an echo, numbers are never given out
//! twice. And the auditor himself is put to the test.

use serde_json::json;

use super::fixture::{App, Fixture, Plan};

/// How many application writes each end has journalled in its life. A mirror's must not grow: that
/// would be our own write coming back.
fn journalled(fixture: &Fixture, side: &str) -> i64 {
    let name = format!("_contraflow_live_{side}_journal");
    let sql =
        format!("select coalesce((select seq from sqlite_sequence where name = '{name}'), 0)");
    fixture.number(side, &sql)
}

fn ten_flips(plan: Plan) {
    let fixture = Fixture::new(plan);
    let mut writers = fixture.writers();
    let _runner = fixture.run();
    fixture.wait_for("follow");
    let turns = [("cutover", "new"), ("rollback", "old")];
    let mut mirrored = 0;
    for &(verb, gaining) in turns.iter().cycle().take(10) {
        writers.work();
        // The end that is about to gain was the mirror until now.
        assert_eq!(journalled(&fixture, gaining), mirrored, "an echo");
        fixture.must(&[verb]);
        writers.pause();
        let losing = if gaining == "new" { "old" } else { "new" };
        mirrored = journalled(&fixture, losing);
        let report = fixture.audit(gaining);
        let again = fixture.audit(gaining);
        assert_eq!(report, again, "with nobody writing nothing changes");
        if plan.app == App::Phonebook || plan.premade {
            let sequences = |side: &str| report[side]["sequences"].clone();
            assert_eq!(sequences("old")[0], sequences("new")[0], "carried over");
        }
        writers.resume();
    }
    writers.work();
    writers.audited("old");
    writers.finish();
}

#[test]
fn ten_flips_of_the_phonebook_under_load() {
    ten_flips(Plan::PHONEBOOK);
}

#[test]
fn ten_flips_of_the_shop_under_load() {
    ten_flips(Plan {
        same_file: true,
        ..Plan::SHOP
    });
}

#[test]
fn a_number_of_a_deleted_row_is_never_given_out_again() {
    let fixture = Fixture::new(Plan {
        writers: 0,
        ..Plan::PHONEBOOK
    });
    let _runner = fixture.run();
    fixture.wait_for("follow");
    // The highest number is used and freed at the old end; nothing in the rows shows it.
    let used = "insert into phonebook (id, amount, writer, seq) values (5000, 0, 9, 0);
                delete from phonebook where id = 5000;";
    fixture.sql("old", used);
    fixture.must(&["verify"]);
    fixture.must(&["cutover"]);
    let insert = "insert into contacts (contacts, amount, writer, seq, count)
                  values ('[]', 0, 9, 0, 0);";
    fixture.sql("new", insert);
    assert_eq!(fixture.number("new", "select max(id) from contacts"), 5001);
    fixture.sql("new", "delete from contacts where id = 5001");
    fixture.must(&["rollback"]);
    let insert = "insert into phonebook (amount, writer, seq) values (0, 9, 0);";
    fixture.sql("old", insert);
    assert_eq!(fixture.number("old", "select max(id) from phonebook"), 5002);
}

/// Damages the mirror behind everybody's back: by the flag that hides our own writes.
fn damage(fixture: &Fixture, sql: &str) {
    let standing = "_contraflow_live_new_standing";
    fixture.sql(
        "new",
        &format!(
            "begin immediate; update {standing} set applying = 1; {sql};
             update {standing} set applying = 0; commit"
        ),
    );
}

#[test]
fn a_damaged_mirror_is_found_by_the_auditor_and_by_verify_and_repaired() {
    let fixture = Fixture::new(Plan {
        writers: 0,
        ..Plan::PHONEBOOK
    });
    let _runner = fixture.run();
    fixture.wait_for("follow");
    fixture.audit("old");
    let damages = [
        ("update contacts set person = 'forged' where id = 7", "7"),
        ("update contacts set count = 9 where id = 8", "8"),
        ("delete from contacts where id = 9", "9"),
        (
            "insert into contacts (id, contacts, amount, writer, seq, count)
             values (777777, '[]', 0, 0, 0, 0)",
            "777777",
        ),
    ];
    for (sql, key) in damages {
        damage(&fixture, sql);
        let report = fixture.report("old");
        let found = report["divergent"] != json!([]) || report["unknown"] != json!([]);
        assert!(found, "the auditor is blind to {key}: {report}");
        let verified = fixture.verb(&["verify"]);
        assert_eq!(verified.code, Some(1), "{key}: {verified:?}");
        let refused = fixture.verb(&["cutover"]);
        assert_eq!(refused.code, Some(1), "{key}: {refused:?}");
        fixture.must(&["repair", key]);
        fixture.audit("old");
    }
    fixture.must(&["cutover"]);
    fixture.audit("new");
}

#[test]
fn a_write_to_the_mirror_is_refused() {
    let fixture = Fixture::new(Plan {
        writers: 0,
        ..Plan::PHONEBOOK
    });
    let _runner = fixture.run();
    fixture.wait_for("follow");
    let write = |side: &str, sql: &str| {
        let path = fixture.path().join(side);
        let db = rusqlite::Connection::open(path).expect("a file");
        db.execute_batch(sql)
            .expect_err("a guarded table")
            .to_string()
    };
    for sql in [
        "update contacts set seq = 1 where id = 3",
        "delete from contacts where id = 3",
        "replace into contacts (id, contacts, amount, writer, seq, count) values (3, '', 0, 0, 0, 0)",
        "insert into contacts (contacts, amount, writer, seq, count) values ('', 0, 0, 0, 0)",
    ] {
        let said = write(fixture.new_name(), sql);
        assert!(said.contains("contraflow CF0302"), "{said}");
        assert!(said.contains("authority is with side old"), "{said}");
    }
    fixture.must(&["cutover"]);
    let said = write("app.db", "delete from phonebook where id = 3");
    assert!(said.contains("authority is with side new"), "{said}");
    fixture.audit("new");
}
