//! The statements that put a change into a file: bookkeeping tables, journal and guard.
//!
//! One trigger per table and operation does both jobs, so that our own writes pay for one look at
//! the own-write flag. Its body depends on the gate: open writes the journal, fenced refuses
//! until the deadline in the standing row, closed refuses. The refusal names side and epoch, and
//! `raise` takes a literal only (an expression needs SQLite 3.47 in the *application*), so a turn
//! replaces the triggers in the transaction that moves the standing row.

use contraflow_core::code::Code;
use contraflow_core::end::{Role, Table};
use contraflow_core::lease::{Epoch, Gate};
use contraflow_core::record::PairId;
use contraflow_core::shape::Type;

use super::inspect::UniqueIndex;
use super::names::{Names, literal, quote};

/// Milliseconds since 1970 by the clock of the connection that evaluates it. Exact to about a
/// millisecond, and understood by every SQLite an application may bring along.
pub(super) const NOW_MS: &str = "cast((julianday('now') - 2440587.5) * 86400000 as integer)";

/// The operations that triggers follow.
const OPERATIONS: [&str; 3] = ["insert", "update", "delete"];

/// The bookkeeping tables.
pub(super) fn bookkeeping(names: &Names) -> Vec<String> {
    let key = names.key_columns();
    vec![
        format!(
            "create table {} (id integer primary key check (id = 1), gate text not null,
  epoch integer not null, fence_until_ms integer not null, applying integer not null,
  ledger text not null, mapping text not null, declarations text not null,
  created text not null, triggers text not null)",
            names.standing
        ),
        format!(
            "create table {} (seq integer primary key autoincrement, pair integer not null,
  op text not null, {key}, mark integer not null default (random()))",
            names.journal
        ),
        format!(
            "create table {} (direction text not null, lane integer not null,
  token integer not null, sequence integer not null, position blob,
  primary key (direction, lane)) without rowid",
            names.lane
        ),
        format!(
            "create table {} (direction text not null, pair integer not null,
  ordinal integer not null, after_key blob, through_key blob,
  primary key (direction, pair, ordinal)) without rowid",
            names.chunk
        ),
        format!(
            "create table {} (id integer primary key autoincrement, direction text not null,
  pair integer not null, source_key blob not null, code integer not null, reason text not null,
  retry_after blob, since_ms integer not null, attempts integer not null,
  unique (direction, pair, source_key))",
            names.letter
        ),
        format!(
            "create table {} (pair integer not null, {key}, document blob not null,
  unique (pair, {key}))",
            names.complement
        ),
    ]
}

/// `create table` for a table that the change creates.
pub(super) fn create_table(table: &Table) -> String {
    let mut lines = Vec::new();
    let mut rowid_key = false;
    for (i, field) in table.shape.fields.iter().enumerate() {
        let declared = table.declared.get(i).and_then(Option::as_deref);
        let text = match declared {
            Some(declared) if declared.starts_with("integer primary key") => {
                rowid_key = table.shape.key == [i];
                if rowid_key {
                    declared.to_owned()
                } else {
                    "integer not null".to_owned()
                }
            }
            Some(declared) => declared.to_owned(),
            None if field.nullable => storage_class(&field.ty).to_owned(),
            None => format!("{} not null", storage_class(&field.ty)),
        };
        lines.push(
            format!("  {} {text}", quote(&field.name))
                .trim_end()
                .to_owned(),
        );
    }
    if !rowid_key {
        let key: Vec<String> = table
            .shape
            .key
            .iter()
            .map(|&i| quote(&table.shape.fields[i].name))
            .collect();
        lines.push(format!("  primary key ({})", key.join(", ")));
    }
    format!(
        "create table {} (\n{}\n)",
        quote(&table.name),
        lines.join(",\n")
    )
}

