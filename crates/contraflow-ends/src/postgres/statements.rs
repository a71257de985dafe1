//! The statements of expand, seal, flip and contract, in one place: `plan` shows what runs.

use contraflow_core::end::{Role, Table};
use contraflow_core::lease::Epoch;
use contraflow_core::record::PairId;
use contraflow_core::shape::Type;

use super::names::{Names, SCHEMA, TableName, literal, quote};

/// Everything that is kept, beside the data. Each table is keyed by change and side first.
pub(super) const BOOKKEEPING: &[&str] = &[
    "create schema if not exists contraflow",
    "create table if not exists contraflow.standing (
  change text, side text, gate text not null, epoch bigint not null, ledger text not null,
  mapping text not null, pass text not null, tables text[] not null, created boolean[] not null,
  declarations text[] not null, system text, timeline integer, slot_from bigint,
  primary key (change, side))",
    "create table if not exists contraflow.lane (
  change text, side text, direction text, lane integer, token bigint not null,
  sequence bigint not null, position bytea, primary key (change, side, direction, lane))",
    "create table if not exists contraflow.chunk (
  change text, side text, direction text, pair integer, ordinal bigint, after_key bytea,
  through_key bytea, primary key (change, side, direction, pair, ordinal))",
    "create table if not exists contraflow.letter (
  id bigint generated always as identity primary key, change text not null, side text not null,
  direction text not null, pair integer not null, source_key bytea not null,
  code integer not null, reason text not null, retry_after bytea, since_ms bigint not null,
  attempts bigint not null, unique (change, side, direction, pair, source_key))",
    "create table if not exists contraflow.complement (
  change text, side text, pair integer, key text[], document bytea not null,
  primary key (change, side, pair, key))",
];

/// Two changes of one database may begin or end at the same moment.
pub(super) const ONE_AT_A_TIME: &str = "select pg_advisory_xact_lock(7240184390216)";

/// The tables that hold rows of a change, besides its standing.
pub(super) const CLEARED: [&str; 4] = ["lane", "chunk", "letter", "complement"];

/// Creates a table that the change creates, with its key.
pub(super) fn create_table(table: &Table) -> String {
    let shape = &table.shape;
    let column = |(i, field): (usize, &contraflow_core::shape::Field)| {
        let declared = table.declared.get(i).cloned().flatten();
        let declared = declared.unwrap_or_else(|| {
            let nullable = if field.nullable { "" } else { " not null" };
            format!("{}{nullable}", sql_type(&field.ty))
        });
        format!("{} {declared}", quote(&field.name))
    };
    let mut parts: Vec<String> = shape.fields.iter().enumerate().map(column).collect();
    let key = shape.key.iter().map(|&i| quote(&shape.fields[i].name));
    parts.push(format!(
        "primary key ({})",
        key.collect::<Vec<_>>().join(", ")
    ));
    let name = TableName::parse(&table.name).quoted();
    format!("create table {name} (\n  {}\n)", parts.join(",\n  "))
}

/// How a type is declared.
fn sql_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "boolean".into(),
        Type::Int {
            bits: 8 | 16,
            signed: true,
        }
        | Type::Int { bits: 8, .. } => "smallint".into(),
        Type::Int {
            bits: 32,
            signed: true,
        }
        | Type::Int { bits: 16, .. } => "integer".into(),
        Type::Int { signed: true, .. } | Type::Int { bits: 32, .. } => "bigint".into(),
        Type::Int { .. } => "numeric(20,0)".into(),
        Type::Float { bits: 32 } => "real".into(),
        Type::Float { .. } => "double precision".into(),
        Type::Decimal {
            precision: Some(p),
            scale: Some(s),
        } => format!("numeric({p},{s})"),
        Type::Decimal { .. } => "numeric".into(),
        Type::Text | Type::Any | Type::Enum { .. } => "text".into(),
        Type::Bytes => "bytea".into(),
        Type::Date => "date".into(),
        Type::Time => "time".into(),
        Type::Timestamp {
            frame: contraflow_core::value::Frame::Instant,
            ..
        } => "timestamptz".into(),
        Type::Timestamp { .. } => "timestamp".into(),
        Type::Uuid => "uuid".into(),
        // Digit by digit, and extras in the order they came.
        Type::Json | Type::Union { .. } | Type::List(_) | Type::Map(..) | Type::Record(_) => {
            "json".into()
        }
    }
}

/// Drops tables, all at once: they may point at each other.
pub(super) fn drop_tables(names: &[&str]) -> String {
    let names = names.iter().map(|name| TableName::parse(name).quoted());
    let names: Vec<String> = names.collect();
    format!("drop table if exists {}", names.join(", "))
}

/// Publishes the tables of the role and the checkpoints that mark our own writes.
pub(super) fn create_publication(role: &Role, names: &Names) -> String {
    let tables = role
        .tables
        .iter()
        .map(|table| TableName::parse(&table.name).quoted());
    let mut all: Vec<String> = tables.collect();
    all.push(format!("{SCHEMA}.lane"));
    format!(
        "create publication {} for table {} with (publish_via_partition_root = true)",
        names.slot,
        all.join(", ")
    )
}

/// How often a guard is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// Once for a statement, also one that touches no row: costs nothing.
    Statement,
    /// Once for a row: where a foreign key sweeps the table, a delete elsewhere that concerns no
    /// row of it must pass.
    Row,
}

