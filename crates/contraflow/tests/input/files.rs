//! Files that are missing, not databases, one file twice, or not writable.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::desk::{CHANGE, Desk, TABLE};

/// `check` and `run` refuse with this code, and nothing is begun.
#[track_caller]
fn refused(desk: &Desk, parts: &[&str]) {
    for verb in ["check", "run"] {
        let done = desk.run(&[verb]);
        done.says(2, parts);
        done.says(2, &[" hint: "]);
        assert!(!done.err.contains("panicked"), "{done:#?}");
    }
    assert!(!desk.path(".contraflow").exists(), "no ledger is begun");
}

const TEXT: &str = "This is a text, and a long one, but no database at all.\n";

#[test]
fn a_missing_change_file() {
    let desk = Desk::new();
    for verb in [
        "check",
        "plan",
        "run",
        "status",
        "cutover",
        "diff --key 1",
        "letters list",
    ] {
        let args: Vec<&str> = verb.split(' ').collect();
        desk.run(&args).says(
            2,
            &[
                "error[CF0001]: cannot read the change file `contraflow.yaml`",
                "contraflow init",
            ],
        );
    }
}

#[test]
fn a_missing_old_file_is_never_created() {
    let desk = Desk::new();
    desk.change(CHANGE);
    refused(&desk, &["error[CF0101]: there is no file `", "app.db`"]);
    assert!(!desk.path("app.db").exists());
}

#[test]
fn an_empty_old_file_has_no_table() {
    let desk = Desk::new();
    desk.change(CHANGE);
    std::fs::write(desk.path("app.db"), "").unwrap();
    refused(&desk, &["error[CF0102]: there is no table `t`"]);
    assert_eq!(std::fs::metadata(desk.path("app.db")).unwrap().len(), 0);
}

#[test]
fn a_folder_in_place_of_a_file() {
    let desk = Desk::new();
    desk.change(CHANGE);
    std::fs::create_dir(desk.path("app.db")).unwrap();
    refused(&desk, &["error[CF0101]: the old end `", "cannot be read"]);
}

#[test]
fn a_new_file_in_a_missing_folder() {
    let desk = Desk::usual();
    desk.change(&CHANGE.replace("v2.db", "nowhere/v2.db"));
    let before = desk.schema("app.db");
    refused(&desk, &["error[CF0101]: there is no folder for `"]);
    assert_eq!(desk.schema("app.db"), before);
    assert!(!desk.path("nowhere").exists());
}

#[test]
fn a_file_that_is_no_database() {
    let desk = Desk::new();
    desk.change(CHANGE);
    std::fs::write(desk.path("app.db"), TEXT).unwrap();
    refused(
        &desk,
        &["error[CF0101]: the old end `", "file is not a database"],
    );
    assert_eq!(std::fs::read_to_string(desk.path("app.db")).unwrap(), TEXT);

    let desk = Desk::usual();
    std::fs::write(desk.path("v2.db"), TEXT).unwrap();
    let before = desk.schema("app.db");
    refused(
        &desk,
        &["error[CF0101]: the new end `", "file is not a database"],
    );
    assert_eq!(std::fs::read_to_string(desk.path("v2.db")).unwrap(), TEXT);
    assert_eq!(desk.schema("app.db"), before);
    desk.run(&["status"])
        .says(2, &["error[CF0101]", "end: new"]);
}

#[test]
fn a_damaged_file_is_a_hold_and_an_abort_leaves_it_as_it_was() {
    let desk = Desk::usual();
    let before = desk.schema("app.db");
    desk.sql(
        "app.db",
        "with recursive c (i) as (select 10 union all select i + 1 from c where i < 3000)
         insert into t select i, hex(randomblob(150)), i from c; pragma wal_checkpoint(truncate);",
    );
    let mut bytes = std::fs::read(desk.path("app.db")).unwrap();
    bytes[4096 * 20..4096 * 60].fill(0xff);
    std::fs::write(desk.path("app.db"), bytes).unwrap();
    let run = desk.start();
    run.wait_for("held");
    desk.run(&["status"]).says(
        1,
        &[
            "HELD",
            "malformed",
            "pragma integrity_check",
            "contraflow abort",
        ],
    );
    desk.run(&["cutover"]).says(1, &["error[CF0401]"]);
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(run.ended(), Some(0));
    assert_eq!(desk.schema("app.db"), before);
}

