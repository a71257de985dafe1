//! What a long copy leaves the servers to keep, and what it leaves unseen.

use super::digests::RENAMED;
use super::stage::{Layout, Plan, Run, Stage};
use crate::live::process::until;

/// A copy of ten seconds: there is always another range to be written.
const SLOW: Plan = Plan {
    new: "create function slow() returns boolean language plpgsql as
            $$ begin perform pg_sleep(0.0002); return true; end $$;
          create table accounts (aid int not null primary key, branch int, abalance int,
            filler char(84), check (aid % 5 > 0 or slow()))",
    ..RENAMED
};

/// Where the log begins that the server of a side keeps for us.
const PLACE: &str = "select confirmed_flush_lsn from pg_replication_slots
    where database = current_database()";

/// The same, which the servers are left to.
const FULL: Plan = Plan {
    limits: "{ copy_share_percent: 100 }",
    ..SLOW
};

fn begins(bank: &Stage) -> Run<'_> {
    let run = bank.run(None);
    until("the first rows arrive", || {
        let rows = bank.number("new", "select count(*) from accounts");
        rows.is_some_and(|rows| rows > 0)
    });
    run
}

#[test]
fn the_log_is_not_kept_for_as_long_as_a_copy_takes() {
    is_not_kept(SLOW, 2);
}

#[test]
fn the_log_is_not_kept_for_as_long_as_a_copy_at_full_speed_takes() {
    is_not_kept(FULL, 1);
}

fn is_not_kept(plan: Plan, times: u32) {
    let bank = Stage::new(plan, Layout::TwoDatabases);
    let mut run = begins(&bank);
    for side in ["old", "new"] {
        for _ in 0..times {
            let before = bank.sql(side, PLACE);
            until("the server may forget more", || {
                bank.sql(side, PLACE) != before
            });
        }
    }
    assert_eq!(bank.status()["phase"], "backfill", "only when it was over");
    run.reaches("follow");
}

#[test]
fn a_foreign_write_of_the_mirror_is_found_while_a_copy_goes_on() {
    is_found(SLOW);
}

#[test]
fn a_foreign_write_of_the_mirror_is_found_while_a_copy_goes_on_at_full_speed() {
    is_found(FULL);
}

fn is_found(plan: Plan) {
    let bank = Stage::new(plan, Layout::TwoDatabases);
    let run = begins(&bank);
    // Somebody who knows what passes the guard.
    bank.sql(
        "new",
        "select set_config('contraflow.pass', pass, false) from contraflow.standing
           where side = 'new';
         insert into accounts values (90001, 1, 1, 'z')",
    );
    bank.says(&["wait", "--for", "held", "--timeout", "50s"], 0, &[]);
    bank.says(&["status"], 1, &["CF0203", "1 writes on the new end"]);
    assert_eq!(
        bank.status()["phase"],
        "backfill",
        "not only when it was over"
    );
    drop(run);
}