fn storage_class(ty: &Type) -> &'static str {
    match ty {
        Type::Bool | Type::Int { .. } => "integer",
        Type::Float { .. } => "real",
        Type::Bytes => "blob",
        Type::Any => "",
        Type::Decimal { .. }
        | Type::Text
        | Type::Date
        | Type::Time
        | Type::Timestamp { .. }
        | Type::Uuid
        | Type::Enum { .. }
        | Type::Union { .. }
        | Type::Json
        | Type::List(_)
        | Type::Map(_, _)
        | Type::Record(_) => "text",
    }
}

/// Drops every trigger of the change on the role's tables.
pub(super) fn drop_triggers(role: &Role, names: &Names) -> Vec<String> {
    let mut statements = Vec::new();
    for (pair, _) in role.pairs() {
        for on in [
            "before_insert",
            "before_update",
            "insert",
            "update",
            "delete",
        ] {
            statements.push(format!(
                "drop trigger if exists {}",
                names.trigger(pair, on)
            ));
        }
    }
    statements
}

/// The triggers of one table under a gate.
pub(super) fn triggers(
    role: &Role,
    names: &Names,
    pair: PairId,
    unique: &[UniqueIndex],
    gate: Gate,
    epoch: Epoch,
) -> Vec<String> {
    let table = role.table(pair);
    let guard = guard(role, names, table, gate, epoch);
    let mut statements = Vec::new();
    for on in OPERATIONS {
        let body = format!("{guard}{}", journal_body(names, pair, table, on));
        statements.push(trigger(
            names,
            pair,
            table,
            &format!("after {on}"),
            on,
            &body,
        ));
    }
    if gate == Gate::Closed {
        // Whatever gets this far is refused above; our own writes need not pay for more.
        return statements;
    }
    for on in ["insert", "update"] {
        let body = victims(names, pair, table, unique, on);
        if !body.is_empty() {
            let name = format!("before_{on}");
            statements.push(trigger(
                names,
                pair,
                table,
                &format!("before {on}"),
                &name,
                &body,
            ));
        }
    }
    statements
}

fn trigger(
    names: &Names,
    pair: PairId,
    table: &Table,
    when: &str,
    name: &str,
    body: &str,
) -> String {
    format!(
        "create trigger {} {when} on {}\n  when (select applying from {} where id = 1) = 0\n\
         begin\n{body}end",
        names.trigger(pair, name),
        quote(&table.name),
        names.standing,
    )
}

/// The refusal of a gate: empty when it is open.
fn guard(role: &Role, names: &Names, table: &Table, gate: Gate, epoch: Epoch) -> String {
    let text = |what: &str| {
        literal(&format!(
            "contraflow {}: table {} of change {} is {what} (side {}, epoch {epoch})",
            Code::GUARD_REFUSED,
            table.name,
            role.change,
            role.side,
        ))
    };
    match gate {
        Gate::Open => String::new(),
        Gate::Fenced => format!(
            "  select raise(abort, {})
    where (select fence_until_ms from {} where id = 1) > {NOW_MS};\n",
            text("fenced for a turn, try again shortly"),
            names.standing,
        ),
        Gate::Closed => format!(
            "  select raise(abort, {});\n",
            text(&format!(
                "not open to writers, authority is with side {}",
                role.side.other()
            )),
        ),
    }
}

