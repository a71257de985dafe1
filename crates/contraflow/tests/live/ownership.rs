//! The ends outrank the ledger: a lost ledger, a second checkout or a restored file never moves
//! data the wrong way.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::fixture::{Fixture, Plan, Writers};
use super::process::until;

/// A change whose writers have moved to the new end, with nobody running it.
fn moved(fixture: &Fixture) -> Writers<'_> {
    let mut writers = fixture.writers();
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    fixture.must(&["cutover"]);
    writers.work();
    writers.audited("new");
    writers.pause();
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    writers
}

/// A copy of a side's file, as a backup tool takes it.
fn back_up(fixture: &Fixture, side: &str) -> PathBuf {
    let backup = fixture.path().join("backup.db");
    let db = rusqlite::Connection::open(fixture.file(side)).expect("a file");
    db.execute("vacuum into ?1", [backup.to_str().expect("a path")])
        .expect("a backup");
    backup
}

/// Puts a backup in the place of a side's file, which nobody uses.
fn restore(fixture: &Fixture, side: &str, backup: &Path) {
    let path = fixture.file(side);
    for ending in ["-wal", "-shm"] {
        // They are gone already when the last connection was closed.
        drop(std::fs::remove_file(format!("{}{ending}", path.display())));
    }
    std::fs::copy(backup, path).expect("restored");
}

fn everything(fixture: &Fixture) -> [String; 2] {
    [fixture.dump("old"), fixture.dump("new")]
}

/// Every verb that could move data is refused with this code, and none does.
fn refuses(fixture: &Fixture, folder: &Path, exit: i32, code: &str) {
    let before = everything(fixture);
    for verb in [&["run"][..], &["rollback"], &["cutover"], &["verify"]] {
        let done = fixture.verb_in(folder, verb);
        assert_eq!(done.code, Some(exit), "{verb:?}: {done:?}");
        assert!(done.err.contains(code), "{verb:?}: {done:?}");
    }
    assert!(before == everything(fixture), "something was written");
}

#[test]
fn a_lost_ledger_moves_nothing_and_is_adopted() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut writers = moved(&fixture);
    std::fs::remove_dir_all(fixture.path().join(".contraflow")).expect("the ledger's folder");
    refuses(&fixture, fixture.path(), 2, "CF0109");
    fixture.must(&["adopt"]);
    let _runner = fixture.run();
    assert_eq!(fixture.status()["phase"], "reverse");
    writers.resume();
    writers.work();
    writers.audited("new");
    fixture.must(&["rollback"]);
    writers.work();
    writers.audited("old");
    writers.finish();
}

#[test]
fn a_ledger_lost_while_copying_goes_on_where_the_end_says() {
    let fixture = Fixture::new(Plan::SLOW);
    let mut writers = fixture.writers();
    let mut runner = fixture.run();
    fixture.wait_for("lag");
    runner.kill();
    std::fs::remove_dir_all(fixture.path().join(".contraflow")).expect("the ledger's folder");
    writers.work();
    fixture.must(&["adopt"]);
    let _runner = fixture.run();
    fixture.wait_for("follow");
    writers.audited("old");
    writers.finish();
}

#[test]
fn a_second_checkout_moves_nothing_until_it_adopts() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut writers = moved(&fixture);
    let checkout = fixture.path().join("checkout");
    std::fs::create_dir(&checkout).expect("a folder");
    let new = format!("../{}", fixture.new_name());
    fixture.write_change_file(&checkout, "../app.db", &new);
    refuses(&fixture, &checkout, 2, "CF0109");
    // The first one runs, and the second takes it over under its feet.
    let mut first = fixture.run();
    writers.resume();
    writers.work();
    assert_eq!(fixture.verb_in(&checkout, &["run"]).code, Some(2));
    assert!(first.runs());
    assert_eq!(fixture.verb_in(&checkout, &["adopt"]).code, Some(0));
    let mut second = fixture.spawn_in(&checkout, &["run"], &[]);
    assert_eq!(first.wait(), Some(2), "{}", first.err());
    assert!(first.err().contains("CF0301"), "{}", first.err());
    writers.work();
    writers.pause();
    let verified = fixture.verb_in(&checkout, &["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    fixture.audit_still("new");
    assert_eq!(fixture.verb(&["run"]).code, Some(2), "the first is out");
    assert!(second.runs());
    writers.resume();
    writers.finish();
}

/// A change that follows, with nobody running it, and a backup of one side.
fn followed_and_backed_up(fixture: &Fixture, side: &str) -> PathBuf {
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    back_up(fixture, side)
}

#[test]
fn impossible_answers_stop_with_exit_3() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let backup = followed_and_backed_up(&fixture, "old");
    let writers = moved(&fixture);
    // Somebody restores the old file from before the cutover: two ends say they are open.
    restore(&fixture, "old", &backup);
    refuses(&fixture, fixture.path(), 3, "CF0305");
    let status = fixture.verb(&["status", "--json"]);
    assert_eq!(status.code, Some(3), "{status:?}");
    assert_eq!(status.json()["ambiguous"], true);
    let told = fixture.verb(&["run"]).err;
    assert!(
        told.contains("which end the application writes to"),
        "{told}"
    );
    drop(writers);
}