#[test]
fn one_file_by_two_names() {
    let both = CHANGE
        .replace("v2.db", "link.db")
        .replace("new: t2", "new: t");
    let links: [fn(&std::path::Path, &std::path::Path) -> std::io::Result<()>; 2] = [
        |a, b| std::os::unix::fs::symlink(a, b),
        |a, b| std::fs::hard_link(a, b),
    ];
    for link in links {
        let desk = Desk::usual();
        link(&desk.path("app.db"), &desk.path("link.db")).unwrap();
        desk.change(&both);
        let before = desk.schema("app.db");
        refused(
            &desk,
            &["error[CF0112]: `t` is both an old and a new table"],
        );
        assert_eq!(desk.schema("app.db"), before);
    }
}

#[test]
fn hard_links_are_refused_even_for_two_tables() {
    let desk = Desk::usual();
    std::fs::hard_link(desk.path("app.db"), desk.path("link.db")).unwrap();
    desk.change(&CHANGE.replace("v2.db", "link.db"));
    refused(
        &desk,
        &["error[CF0110]: both ends are hard links of one file"],
    );
}

#[test]
fn a_symlink_to_one_file_with_two_tables_works() {
    let desk = Desk::usual();
    std::os::unix::fs::symlink(desk.path("app.db"), desk.path("link.db")).unwrap();
    desk.change(&CHANGE.replace("v2.db", "link.db"));
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["verify"]).says(0, &["3 rows compared"]);
    desk.run(&["cutover"]).says(0, &["phase reverse"]);
}

#[test]
fn the_ledger_is_no_end_not_even_by_a_link() {
    let desk = Desk::usual();
    std::os::unix::fs::symlink(desk.path("app.db"), desk.path("ledger.db")).unwrap();
    desk.change(&format!("{CHANGE}ledger: ledger.db\n"));
    let before = desk.schema("app.db");
    for verb in ["check", "run", "status", "cutover"] {
        desk.run(&[verb])
            .says(2, &["error[CF0005]: the ledger is the file of the old end"]);
    }
    assert_eq!(desk.schema("app.db"), before);
}

/// Root may write what nobody may; the mode says what the owner wants all the same.
#[test]
fn a_read_only_file() {
    for file in ["app.db", "v2.db"] {
        let desk = Desk::usual();
        desk.sql(
            "v2.db",
            "create table t2 (id integer primary key, b text, n integer)",
        );
        let before = (desk.schema("app.db"), desk.schema("v2.db"));
        std::fs::set_permissions(desk.path(file), Permissions::from_mode(0o444)).unwrap();
        refused(
            &desk,
            &["error[CF0104]: the file of the", "cannot be written"],
        );
        std::fs::set_permissions(desk.path(file), Permissions::from_mode(0o644)).unwrap();
        assert_eq!((desk.schema("app.db"), desk.schema("v2.db")), before);
    }
}

#[test]
fn a_ledger_that_is_no_database() {
    let desk = Desk::over(TABLE);
    std::fs::create_dir(desk.path(".contraflow")).unwrap();
    std::fs::write(desk.path(".contraflow/c.db"), TEXT).unwrap();
    let before = desk.schema("app.db");
    for verb in ["run", "status", "cutover"] {
        desk.run(&[verb])
            .says(2, &["error[CF0405]: the ledger cannot be used", " hint: "]);
    }
    assert_eq!(desk.schema("app.db"), before);
}
