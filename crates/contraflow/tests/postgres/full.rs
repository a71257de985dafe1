//! A disk under the new end that is full: a limit on the size of the server's files makes it refuse
//! to grow a table with the same words, and needs neither root nor a file system of its own.

use super::bank::BANK;
use super::servers::{self, Server};
use super::stage::{Layout, Plan, Stage};

/// More than a segment of the log, less than the table, and no whole number of pages: the last one
/// is written in part.
const LIMIT: u64 = (18 << 20) + 4_096;

/// Rows of 1 kB, more than fit under the limit.
const WIDE: Plan = Plan {
    old: "create table pgbench_accounts (aid int primary key, bid int, abalance int, filler text);
          insert into pgbench_accounts
            select n, n % 10, n, repeat(md5(n::text), 40) from generate_series(1, 20000) n",
    audits: &[[
        "select aid, bid, (abalance * 0.01)::numeric(20,2), md5(filler) from pgbench_accounts
         order by aid",
        "select aid, branch, abalance, md5(filler) from accounts order by aid",
    ]],
    // The application deletes some.
    rows: 19_900,
    ..BANK
};

#[test]
fn a_full_disk_under_the_new_end_is_a_hold_and_the_copy_goes_on_where_it_stopped() {
    let server = Server::own();
    server.limit(Some(LIMIT));
    let stage = Stage::on([servers::shared(), server], WIDE, Layout::TwoDatabases);
    let load = stage.load();
    let mut run = stage.run(None);
    stage.says(&["wait", "--for", "held", "--timeout", "50s"], 0, &[]);
    let told = [
        "HELD",
        "CF0204",
        "the disk of the server is full",
        "Free space",
    ];
    stage.says(&["status"], 1, &told);
    let there = stage.number("new", "select count(*) from accounts");
    assert!(
        there.is_some_and(|there| 0 < there && there < 20_000),
        "{there:?}"
    );
    server.limit(None);
    run.asks(&["resume"]);
    run.reaches("follow");
    for (verb, authority) in [("cutover", "new"), ("rollback", "old")] {
        run.asks(&[verb]);
        load.pause();
        run.asks(&["verify"]);
        stage.audit(authority);
        load.resume();
    }
}