/// What a write of the application adds to the journal, and what it does to the complement. A
/// conflict clause of the application's statement reaches into triggers and outranks theirs, so
/// nothing here may conflict.
fn journal_body(names: &Names, pair: PairId, table: &Table, on: &str) -> String {
    let put = |op: &str, row: &str| {
        format!(
            "  insert into {} (pair, op, {}) values ({}, '{op}', {});\n",
            names.journal,
            names.key_columns(),
            pair.0,
            padded(names, &key_of(table, row)),
        )
    };
    let forget = |row: &str| {
        format!(
            "  delete from {} where pair = {} and {};\n",
            names.complement,
            pair.0,
            complement_key(names, &key_of(table, row)),
        )
    };
    match on {
        // A new row, also after `or replace`, does not inherit what lay beside an earlier one.
        "insert" => format!("{}{}", put("I", "new"), forget("new")),
        "delete" => format!("{}{}", put("D", "old"), forget("old")),
        _ => {
            let moved = moved(table);
            let (old, new) = (key_of(table, "old"), key_of(table, "new"));
            let assignments: Vec<String> = new
                .iter()
                .enumerate()
                .map(|(i, column)| format!("k{i} = {column}"))
                .collect();
            format!(
                "  insert into {journal} (pair, op, {columns}) select {pair}, 'D', {old_key} \
                 where {moved};\n{put}  delete from {complement} where {moved} and pair = {pair} \
                 and {is};\n  update {complement} set {assignments} \
                 where {moved} and pair = {pair} and {was};\n",
                journal = names.journal,
                columns = names.key_columns(),
                pair = pair.0,
                old_key = padded(names, &old),
                put = put("U", "new"),
                complement = names.complement,
                assignments = assignments.join(", "),
                is = complement_key(names, &new),
                was = complement_key(names, &old),
            )
        }
    }
}

/// Journals rows that `or replace` is about to delete: SQLite fires no delete trigger for them
/// unless the application asks for it. When the statement fails or ignores instead, the entry
/// only makes the flow read an unchanged row again.
fn victims(names: &Names, pair: PairId, table: &Table, unique: &[UniqueIndex], on: &str) -> String {
    let key: Vec<&str> = key_names(table);
    let mut body = String::new();
    for index in unique {
        let Some(columns) = index
            .columns
            .iter()
            .map(Option::as_ref)
            .collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let is_key = columns
            .iter()
            .map(|(name, _)| name.as_str())
            .eq(key.iter().copied());
        let exact = |(_, collation): &&(String, String)| collation.eq_ignore_ascii_case("binary");
        if is_key && columns.iter().all(exact) {
            continue;
        }
        let same: Vec<String> = columns
            .iter()
            .map(|(name, collation)| {
                let name = quote(name);
                format!("t.{name} = new.{name} collate {}", quote(collation))
            })
            .collect();
        let itself = if on == "insert" { "new" } else { "old" };
        let other: Vec<String> = key
            .iter()
            .map(|name| format!("t.{0} is {itself}.{0} collate binary", quote(name)))
            .collect();
        body.push_str(&format!(
            "  insert into {} (pair, op, {}) select {}, 'V', {} from {} as t
    where {} and not ({});\n",
            names.journal,
            names.key_columns(),
            pair.0,
            padded(names, &key_of(table, "t")),
            quote(&table.name),
            same.join(" and "),
            other.join(" and "),
        ));
    }
    body
}

/// True when an update changed the key, byte for byte.
fn moved(table: &Table) -> String {
    let same: Vec<String> = key_names(table)
        .iter()
        .map(|name| format!("old.{0} is new.{0} collate binary", quote(name)))
        .collect();
    format!("not ({})", same.join(" and "))
}

fn key_names(table: &Table) -> Vec<&str> {
    table
        .shape
        .key
        .iter()
        .map(|&i| table.shape.fields[i].name.as_str())
        .collect()
}

fn key_of(table: &Table, row: &str) -> Vec<String> {
    key_names(table)
        .iter()
        .map(|name| format!("{row}.{}", quote(name)))
        .collect()
}

fn padded(names: &Names, key: &[String]) -> String {
    let mut columns = key.to_vec();
    columns.resize(names.key_width, "0".to_owned());
    columns.join(", ")
}

fn complement_key(names: &Names, key: &[String]) -> String {
    (0..names.key_width)
        .map(|i| match key.get(i) {
            // Without the affinity of the key's column, or the index of the side table is useless.
            Some(column) => format!("k{i} = +{column}"),
            None => format!("k{i} = 0"),
        })
        .collect::<Vec<_>>()
        .join(" and ")
}
