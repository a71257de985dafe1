//! Everything that stands in the way of a role, found before anything is written, each with the
//! statement that removes it.

use contraflow_core::code::Code;
use contraflow_core::end::{Role, Table};
use contraflow_core::error::{Problem, Result};
use contraflow_core::preflight::{Looked, Preflight};
use contraflow_core::side::Side;
use postgres::Client;

use super::bookkeeping;
use super::catalog::{self, Relation, UniqueIndex};
use super::connection::{self, Target, failure};
use super::names::{Names, TableName, quote};

mod columns;
mod rewrites;
mod server;

use server::Us;

pub(super) fn check(target: &Target, role: &Role) -> Result<Vec<Looked>> {
    let mut client = connection::connect(target)?;
    let names = Names::of(role, target.database());
    let row = bookkeeping::row(&mut client, &names)?;
    let mut preflight = Preflight::default();
    let carried = row.is_some();
    let us = server::check(&mut client, carried, &mut preflight)?;
    if row.is_some_and(|row| row.slot.is_some()) {
        server::check_slot(&mut client, &names.slot, &mut preflight)?;
    }
    for table in &role.tables {
        check_table(&mut client, role, table, (carried, &us), &mut preflight)?;
    }
    Ok(preflight.at(role.side))
}

fn check_table(
    client: &mut Client,
    role: &Role,
    table: &Table,
    (carried, us): (bool, &Us),
    preflight: &mut Preflight,
) -> Result<()> {
    let name = TableName::parse(&table.name);
    let what = |aspect: &str| format!("table {}: {aspect}", table.name);
    let Some(found) = catalog::relation(client, &name)? else {
        let missing = || {
            let message = format!("there is no table `{}`", table.name);
            Problem::error(Code::TABLE_MISSING, message)
        };
        if !table.created {
            preflight.note(what("is there"), Some(missing()));
            return Ok(());
        }
        return preflight.look(what("can be made by the change"), |problems| {
            check_schema(client, &name, us, problems)
        });
    };
    let indexes = catalog::unique_indexes(client, found.oid)?;
    preflight.look(what("unique key"), |problems| {
        check_key(table, &indexes, problems);
        Ok(())
    })?;
    preflight.look(what("one table by itself"), |problems| {
        check_children(client, table, found.oid, problems)
    })?;
    preflight.look(what("replica identity"), |problems| {
        check_identity(client, table, (&found, &indexes), problems)
    })?;
    preflight.look(what("in the log, every row in sight"), |problems| {
        check_storage(table, &found, us, problems);
        Ok(())
    })?;
    preflight.look(what("ours to publish and guard"), |problems| {
        check_rights(client, table, &found, us, problems)
    })?;
    preflight.look(what("triggers"), |problems| {
        check_triggers(client, role, table, (&found, us), problems)
    })?;
    preflight.look(what("foreign keys"), |problems| {
        check_references(client, role, table, found.oid, problems)
    })?;
    preflight.look(what("columns"), |problems| {
        columns::check(client, table, found.oid, problems)
    })?;
    if role.side == Side::Old || carried {
        return Ok(());
    }
    preflight.look(what("empty"), |problems| {
        let sql = format!("select exists (select from {})", name.quoted());
        if client.query_one(&sql, &[]).map_err(failure)?.get(0) {
            let message = format!("the new table `{}` holds rows already", table.name);
            problems.push(
                Problem::error(Code::TARGET_NOT_EMPTY, message)
                    .hint("Empty it, or name another table: what it holds is not ours to judge."),
            );
        }
        Ok(())
    })
}

/// The schema of a table that the change makes.
fn check_schema(
    client: &mut Client,
    name: &TableName,
    us: &Us,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let sql = "select has_schema_privilege(oid, 'create') from pg_namespace where nspname = $1";
    let found = client.query_opt(sql, &[&name.schema]).map_err(failure)?;
    let (message, fix) = match found.map(|row| row.get(0)) {
        Some(true) => return Ok(()),
        Some(false) => (
            format!(
                "role `{}` may not create tables in schema `{}`",
                us.name, name.schema
            ),
            format!(
                "`grant create on schema {} to {}`",
                quote(&name.schema),
                quote(&us.name)
            ),
        ),
        None => (
            format!("there is no schema `{}`", name.schema),
            format!("`create schema {}`", quote(&name.schema)),
        ),
    };
    problems.push(Problem::error(Code::END_READ_ONLY, message).hint(fix));
    Ok(())
}

