//! What a long copy leaves the servers to keep.

use super::digests::RENAMED;
use super::stage::{Layout, Plan, Stage};
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

#[test]
fn the_log_is_not_kept_for_as_long_as_a_copy_takes() {
    let bank = Stage::new(SLOW, Layout::TwoDatabases);
    let mut run = bank.run(None);
    until("the first rows arrive", || {
        let rows = bank.number("new", "select count(*) from accounts");
        rows.is_some_and(|rows| rows > 0)
    });
    for side in ["old", "new"] {
        for _ in 0..2 {
            let before = bank.sql(side, PLACE);
            until("the server may forget more", || {
                bank.sql(side, PLACE) != before
            });
        }
    }
    assert_eq!(bank.status()["phase"], "backfill", "only when it was over");
    run.reaches("follow");
}
