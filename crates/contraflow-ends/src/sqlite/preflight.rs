//! Everything that stands in the way of a role, found before anything is written.

use std::path::Path;

use contraflow_core::code::Code;
use contraflow_core::end::{Role, Table};
use contraflow_core::error::{Problem, Result};
use contraflow_core::preflight::{Looked, Preflight};
use contraflow_core::shape::Type;
use contraflow_core::side::Side;
use rusqlite::Connection;

use super::connection::failure;
use super::names::{Names, quote};
use super::{connection, inspect, rows};

pub(super) fn check(path: &Path, role: &Role) -> Result<Vec<Looked>> {
    let mut preflight = Preflight::default();
    if path.exists() {
        preflight.look("the file can be written", |problems| {
            writable(path, role, problems);
            Ok(())
        })?;
        let db = connection::reader(path)?;
        preflight.look("journal mode", |problems| journal_mode(&db, role, problems))?;
        preflight.look("encoding", |problems| check_encoding(&db, problems))?;
        let carried = carries(&db, &Names::of(role))?;
        for table in &role.tables {
            check_table(&db, role, table, carried, &mut preflight)?;
        }
    } else {
        preflight.note(format!("file {}", path.display()), absent(path, role));
    }
    Ok(preflight.at(role.side))
}

/// The old file must be there; the new one is made where its folder is.
fn absent(path: &Path, role: &Role) -> Option<Problem> {
    let folder = path.parent();
    let folder = folder.is_none_or(|it| it.as_os_str().is_empty() || it.is_dir());
    if role.side == Side::Old {
        let message = format!("there is no file `{}`", path.display());
        Some(Problem::error(Code::END_UNREACHABLE, message))
    } else if !folder {
        let message = format!("there is no folder for `{}`", path.display());
        let hint = "Make the folder: the new file is created in it.";
        Some(Problem::error(Code::END_UNREACHABLE, message).hint(hint))
    } else {
        None
    }
}

fn carries(db: &Connection, names: &Names) -> Result<bool> {
    db.query_row(
        "select exists (select 1 from sqlite_schema where name = ?1)",
        [format!("{}standing", names.prefix())],
        |row| row.get(0),
    )
    .map_err(failure)
}

fn writable(path: &Path, role: &Role, problems: &mut Vec<Problem>) {
    let held = connection::writer(path).and_then(|mut db| {
        let tx = db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failure)?;
        tx.rollback().map_err(failure)
    });
    let read_only = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().readonly());
    // A file that another writer holds can be written: by that one.
    let refused = held.is_err_and(|error| error.code != Code::END_BUSY);
    if refused || read_only {
        let message = format!("the file of the {} end cannot be written", role.side);
        problems.push(Problem::error(Code::END_READ_ONLY, message).hint(format!(
            "Allow this user to write `{}` and its folder.",
            path.display()
        )));
    }
}

fn journal_mode(db: &Connection, role: &Role, problems: &mut Vec<Problem>) -> Result<()> {
    let mode: String = db
        .query_row("pragma journal_mode", [], |row| row.get(0))
        .map_err(failure)?;
    if !mode.eq_ignore_ascii_case("wal") {
        let message = format!(
            "the {} end uses journal mode `{mode}`: its readers and our writes wait for each other",
            role.side
        );
        problems.push(
            Problem::warning(Code::END_SETTING, message)
                .hint("`pragma journal_mode = wal` lets both go on; it persists in the file."),
        );
    }
    Ok(())
}

fn check_table(
    db: &Connection,
    role: &Role,
    table: &Table,
    carried: bool,
    preflight: &mut Preflight,
) -> Result<()> {
    let what = |aspect: &str| format!("table {}: {aspect}", table.name);
    if inspect::table_sql(db, &table.name)?.is_none() {
        let missing = || {
            let message = format!("there is no table `{}`", table.name);
            Problem::error(Code::TABLE_MISSING, message)
        };
        let will = what("is made by the change");
        preflight.note(will, (!table.created).then(missing));
        return Ok(());
    }
    preflight.look(what("unique key"), |problems| {
        check_key(db, table, problems)
    })?;
    if !carried {
        preflight.look(what("values of the key"), |problems| {
            check_key_values(db, table, problems)
        })?;
        preflight.look(what("affinities"), |problems| {
            check_affinity(db, table, problems)
        })?;
    }
    preflight.look(what("indexes"), |problems| {
        check_indexes(db, table, problems)
    })?;
    preflight.look(what("triggers"), |problems| {
        check_triggers(db, role, table, problems)
    })?;
    preflight.look(what("columns"), |problems| {
        check_columns(db, table, problems)
    })?;
    if role.side == Side::Old || carried {
        return Ok(());
    }
    preflight.look(what("empty"), |problems| {
        let sql = format!("select exists (select 1 from {})", quote(&table.name));
        if db
            .query_row(&sql, [], |row| row.get::<_, bool>(0))
            .map_err(failure)?
        {
            let message = format!("the new table `{}` holds rows already", table.name);
            problems.push(
                Problem::error(Code::TARGET_NOT_EMPTY, message)
                    .hint("Empty it, or name another table: what it holds is not ours to judge."),
            );
        }
        Ok(())
    })
}

