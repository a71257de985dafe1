//! Three tables under foreign keys that move together, one of which sweeps another.

use super::live;
use super::stage::{Layout, Plan, Stage};
use crate::live::process::until;

const PAIRS: &str = r#"  - old: customers
    new: clients
    key: [id]
    mapping:
      - rename: { from: name, to: full_name }
  - old: orders
    new: purchases
    key: [id]
    mapping:
      - rename: { from: customer_id, to: client_id }
      - rename: { from: state, to: status }
  - old: order_lines
    new: items
    key: [order_id, no]
    mapping:
      - rename: { from: order_id, to: purchase_id }
      - rename: { from: sku, to: product }
      - rename: { from: cents, to: price }
      - convert: { field: price, to: "decimal(20,2)", factor: "0.01", on_fail: letter }
"#;

const OLD: &str = "
    create table customers (id int primary key, name text not null, city text);
    create table orders (id int primary key, customer_id int not null references customers,
      state text not null);
    create table order_lines (order_id int not null references orders on delete cascade, no int,
      sku text not null, cents bigint not null, primary key (order_id, no));
    create index on orders (customer_id);
    insert into customers select n, 'name ' || n, 'city ' || n % 7 from generate_series(1, 300) n;
    insert into orders select n, n % 300 + 1, 'open' from generate_series(1, 900) n;
    insert into order_lines select o, n, 'sku ' || n, o * n
      from generate_series(1, 900) o, generate_series(1, 3) n";

const NEW: &str = "
    create table clients (id int primary key, full_name text not null, city text);
    create table purchases (id int primary key, client_id int not null references clients,
      status text not null);
    create table items (purchase_id int not null references purchases on delete cascade, no int,
      product text not null, price numeric(20,2) not null, primary key (purchase_id, no));
    create index on purchases (client_id)";

/// With a customer of the client's own, and with anybody's.
const TRADE: &str = "
\\set whose random(1, 300)
\\set which random(1, 900)
\\set no random(1, 5)
\\set mine 301 + :client_id * 20 + random(0, 19)
\\set gone 301 + :client_id * 20 + random(0, 19)
begin;
insert into customers values (:mine, 'new', 'here')
  on conflict (id) do update set name = 'again';
insert into orders values (1000 + :mine, :mine, 'new') on conflict (id) do nothing;
insert into order_lines values (1000 + :mine, :no, 'new', 7)
  on conflict (order_id, no) do update set cents = 8;
update customers set city = 'moved ' || :no where id = :whose;
update orders set state = 'paid', customer_id = :whose where id = :which;
update order_lines set cents = cents * 2 % 1000 where order_id = :which;
delete from order_lines where order_id = 1000 + :mine and no < :no;
delete from orders where id = 1000 + :gone;
delete from customers where id = :gone;
commit;
";

const SHOP: Plan = Plan {
    old: OLD,
    new: NEW,
    pairs: PAIRS,
    limits: "{ fence_max: 5s, rate_rows_per_s: 3000 }",
    script: TRADE,
    renamed: &[
        ("customers", "clients"),
        ("customer_id", "client_id"),
        ("orders", "purchases"),
        ("order_lines", "items"),
        ("order_id", "purchase_id"),
        ("name", "full_name"),
        ("state", "status"),
        ("cents", "price"),
    ],
    clients: 3,
    rate: 150,
    audits: &[
        [
            "select id, name, city from customers order by id",
            "select id, full_name, city from clients order by id",
        ],
        [
            "select id, customer_id, state from orders order by id",
            "select id, client_id, status from purchases order by id",
        ],
        [
            "select order_id, no, sku, (cents * 0.01)::numeric(20,2) from order_lines
             order by 1, 2",
            "select purchase_id, no, product, price from items order by 1, 2",
        ],
    ],
    rows: 3_900,
};

/// What the application did in a whole life must have been of every kind.
fn is_busy(stage: &Stage) {
    let kinds = "select least(n_tup_ins, n_tup_upd, n_tup_del) from pg_stat_user_tables
        where relname in ('customers', 'orders', 'order_lines') order by 1 limit 1";
    until("all tables were written to", || {
        stage.number("old", kinds).is_some_and(|least| least > 0)
    });
}

fn moves_together(layout: Layout) {
    let stage = Stage::new(SHOP, layout);
    let load = stage.load();
    is_busy(&stage);
    drop(load);
    live(&stage, None);
}

#[test]
fn tables_under_foreign_keys_move_together_between_databases() {
    moves_together(Layout::TwoDatabases);
}

#[test]
fn tables_under_foreign_keys_move_together_in_one_database() {
    moves_together(Layout::OneDatabase);
}

/// A foreign key into a table that stays behind would judge by rows that lag: it is refused.
#[test]
fn a_table_that_is_left_behind_is_told_before_anything_is_written() {
    let alone = PAIRS.split("  - old: ").nth(2).expect("the second pair");
    let pairs = format!("  - old: {alone}");
    let stage = Stage::new(
        Plan {
            pairs: pairs.leak(),
            ..SHOP
        },
        Layout::TwoDatabases,
    );
    stage.says(
        &["check"],
        2,
        &[
            "error[CF0106]",
            "foreign key `purchases_client_id_fkey` of `purchases`",
        ],
    );
}
