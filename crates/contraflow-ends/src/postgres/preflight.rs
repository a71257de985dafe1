//! Everything that stands in the way of a role, found before anything is written, each with the
//! statement that removes it.

use contraflow_core::code::Code;
use contraflow_core::end::{Role, Table};
use contraflow_core::error::{Problem, Result};
use contraflow_core::side::Side;
use postgres::Client;

use super::bookkeeping;
use super::catalog::{self, Relation, UniqueIndex};
use super::connection::{self, Target, failure};
use super::names::{Names, TableName, quote};

mod columns;
mod rewrites;

/// The oldest server whose `pgoutput` has messages.
const VERSION_MIN: i32 = 140_000;

pub(super) fn check(target: &Target, role: &Role) -> Result<Vec<Problem>> {
    let mut client = connection::connect(target)?;
    let names = Names::of(role, target.database());
    let carried = bookkeeping::row(&mut client, &names)?.is_some();
    let mut problems = Vec::new();
    let us = server(&mut client, carried, &mut problems)?;
    for table in &role.tables {
        check_table(&mut client, role, table, (carried, &us), &mut problems)?;
    }
    let side = role.side;
    Ok(problems
        .into_iter()
        .map(|problem| problem.at(side))
        .collect())
}

/// What our own role may do.
struct Us {
    name: String,
    /// Sessions may run as replicas: triggers and foreign keys stay quiet.
    replica: bool,
    bypasses: bool,
}

fn server(client: &mut Client, carried: bool, problems: &mut Vec<Problem>) -> Result<Us> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::int, current_setting('wal_level'),
               (select count(*) from pg_replication_slots)
                 < current_setting('max_replication_slots')::int,
               (select count(*) from pg_stat_replication)
                 < current_setting('max_wal_senders')::int,
               r.rolreplication or r.rolsuper, r.rolsuper, r.rolname::text,
               has_database_privilege(current_database(), 'create'), current_database()::text,
               r.rolbypassrls or r.rolsuper, pg_is_in_recovery(),
               current_setting('synchronous_standby_names'),
               current_setting('max_slot_wal_keep_size')
             from pg_roles r where r.rolname = current_user",
            &[],
        )
        .map_err(failure)?;
    settings(&row, carried, problems);
    let us: String = row.get(6);
    let superuser: bool = row.get(5);
    let replica = superuser || may_be_replica(client, row.get(0))?;
    if row.get::<_, &str>(12) == "-1" && !carried {
        let message = "`max_slot_wal_keep_size` is -1: while a change is held or nobody runs it, \
                       the server keeps its log until the disk is full";
        problems.push(Problem::warning(Code::END_SETTING, message).hint(
            "Set it to what the disk can spare: beyond it the change is lost and not the server.",
        ));
    }
    Ok(Us {
        name: us,
        replica,
        bypasses: row.get(9),
    })
}

/// What the answer of [`server`] says about the server.
fn settings(row: &postgres::Row, carried: bool, problems: &mut Vec<Problem>) {
    let us: String = row.get(6);
    let mut needs = |fine: bool, code: Code, message: String, fix: String| {
        if !fine {
            problems.push(Problem::error(code, message).hint(fix));
        }
    };
    let version: i32 = row.get(0);
    needs(
        version >= VERSION_MIN,
        Code::END_SETTING,
        format!("the server is PostgreSQL {}", version / 10_000),
        "PostgreSQL 14 or newer can be followed.".to_owned(),
    );
    let level: String = row.get(1);
    needs(
        level == "logical",
        Code::END_SETTING,
        format!("`wal_level` is `{level}`: the log does not say what was written"),
        "`alter system set wal_level = logical`, then restart the server.".to_owned(),
    );
    needs(
        carried || row.get(2),
        Code::END_SETTING,
        "no replication slot is free".to_owned(),
        "Raise `max_replication_slots` and restart the server, or drop a slot nobody uses."
            .to_owned(),
    );
    needs(
        carried || row.get(3),
        Code::END_SETTING,
        "no walsender is free".to_owned(),
        "Raise `max_wal_senders` and restart the server.".to_owned(),
    );
    needs(
        row.get(4),
        Code::END_SETTING,
        format!("role `{us}` may not replicate"),
        format!("`alter role {} replication`", quote(&us)),
    );
    let database: String = row.get(8);
    needs(
        carried || row.get(7),
        Code::END_READ_ONLY,
        format!("role `{us}` may not create the schema `contraflow` and a publication"),
        format!(
            "`grant create on database {} to {}`",
            quote(&database),
            quote(&us)
        ),
    );
    let standbys: String = row.get(11);
    needs(
        !standbys.contains('*') && !standbys.contains("contraflow"),
        Code::END_SETTING,
        "`synchronous_standby_names` takes our feed for a standby: commits would wait for us"
            .to_owned(),
        "Name the standbys in `synchronous_standby_names`, without `*`.".to_owned(),
    );
    needs(
        !row.get::<_, bool>(10),
        Code::END_READ_ONLY,
        "the server is a standby".to_owned(),
        "Name the primary in the URL.".to_owned(),
    );
}

fn may_be_replica(client: &mut Client, version: i32) -> Result<bool> {
    if version < 150_000 {
        return Ok(false);
    }
    client
        .query_one(
            "select has_parameter_privilege('session_replication_role', 'set')",
            &[],
        )
        .map(|row| row.get(0))
        .map_err(failure)
}

fn check_table(
    client: &mut Client,
    role: &Role,
    table: &Table,
    (carried, us): (bool, &Us),
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let name = TableName::parse(&table.name);
    let Some(found) = catalog::relation(client, &name)? else {
        if !table.created {
            let message = format!("there is no table `{}`", table.name);
            problems.push(Problem::error(Code::TABLE_MISSING, message));
        }
        return Ok(());
    };
    let indexes = catalog::unique_indexes(client, found.oid)?;
    check_key(table, &indexes, problems);
    check_children(client, table, found.oid, problems)?;
    check_identity(client, table, (&found, &indexes), problems)?;
    check_storage(table, &found, us, problems);
    check_rights(client, table, &found, us, problems)?;
    check_triggers(client, role, table, (&found, us), problems)?;
    check_references(client, role, table, found.oid, problems)?;
    columns::check(client, table, found.oid, problems)?;
    if role.side == Side::New && !carried {
        let sql = format!("select exists (select from {})", name.quoted());
        if client.query_one(&sql, &[]).map_err(failure)?.get(0) {
            let message = format!("the new table `{}` holds rows already", table.name);
            problems.push(
                Problem::error(Code::TARGET_NOT_EMPTY, message)
                    .hint("Empty it, or name another table: what it holds is not ours to judge."),
            );
        }
    }
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
