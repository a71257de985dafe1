//! Accounts as `pgbench` has them, moved to a table of another shape.

use super::stage::Plan;

const PAIRS: &str = r#"  - old: pgbench_accounts
    new: accounts
    key: [aid]
    mapping:
      - rename: { from: bid, to: branch }
      - convert: { field: abalance, to: "decimal(20,2)", factor: "0.01", on_fail: letter }
"#;

pub(super) const BANK: Plan = Plan {
    old: "create table pgbench_accounts (aid int not null primary key, bid int, abalance int,
            filler char(84));
          insert into pgbench_accounts select n, n % 10, n, 'x' from generate_series(1, 3000) n",
    new: "",
    pairs: PAIRS,
    limits: "{ fence_max: 5s }",
    script: "
\\set aid random(1, 3000)
\\set extra random(3001, 3100)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
insert into pgbench_accounts values (:extra, 1, :delta, 'new') on conflict (aid) do nothing;
delete from pgbench_accounts where aid = :extra + 1 and aid > 3000;
commit;
",
    renamed: &[
        ("pgbench_accounts", "accounts"),
        (":delta", ":delta * 0.01"),
    ],
    clients: 2,
    rate: 150,
    audits: &[[
        "select aid, bid, (abalance * 0.01)::numeric(20,2), filler from pgbench_accounts
         order by aid",
        "select aid, branch, abalance, filler from accounts order by aid",
    ]],
    rows: 3_000,
};

/// The same, from a file of SQLite.
pub(super) const FROM_SQLITE: Plan = Plan {
    old: "create table pgbench_accounts (aid integer primary key, bid integer, abalance integer,
            filler text);
          with recursive n (x) as (select 1 union all select x + 1 from n where x < 500)
          insert into pgbench_accounts select x, 1, x * 7, 'x' from n",
    ..BANK
};