fn check_key(db: &Connection, table: &Table, problems: &mut Vec<Problem>) -> Result<()> {
    let key: Vec<&str> = table
        .shape
        .key
        .iter()
        .map(|&i| table.shape.fields[i].name.as_str())
        .collect();
    let columns = inspect::columns(db, &table.name)?;
    if key.is_empty()
        || key
            .iter()
            .any(|name| !columns.iter().any(|c| c.name == *name))
    {
        let message = format!("table `{}` does not have the declared key", table.name);
        let hint = "Name fields of the table in `key`.";
        problems.push(Problem::error(Code::KEY_UNUSABLE, message).hint(hint));
        return Ok(());
    }
    let is_rowid = inspect::rowid_alias(&columns).is_some_and(|name| key == [name]);
    let mut sorted = key.clone();
    sorted.sort_unstable();
    let indexed = inspect::unique_indexes(db, &table.name)?
        .iter()
        .any(|index| {
            let mut names: Vec<&str> = index
                .columns
                .iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            names.sort_unstable();
            !index.partial
                && orders_alike(&columns, index)
                && names.len() == index.columns.len()
                && names == sorted
        });
    if !is_rowid && !indexed {
        let message = format!(
            "key ({}) of table `{}` is not unique: there is no unique index on it",
            key.join(", "),
            table.name
        );
        let list: Vec<String> = key.iter().map(|name| quote(name)).collect();
        let fix = format!(
            "Name a key that is, or `create unique index NAME on {} ({})`.",
            quote(&table.name),
            list.join(", ")
        );
        problems.push(Problem::error(Code::KEY_UNUSABLE, message).hint(fix));
        return Ok(());
    }
    Ok(())
}

/// Keys that the data spoils. Not asked again once the change is carried: the flow holds there.
fn check_key_values(db: &Connection, table: &Table, problems: &mut Vec<Problem>) -> Result<()> {
    if rows::has_null_keys(db, table)? {
        let message = format!("table `{}` has rows whose key is null", table.name);
        let hint = "Give them a key or delete them.";
        problems.push(Problem::error(Code::KEY_VALUES, message).hint(hint));
    }
    Ok(())
}

/// The unique index of the key must compare as its columns do: ranges are walked in its order.
fn orders_alike(columns: &[inspect::Column], index: &inspect::UniqueIndex) -> bool {
    index.columns.iter().flatten().all(|(name, collation)| {
        let column = columns.iter().find(|column| column.name == *name);
        column.is_some_and(|column| column.collation.eq_ignore_ascii_case(collation))
    })
}

/// A column of numeric affinity turns text that looks like a number into one.
fn check_affinity(db: &Connection, table: &Table, problems: &mut Vec<Problem>) -> Result<()> {
    let columns = inspect::columns(db, &table.name)?;
    for (i, field) in table.shape.fields.iter().enumerate() {
        let Some(column) = columns.iter().find(|column| column.name == field.name) else {
            continue;
        };
        let from_alike = table.declared.get(i).and_then(Option::as_deref);
        let alike = from_alike.is_some_and(inspect::is_numeric);
        let textual = !matches!(
            field.ty,
            Type::Bool | Type::Int { .. } | Type::Float { .. } | Type::Bytes | Type::Any
        );
        if textual && !alike && inspect::is_numeric(&column.declared) {
            let message = format!(
                "column `{}` of table `{}` is declared `{}`, which makes numbers of text such as \
                 `007`",
                column.name, table.name, column.declared
            );
            let hint = "Declare it `text`.";
            problems.push(Problem::error(Code::COLUMN_UNSUPPORTED, message).hint(hint));
        }
    }
    Ok(())
}

fn check_encoding(db: &Connection, problems: &mut Vec<Problem>) -> Result<()> {
    let encoding: String = db
        .query_row("pragma encoding", [], |row| row.get(0))
        .map_err(failure)?;
    if !encoding.eq_ignore_ascii_case("utf-8") {
        let message = format!("the file's text is stored as {encoding}");
        let hint = "Only UTF-8 files are carried: text that does not convert would change.";
        problems.push(Problem::error(Code::END_SETTING, message).hint(hint));
    }
    Ok(())
}

fn check_indexes(db: &Connection, table: &Table, problems: &mut Vec<Problem>) -> Result<()> {
    for index in inspect::unique_indexes(db, &table.name)? {
        if index.columns.iter().any(Option::is_none) {
            let message = format!(
                "unique index `{}` of table `{}` is on an expression: a row that `or replace` \
                 deletes through it would go unnoticed",
                index.name, table.name
            );
            let hint = format!(
                "`drop index {}` for the time of the change.",
                quote(&index.name)
            );
            problems.push(Problem::error(Code::INDEX_UNSUPPORTED, message).hint(hint));
        }
    }
    Ok(())
}

fn check_triggers(
    db: &Connection,
    role: &Role,
    table: &Table,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let mut statement = db
        .prepare(
            "select name from sqlite_schema where type = 'trigger' and tbl_name = ?1 collate nocase
             order by name",
        )
        .map_err(failure)?;
    let names = statement
        .query_map([&table.name], |row| row.get::<_, String>(0))
        .map_err(failure)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failure)?;
    let foreign: Vec<String> = names
        .into_iter()
        .filter(|name| !name.starts_with("_contraflow_"))
        .map(|name| format!("`{name}`"))
        .collect();
    if !foreign.is_empty() {
        let message = format!(
            "table `{}` has triggers that our writes as the {} mirror would fire: {}",
            table.name,
            role.side,
            foreign.join(", ")
        );
        problems.push(
            Problem::error(Code::TRIGGERS_PRESENT, message)
                .hint("Move their work into the application, or drop them for the change."),
        );
    }
    Ok(())
}

fn check_columns(db: &Connection, table: &Table, problems: &mut Vec<Problem>) -> Result<()> {
    for column in inspect::columns(db, &table.name)?
        .iter()
        .filter(|column| column.generated)
    {
        let message = format!(
            "column `{}` of table `{}` is generated: it is computed at each end and not carried",
            column.name, table.name
        );
        problems.push(Problem::warning(Code::COLUMN_UNSUPPORTED, message));
    }
    Ok(())
}