fn key_names(table: &Table) -> Vec<&str> {
    let fields = &table.shape.fields;
    table
        .shape
        .key
        .iter()
        .map(|&i| fields[i].name.as_str())
        .collect()
}

fn check_key(table: &Table, indexes: &[UniqueIndex], problems: &mut Vec<Problem>) {
    let mut key = key_names(table);
    let shown = key.join(", ");
    key.sort_unstable();
    let fits = |index: &UniqueIndex| {
        let mut columns: Vec<&str> = index.columns.iter().flatten().map(String::as_str).collect();
        columns.sort_unstable();
        !index.partial && index.immediate && columns == key && columns.len() == index.columns.len()
    };
    let nullable = table
        .shape
        .key
        .iter()
        .find(|&&i| table.shape.fields[i].nullable);
    if key.is_empty() || !indexes.iter().any(fits) {
        let message = format!("key ({shown}) of table `{}` is not unique", table.name);
        let list: Vec<String> = key_names(table).into_iter().map(quote).collect();
        problems.push(Problem::error(Code::KEY_UNUSABLE, message).hint(format!(
            "Name a key that is, or `create unique index concurrently on {} ({})`.",
            TableName::parse(&table.name).quoted(),
            list.join(", ")
        )));
    } else if let Some(&place) = nullable {
        let field = &table.shape.fields[place].name;
        let message = format!("the key field `{field}` of `{}` may be null", table.name);
        problems.push(Problem::error(Code::KEY_VALUES, message).hint(format!(
            "`alter table {} alter column {} set not null`",
            TableName::parse(&table.name).quoted(),
            quote(field)
        )));
    }
}

/// Rows of tables that inherit are read with it and logged under another name; writes to a table
/// it inherits from reach it unseen by what guards it.
fn check_children(
    client: &mut Client,
    table: &Table,
    oid: u32,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let sql = "select inhrelid::regclass::text, inhparent::regclass::text from pg_inherits
         where $1 in (inhparent, inhrelid) limit 1";
    if let Some(row) = client.query_opt(sql, &[&oid]).map_err(failure)? {
        let (child, parent): (&str, &str) = (row.get(0), row.get(1));
        let message = format!(
            "table `{}` is one of several: `{child}` inherits",
            table.name
        );
        let hint = format!("`alter table {child} no inherit {parent}` for the change.");
        problems.push(Problem::error(Code::TABLE_MISSING, message).hint(hint));
    }
    Ok(())
}

/// The log must say the key of every row that is changed or deleted.
fn check_identity(
    client: &mut Client,
    table: &Table,
    (found, indexes): (&Relation, &[UniqueIndex]),
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let covered: Vec<String> = match found.identity {
        'f' => return Ok(()),
        'd' => indexes
            .iter()
            .filter(|index| index.primary)
            .flat_map(|index| index.columns.iter().flatten().cloned())
            .collect(),
        'i' => {
            let rows = client
                .query(
                    "select a.attname::text from pg_index i
                     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                     where i.indrelid = $1 and i.indisreplident",
                    &[&found.oid],
                )
                .map_err(failure)?;
            rows.iter().map(|row| row.get(0)).collect()
        }
        _ => Vec::new(),
    };
    let key = key_names(table);
    if key.iter().all(|name| covered.iter().any(|c| c == name)) {
        return Ok(());
    }
    let message = format!(
        "the replica identity of `{}` does not cover the key ({})",
        table.name,
        key.join(", ")
    );
    let name = TableName::parse(&table.name).quoted();
    problems.push(Problem::error(Code::KEY_UNUSABLE, message).hint(format!(
        "`alter table {name} replica identity using index ...`, or `full`."
    )));
    Ok(())
}

