//! Ends that digest their own rows: what differs is found all the same.

use super::bank::BANK;
use super::stage::{Layout, Plan, Stage};

/// A change that only renames: every field passes through.
pub(super) const RENAMED: Plan = Plan {
    old: "create table pgbench_accounts (aid int not null primary key, bid int, abalance int,
            filler char(84));
          insert into pgbench_accounts select n, 1, n, 'y' from generate_series(1, 50000) n",
    pairs: "  - old: pgbench_accounts
    new: accounts
    key: [aid]
    mapping:
      - rename: { from: bid, to: branch }
",
    rows: 50_000,
    ..BANK
};

/// Writes the mirror in a way that neither its guard nor its feed notices.
fn behind_our_back(bank: &Stage, sql: &str) {
    let publication = "(select quote_ident(pubname) from pg_publication)";
    let publish = |what: &str| {
        let alter = format!("select 'alter publication ' || {publication} || ' set (publish = '");
        let statement = format!("{alter} || quote_literal('{what}') || ')'");
        bank.sql("new", &bank.sql("new", &statement));
    };
    publish("");
    bank.sql(
        "new",
        &format!(
            "alter table accounts disable trigger user; {sql};
             alter table accounts enable trigger user"
        ),
    );
    let guard = "select format('alter table accounts enable always trigger %I', tgname)
        from pg_trigger where tgrelid = 'accounts'::regclass and not tgisinternal";
    for statement in bank.sql("new", guard).lines() {
        bank.sql("new", statement);
    }
    publish("insert, update, delete, truncate");
}

#[test]
fn what_differs_is_found_where_ends_digest_their_own_rows() {
    let bank = Stage::new(RENAMED, Layout::TwoDatabases);
    let mut run = bank.run(None);
    run.reaches("follow");
    bank.says(&["verify"], 0, &["50000 rows"]);
    run.process.signal("-INT");
    run.process.wait();
    behind_our_back(
        &bank,
        "update accounts set abalance = abalance + 1 where aid = 25000;
         delete from accounts where aid = 50000;
         insert into accounts values (0, 1, 1, 'z'), (70000, 1, 1, 'z')",
    );
    let mut run = bank.run(None);
    run.reaches("follow");
    let told = bank.says(&["verify", "--keys"], 1, &["4 "]);
    for key in ["25000", "50000", "0", "70000"] {
        assert!(told.contains(key), "{told}");
    }
    for key in ["25000", "50000", "0", "70000"] {
        run.asks(&["repair", key]);
    }
    bank.says(&["verify"], 0, &["50000 rows"]);
}