/// The guard of a pair: refuses whoever does not have the pass. A trigger that was created is seen
/// by sessions with an older snapshot too, and `always` by those that run as replicas.
pub(super) fn create_guard(
    names: &Names,
    pair: PairId,
    table: &Table,
    pass: &str,
    epoch: Epoch,
    each: Each,
) -> Vec<String> {
    let guard = names.guard(pair);
    let (row, truncate) = (quote(&guard), quote(&format!("{guard}_truncate")));
    let name = TableName::parse(&table.name).quoted();
    let authority = if names.side == "old" { "new" } else { "old" };
    let said = literal(&format!(
        "contraflow CF0302: change {}: the {authority} end has authority in epoch {epoch}",
        names.change
    ));
    let passes = format!(
        "when (current_setting('contraflow.pass', true) is distinct from {})",
        literal(pass)
    );
    let each = match each {
        Each::Statement => "statement",
        Each::Row => "row",
    };
    // A lock that readers do not notice: they must not keep a sealed end from being opened.
    vec![
        format!(
            "create or replace trigger {row} before insert or update or delete on {name}
  for each {each} {passes} execute function {SCHEMA}.refuse({said})"
        ),
        format!("alter table {name} enable always trigger {row}"),
        format!(
            "create or replace trigger {truncate} before truncate on {name} for each statement
  execute function {SCHEMA}.refuse({said})"
        ),
        format!("alter table {name} enable always trigger {truncate}"),
    ]
}

/// Lets everybody pass a trigger. Dropping it would wait for every reader of the table.
pub(super) fn disable(table: &str, trigger: &str) -> String {
    let name = TableName::parse(table).quoted();
    format!("alter table {name} disable trigger {}", quote(trigger))
}

/// The triggers of the guard of a pair.
pub(super) fn guards(names: &Names, pair: PairId) -> [String; 2] {
    let guard = names.guard(pair);
    [guard.clone(), format!("{guard}_truncate")]
}

/// Takes the guard of a pair away.
pub(super) fn drop_guard(names: &Names, pair: PairId, table: &str) -> Vec<String> {
    let name = TableName::parse(table).quoted();
    guards(names, pair)
        .iter()
        .map(|trigger| format!("drop trigger if exists {} on {name}", quote(trigger)))
        .collect()
}

/// What the guard calls.
pub(super) const REFUSE: &str = "create or replace function contraflow.refuse() returns trigger
  language plpgsql set search_path = pg_catalog as $$
begin
  raise exception '%', tg_argv[0] using errcode = 'CF302';
end $$";

/// Lets what lies beside a row go with it, while the application writes the table. `keys` are the
/// key columns of `old` and `new`, spelled as the complement keeps them.
pub(super) fn create_beside(
    names: &Names,
    pair: PairId,
    table: &Table,
    [old, new]: [&str; 2],
) -> Vec<String> {
    let trigger = quote(&names.beside(pair));
    let function = format!("{SCHEMA}.{trigger}");
    let name = TableName::parse(&table.name).quoted();
    let of = format!(
        "change = {} and side = {} and pair = {}",
        literal(&names.change),
        literal(names.side),
        pair.0
    );
    let body = format!(
        "create or replace function {function}() returns trigger language plpgsql
  security definer set search_path = pg_catalog set timezone = 'UTC' set datestyle = 'ISO, MDY'
  set intervalstyle = postgres set extra_float_digits = 1 set bytea_output = hex as $$
begin
  if tg_op = 'DELETE' then
    delete from {SCHEMA}.complement where {of} and key = {old};
  elsif {old} is distinct from {new} then
    delete from {SCHEMA}.complement where {of} and key = {new};
    update {SCHEMA}.complement set key = {new} where {of} and key = {old};
  end if;
  return null;
end $$"
    );
    vec![
        body,
        format!(
            "create or replace trigger {trigger} after update or delete on {name} for each row
  execute function {function}()"
        ),
        format!("alter table {name} enable always trigger {trigger}"),
    ]
}

/// Takes that away again.
pub(super) fn drop_beside(names: &Names, pair: PairId, table: &str) -> Vec<String> {
    let trigger = quote(&names.beside(pair));
    let name = TableName::parse(table).quoted();
    vec![
        format!("drop trigger if exists {trigger} on {name}"),
        format!("drop function if exists {SCHEMA}.{trigger}()"),
    ]
}

/// Locks all tables of a role against writers, in one order.
pub(super) fn lock_tables(role: &Role) -> String {
    let tables = role
        .tables
        .iter()
        .map(|table| TableName::parse(&table.name).quoted());
    let mut all: Vec<String> = tables.collect();
    all.sort();
    format!("lock table {} in share row exclusive mode", all.join(", "))
}

/// Moves the gate by compare-and-set: change, side and the epoch before are bound.
pub(super) const SEAL: &str = "update contraflow.standing set gate = 'closed', epoch = epoch + 1
 where change = $1 and side = $2 and epoch = $3 and gate = 'open'";

/// The same for the gaining end.
pub(super) const FLIP: &str = "update contraflow.standing set gate = 'open', epoch = epoch + 1
 where change = $1 and side = $2 and epoch = $3 and gate = 'closed'";
