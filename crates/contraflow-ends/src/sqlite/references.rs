//! Who points at the tables of a role: other tables, views and triggers.

use contraflow_core::end::{Role, User};
use contraflow_core::error::Result;
use rusqlite::Connection;

use super::connection::failure;
use super::names::quote;

/// The tables of the role, and every table with a foreign key into one of them.
pub(super) fn children(db: &Connection, role: &Role) -> Result<Vec<String>> {
    let mut found: Vec<String> = role.tables.iter().map(|table| table.name.clone()).collect();
    for name in tables(db)? {
        let known = found.iter().any(|table| table.eq_ignore_ascii_case(&name));
        if !known && points_at(db, &name, role)? {
            found.push(name);
        }
    }
    Ok(found)
}

/// Tables, views and triggers outside of the role that would break without its tables.
pub(super) fn users(db: &Connection, role: &Role) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for name in tables(db)? {
        if !is_ours(role, &name) && points_at(db, &name, role)? {
            let seen = "it has a foreign key into a table of the change".to_owned();
            users.push(User {
                who: format!("table `{name}`"),
                seen,
            });
        }
    }
    let mut statement = db
        .prepare(
            "select type, name, tbl_name, sql from sqlite_schema where type in ('view', 'trigger')",
        )
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let kind: String = row.get(0).map_err(failure)?;
        let name: String = row.get(1).map_err(failure)?;
        let on: String = row.get(2).map_err(failure)?;
        let sql: String = row.get(3).map_err(failure)?;
        let ours = name.starts_with("_contraflow_") || kind == "trigger" && is_ours(role, &on);
        if !ours && role.tables.iter().any(|table| names(&sql, &table.name)) {
            let seen = "its text names a table of the change".to_owned();
            users.push(User {
                who: format!("{kind} `{name}`"),
                seen,
            });
        }
    }
    Ok(users)
}

fn tables(db: &Connection) -> Result<Vec<String>> {
    let mut statement = db
        .prepare("select name from sqlite_schema where type = 'table' order by name")
        .map_err(failure)?;
    let names = statement.query_map([], |row| row.get(0)).map_err(failure)?;
    names.collect::<rusqlite::Result<_>>().map_err(failure)
}

fn points_at(db: &Connection, table: &str, role: &Role) -> Result<bool> {
    let mut statement = db
        .prepare(&format!("pragma foreign_key_list({})", quote(table)))
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let parent: String = row.get(2).map_err(failure)?;
        if is_ours(role, &parent) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_ours(role: &Role, name: &str) -> bool {
    role.tables
        .iter()
        .any(|table| table.name.eq_ignore_ascii_case(name))
}

/// Whether a statement names a table, as a whole word in any case.
fn names(sql: &str, table: &str) -> bool {
    let (sql, table) = (sql.to_lowercase(), table.to_lowercase());
    let word = |c: char| c.is_alphanumeric() || c == '_';
    sql.match_indices(&table).any(|(at, _)| {
        let before = sql[..at].chars().next_back();
        let after = sql[at + table.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}
