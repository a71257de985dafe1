//! A full disk on either side: a limit on the size of files makes every write beyond it fail, as
//! a quota does, and needs neither root nor a file system of its own.

use crate::desk::{Desk, Running};

/// Rows of 1 kB, more than fit under the limit.
const ROWS: &str = "
drop table t; create table t (id integer primary key, a text, n integer);
with recursive c (i) as (select 1 union all select i + 1 from c where i < 3000)
insert into t select i, hex(randomblob(500)), i from c;
pragma wal_checkpoint(truncate);";

/// What an application adds to a log that nobody may truncate meanwhile.
const CROWD: &str = "
pragma wal_autocheckpoint = 0;
create table crowd (x);
with recursive c (i) as (select 1 union all select i + 1 from c where i < 800)
insert into crowd select randomblob(2000) from c;
drop table crowd;";

impl Desk {
    /// Starts `contraflow run` with a limit on the size of every file that it writes.
    fn start_under(&self, bytes: u64) -> Running<'_> {
        let mut command = std::process::Command::new("sh");
        // The unit is 512 bytes in every POSIX shell.
        let script = format!("ulimit -f {} && exec \"$0\" run", bytes / 512);
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_contraflow")])
            .current_dir(self.folder());
        self.start_as(command)
    }
}

#[test]
fn a_new_side_that_is_full_is_a_hold_and_the_copy_goes_on_where_it_stopped() {
    let desk = Desk::usual();
    desk.sql("app.db", ROWS);
    let run = desk.start_under(2_000_000);
    run.wait_for("held");
    let status = desk.run(&["status"]);
    status.says(
        1,
        &[
            "HELD: the file cannot grow",
            "Free space, then `contraflow resume`.",
        ],
    );
    assert!(desk.one::<i64>("v2.db", "select count(*) from t2") < 3_000);
    // The application goes on and everything it writes is remembered.
    desk.sql(
        "app.db",
        "update t set n = -1 where id = 1; delete from t where id = 2",
    );
    assert_eq!(run.stop(), Some(0));
    desk.run(&["resume"]).says(0, &["the change goes on"]);
    let run = desk.start();
    run.wait_for("follow");
    desk.run(&["verify"]).says(0, &["2999 rows compared"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn an_old_side_that_is_full_at_the_start_is_left_as_it_was() {
    let desk = Desk::usual();
    let before = desk.schema("app.db");
    let app = desk.open("app.db");
    app.execute_batch(CROWD).unwrap();
    let run = desk.start_under(500_000);
    run.wait_for("held");
    desk.run(&["status"])
        .says(1, &["HELD: the file cannot grow", "Free space"]);
    assert_eq!(desk.schema("app.db"), before);
    assert_eq!(run.stop(), Some(0));
    desk.run(&["abort", "--yes"]).says(0, &["phase aborted"]);
    assert_eq!(
        (desk.schema("app.db"), desk.schema("v2.db")),
        (before, String::new())
    );
}

#[test]
fn an_old_side_that_fills_up_while_it_is_followed_is_a_hold() {
    let desk = Desk::usual();
    let run = desk.start_under(1_000_000);
    run.wait_for("follow");
    let app = desk.open("app.db");
    app.execute_batch(CROWD).unwrap();
    // So many that what was carried is taken out of the journal.
    app.execute_batch(
        "with recursive c (i) as (select 4 union all select i + 1 from c where i < 3000)
         insert into t select i, 'late', i from c",
    )
    .unwrap();
    run.wait_for("held");
    desk.run(&["status"])
        .says(1, &["HELD: the file cannot grow"]);
    app.execute_batch("pragma wal_checkpoint(truncate)")
        .unwrap();
    desk.run(&["resume"]).says(0, &[]);
    run.wait_for("lag");
    desk.run(&["verify"]).says(0, &["3000 rows compared"]);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn a_ledger_that_is_full_ends_the_run_with_its_code() {
    let desk = Desk::usual();
    let run = desk.start_under(60_000);
    assert_eq!(run.ended(), Some(2), "{}", desk.log());
    assert!(
        desk.log()
            .contains("error[CF0405]: the ledger cannot be used"),
        "{}",
        desk.log()
    );
    assert!(desk.log().contains("Free space"), "{}", desk.log());
    let run = desk.start();
    run.wait_for("follow");
    assert_eq!(run.stop(), Some(0));
}