#[test]
fn a_gaining_end_restored_behind_its_flip_is_ambiguous() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let backup = followed_and_backed_up(&fixture, "new");
    let writers = moved(&fixture);
    // The new file is restored from before the cutover. To the ends alone it looks like a flip
    // that was cut off; the ledger knows that it was not, and that writes are missing.
    restore(&fixture, "new", &backup);
    refuses(&fixture, fixture.path(), 3, "CF0305");
    drop(writers);
}

#[test]
fn a_mirror_restored_from_a_backup_is_held_and_carried_anew() {
    let fixture = Fixture::new(Plan {
        premade: false,
        ..Plan::PHONEBOOK
    });
    let mut writers = fixture.writers();
    let mut runner = fixture.run();
    fixture.wait_for("follow");
    writers.work();
    writers.audited("old");
    writers.pause();
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    let backup = back_up(&fixture, "new");
    let head = "select seq from sqlite_sequence where name = '_contraflow_live_old_journal'";
    let head = fixture.number("old", head);
    let mut runner = fixture.run();
    writers.resume();
    // What is confirmed is gone from the journal before long: what the backup lacks, too.
    let oldest = "select coalesce(min(seq), 0) from _contraflow_live_old_journal";
    until("the journal is pruned", || {
        fixture.number("old", oldest) > head + 1
    });
    writers.audited("old");
    writers.pause();
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    restore(&fixture, "new", &backup);
    let mut runner = fixture.run();
    fixture.wait_for("held");
    let status = fixture.status();
    let code = &status["state"]["held"]["code"];
    assert_eq!(code, &json!(202), "{status:#}");
    assert_eq!(fixture.verb(&["cutover"]).code, Some(1));
    // The way on that the hint names.
    fixture.must(&["abort", "--yes"]);
    assert_eq!(runner.wait(), Some(0), "{}", runner.err());
    std::fs::remove_dir_all(fixture.path().join(".contraflow")).expect("the ledger's folder");
    let _runner = fixture.run();
    fixture.wait_for("follow");
    writers.resume();
    writers.work();
    writers.audited("old");
    writers.finish();
}

#[test]
fn an_old_end_restored_from_a_backup_never_reaches_a_cutover() {
    let fixture = Fixture::new(Plan {
        writers: 0,
        ..Plan::PHONEBOOK
    });
    let backup = followed_and_backed_up(&fixture, "old");
    let mut runner = fixture.run();
    let update = |from: u32, to: u32, what: &str| {
        let set = format!("update phonebook set owner = '{what}'");
        fixture.sql("old", &format!("{set} where id between {from} and {to}"));
    };
    update(1, 50, "lost by the restore");
    fixture.must(&["verify"]);
    assert_eq!(runner.terminate(), Some(0), "{}", runner.err());
    restore(&fixture, "old", &backup);
    // The application goes on, past the number at which the mirror stands.
    update(101, 180, "written after it");
    let _runner = fixture.run();
    let refused = fixture.verb(&["cutover"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(fixture.status()["authority"], "old");
}

#[test]
fn a_change_file_that_maps_differently_is_refused() {
    let fixture = Fixture::new(Plan::PHONEBOOK);
    let mut writers = moved(&fixture);
    let path = fixture.path().join("contraflow.yaml");
    let text = std::fs::read_to_string(&path).expect("the change file");
    let other = text.replace("count: count, ", "");
    assert_ne!(text, other);
    std::fs::write(&path, other).expect("the change file");
    let before = everything(&fixture);
    for verb in [&["run"][..], &["rollback"], &["verify"]] {
        let done = fixture.verb(verb);
        assert_eq!(done.code, Some(2), "{verb:?}: {done:?}");
    }
    assert!(before == everything(&fixture));
    std::fs::write(&path, text).expect("the change file");
    writers.resume();
    let _runner = fixture.run();
    writers.audited("new");
    writers.finish();
}
