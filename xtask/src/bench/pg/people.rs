//! The old table of seven columns, and what it becomes.

/// What becomes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reshape {
    /// One column gets another name; everything else passes through.
    Rename,
    /// A name is split in two, an amount becomes whole cents, one column gets another name.
    Mapped,
}

/// The table of the old end, of the new one, and of the peer.
pub(super) const OLD_TABLE: &str = "people";
pub(super) const NEW_TABLE: &str = "customers";
pub(super) const PEER_TABLE: &str = "peer_people";

/// The columns of the old table, as they are declared.
const COLUMNS: &str = "id bigint primary key, name text not null, email text,
    balance numeric(12,2) not null, born date, active boolean not null,
    updated timestamptz not null";
/// The columns of the old table in their order.
pub(super) const AS_IS: &str = "id, name, email, balance, born, active, updated";

/// Makes a table like the old one, with its key.
pub(super) fn create(table: &str) -> String {
    format!("drop table if exists {table}; create table {table} ({COLUMNS})")
}

/// Fills the old table with rows of about a hundred bytes, some with nulls.
pub(super) fn fill(rows: u64) -> String {
    format!(
        "insert into {OLD_TABLE}
         select n, 'first' || n % 1000 || ' last' || n,
           case when n % 4 > 0 then 'person' || n || '@example.org' end,
           (n * 7919 % 100000000) / 100.0,
           case when n % 5 > 0 then date '1950-01-01' + (n % 20000)::int end,
           n % 3 > 0, timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second'
         from generate_series(1, {rows}::bigint) n"
    )
}

/// How many rows a table or a query shows and what they hold, whatever their order.
pub(super) fn digest(columns: &str, table: &str) -> String {
    format!(
        "select count(*) || ' ' || coalesce(sum(hashtextextended(row({columns})::text, 0)), 0)
         from {table}"
    )
}

impl Reshape {
    /// The change file over these two databases, with these limits.
    pub(super) fn change(self, name: &str, old: &str, new: &str, limits: &str) -> String {
        let mapping = match self {
            Reshape::Rename => "      - rename: { from: name, to: full_name }",
            Reshape::Mapped => {
                r#"      - split: { field: name, by: " ", into: [first, last] }
      - convert: { field: balance, to: int64, factor: "100", on_fail: letter }
      - rename: { from: active, to: is_active }"#
            }
        };
        format!(
            "version: 1
change: {name}
old: {{ postgres: \"{old}\" }}
new: {{ postgres: \"{new}\" }}
limits: {limits}
pairs:
  - old: {OLD_TABLE}
    new: {NEW_TABLE}
    key: [id]
    mapping:
{mapping}
"
        )
    }

    /// What the new table must hold, from the old one and from the new one.
    pub(super) fn columns(self) -> [&'static str; 2] {
        match self {
            Reshape::Rename => [
                AS_IS,
                "id, full_name, email, balance, born, active, updated",
            ],
            Reshape::Mapped => [
                "id, split_part(name, ' ', 1), split_part(name, ' ', 2), email,
                   (balance * 100)::bigint, born, active, updated",
                "id, first, last, email, balance, born, is_active, updated",
            ],
        }
    }
}