fn check_storage(table: &Table, found: &Relation, us: &Us, problems: &mut Vec<Problem>) {
    let name = TableName::parse(&table.name).quoted();
    if found.persistence != 'p' {
        let message = format!("table `{}` is not in the log", table.name);
        let fix = format!("`alter table {name} set logged`");
        problems.push(Problem::error(Code::END_SETTING, message).hint(fix));
    }
    if found.row_security && !us.bypasses {
        let message = format!("row security hides rows of `{}` from us", table.name);
        let fix = format!("`alter role {} bypassrls`", quote(&us.name));
        problems.push(Problem::error(Code::END_SETTING, message).hint(fix));
    }
}

/// Publishing a table and giving it a guard is for its owner.
fn check_rights(
    client: &mut Client,
    table: &Table,
    found: &Relation,
    us: &Us,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let row = client
        .query_one(
            "select pg_has_role(c.relowner, 'usage'), pg_get_userbyid(c.relowner)::text
             from pg_class c where c.oid = $1",
            &[&found.oid],
        )
        .map_err(failure)?;
    if !row.get::<_, bool>(0) {
        let message = format!("role `{}` does not own table `{}`", us.name, table.name);
        let fix = format!("`grant {} to {}`", quote(row.get(1)), quote(&us.name));
        problems.push(Problem::error(Code::END_READ_ONLY, message).hint(fix));
    }
    Ok(())
}

/// Triggers and foreign keys that our writes as the mirror would fire.
fn check_triggers(
    client: &mut Client,
    role: &Role,
    table: &Table,
    (found, us): (&Relation, &Us),
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let rows = client
        .query(
            "select tgname::text, tgenabled in ('A', 'R') from pg_trigger
             where tgrelid = $1 and (not tgisinternal or tgconstraint <> 0)
               and tgname not like 'contraflow\\_%' and tgenabled <> 'D'
             order by tgisinternal, tgname",
            &[&found.oid],
        )
        .map_err(failure)?;
    let fires = |row: &&postgres::Row| row.get::<_, bool>(1) || !us.replica;
    let names: Vec<String> = rows
        .iter()
        .filter(fires)
        .map(|row| format!("`{}`", row.get::<_, &str>(0)))
        .collect();
    if !names.is_empty() {
        let message = format!(
            "table `{}` has triggers or foreign keys that our writes as the {} mirror would fire: \
             {}",
            table.name,
            role.side,
            names.join(", ")
        );
        problems.push(Problem::error(Code::TRIGGERS_PRESENT, message).hint(format!(
            "`grant set on parameter session_replication_role to {}` (PostgreSQL 15), or drop them \
             for the change.",
            quote(&us.name)
        )));
    }
    Ok(())
}

/// The mirror lags behind: a foreign key of it judges writers of the other table by rows that are
/// about to go.
fn check_references(
    client: &mut Client,
    role: &Role,
    table: &Table,
    oid: u32,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let rows = client
        .query(
            "select k.conname::text, n.nspname::text, c.relname::text from pg_constraint k
             join pg_class c on c.oid = k.confrelid join pg_namespace n on n.oid = c.relnamespace
             where k.conrelid = $1 and k.contype = 'f' and k.confrelid <> $1 order by 1",
            &[&oid],
        )
        .map_err(failure)?;
    let ours: Vec<TableName> = role
        .tables
        .iter()
        .map(|table| TableName::parse(&table.name))
        .collect();
    for row in rows {
        let (key, schema, name) = (row.get::<_, &str>(0), row.get(1), row.get(2));
        let other = TableName { schema, name };
        if ours.contains(&other) {
            continue;
        }
        let message = format!(
            "foreign key `{key}` of `{}` points at {}, which is no table of the change: while \
             `{0}` is the mirror, deletes there meet rows that are about to go",
            table.name,
            other.quoted()
        );
        problems.push(if role.side == Side::New {
            Problem::error(Code::TRIGGERS_PRESENT, message).hint(format!(
                "`alter table {} drop constraint {}`; add it after the contract.",
                TableName::parse(&table.name).quoted(),
                quote(key)
            ))
        } else {
            Problem::warning(Code::TRIGGERS_PRESENT, message)
                .hint("Drop it for the change, or delete there only what has long been free.")
        });
    }
    Ok(())
}
