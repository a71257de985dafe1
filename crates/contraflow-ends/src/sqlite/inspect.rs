//! Reads the declaration of a table from SQLite's own catalogue.

use contraflow_core::code::Code;
use contraflow_core::end::Inspected;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::shape::{Field, Shape, Type};
use rusqlite::{Connection, OptionalExtension};
use xxhash_rust::xxh3::xxh3_128;

use super::connection::failure;
use super::names::quote;

/// A column as `table_xinfo` lists it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) declared: String,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    /// Place in the primary key, counted from 1; 0 when not part of it.
    pub(super) key_place: u32,
    /// Computed by SQLite: never written.
    pub(super) generated: bool,
    /// How its values are compared.
    pub(super) collation: String,
}

/// A unique index, the primary key's included.
pub(super) struct UniqueIndex {
    pub(super) name: String,
    /// Column and collation, in order; `None` for an expression.
    pub(super) columns: Vec<Option<(String, String)>>,
    pub(super) partial: bool,
}

/// The declared shape of a table.
pub(super) fn table(db: &Connection, table: &str, key: &[String]) -> Result<Option<Inspected>> {
    no_other_kind(db, table)?;
    let Some(sql) = table_sql(db, table)? else {
        return Ok(None);
    };
    let columns: Vec<Column> = columns(db, table)?
        .into_iter()
        .filter(|column| !column.generated)
        .collect();
    let mut primary: Vec<&Column> = columns.iter().filter(|c| c.key_place > 0).collect();
    primary.sort_by_key(|column| column.key_place);
    let rowid_alias = rowid_alias(&columns);
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field {
            name: column.name.clone(),
            ty: declared_type(&column.declared),
            nullable: !column.not_null && Some(column.name.as_str()) != rowid_alias,
            has_default: column.default.is_some() || Some(column.name.as_str()) == rowid_alias,
        })
        .collect();
    let place = |name: &String| fields.iter().position(|field| field.name == *name);
    let shape = Shape {
        key: key.iter().filter_map(place).collect(),
        fields,
    };
    let autoincrement = sql.to_ascii_uppercase().contains("AUTOINCREMENT");
    let declared = columns
        .iter()
        .map(|c| declaration_of(c, rowid_alias, autoincrement))
        .collect();
    Ok(Some(Inspected {
        log: None,
        shape,
        primary_key: primary.iter().map(|column| column.name.clone()).collect(),
        rows_estimated: rows_estimated(db, table)?,
        declared,
    }))
}

/// Triggers stand on ordinary tables only, and a table cannot be created beside a view of its name.
fn no_other_kind(db: &Connection, table: &str) -> Result<()> {
    let found: Option<(String, String)> = db
        .query_row(
            "select type, coalesce(sql, '') from sqlite_schema
             where type in ('table', 'view') and name = ?1 collate nocase",
            [table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(failure)?;
    let is_virtual = |sql: &str| {
        let mut words = sql.split_ascii_whitespace();
        words
            .nth(1)
            .is_some_and(|word| word.eq_ignore_ascii_case("virtual"))
    };
    let kind = match &found {
        Some((kind, _)) if kind == "view" => "a view",
        Some((_, sql)) if is_virtual(sql) => "a virtual table",
        Some(_) | None => return Ok(()),
    };
    let message = format!("`{table}` is {kind}: writes to it cannot be followed");
    Err(Error::new(Kind::Precondition, Code::TABLE_MISSING, message)
        .hint("Name a table that the application writes to."))
}

/// The `create table` text of a table, or `None` when there is no such table.
pub(super) fn table_sql(db: &Connection, table: &str) -> Result<Option<String>> {
    db.query_row(
        "select sql from sqlite_schema where type = 'table' and name = ?1 collate nocase",
        [table],
        |row| row.get(0),
    )
    .optional()
    .map_err(failure)
}

/// Digest of everything about a table that our triggers and statements rest on.
pub(super) fn declaration(db: &Connection, table: &str) -> Result<Option<String>> {
    let Some(mut text) = table_sql(db, table)? else {
        return Ok(None);
    };
    let mut indexes = db
        .prepare_cached(
            "select sql from sqlite_schema where type = 'index' and tbl_name = ?1 collate nocase
             and sql is not null order by name",
        )
        .map_err(failure)?;
    let indexes = indexes
        .query_map([table], |row| row.get::<_, String>(0))
        .map_err(failure)?;
    for sql in indexes {
        let sql = sql.map_err(failure)?;
        if sql.to_ascii_lowercase().starts_with("create unique") {
            text.push('\n');
            text.push_str(&sql);
        }
    }
    Ok(Some(format!("{:032x}", xxh3_128(text.as_bytes()))))
}

/// Digest of the triggers whose names start with `prefix`.
pub(super) fn triggers(db: &Connection, prefix: &str) -> Result<String> {
    let mut statement = db
        .prepare_cached(
            "select sql from sqlite_schema where type = 'trigger'
             and substr(name, 1, length(?1)) = ?1 order by name",
        )
        .map_err(failure)?;
    let all = statement
        .query_map([prefix], |row| row.get::<_, String>(0))
        .map_err(failure)?;
    let mut text = String::new();
    for sql in all {
        text.push_str(&sql.map_err(failure)?);
        text.push('\n');
    }
    Ok(format!("{:032x}", xxh3_128(text.as_bytes())))
}

/// All columns, hidden and generated ones included.
pub(super) fn columns(db: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut statement = db
        .prepare(&format!("pragma table_xinfo({})", quote(table)))
        .map_err(failure)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Column {
                name: row.get(1)?,
                declared: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                not_null: row.get(3)?,
                default: row.get(4)?,
                key_place: row.get(5)?,
                generated: row.get::<_, u32>(6)? >= 2,
                collation: "BINARY".to_owned(),
            })
        })
        .map_err(failure)?;
    let mut columns = rows
        .collect::<rusqlite::Result<Vec<Column>>>()
        .map_err(failure)?;
    for column in &mut columns {
        // Virtual tables and views have no metadata; their columns are compared byte by byte.
        let metadata = db.column_metadata(None::<&str>, table, column.name.as_str());
        if let Ok((_, Some(collation), ..)) = metadata {
            column.collation = collation.to_string_lossy().into_owned();
        }
    }
    Ok(columns)
}

/// The column that is another name for the row id, if there is one.
pub(super) fn rowid_alias(columns: &[Column]) -> Option<&str> {
    let mut primary = columns.iter().filter(|column| column.key_place > 0);
    match (primary.next(), primary.next()) {
        (Some(only), None) if only.declared.eq_ignore_ascii_case("integer") => Some(&only.name),
        _ => None,
    }
}

/// The unique indexes of a table, the row id among them where a column is another name for it.
pub(super) fn unique_indexes(db: &Connection, table: &str) -> Result<Vec<UniqueIndex>> {
    let mut list = db
        .prepare(&format!("pragma index_list({})", quote(table)))
        .map_err(failure)?;
    let found = list
        .query_map([], |row| {
            Ok((
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, bool>(4)?,
            ))
        })
        .map_err(failure)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failure)?;
    let mut unique = Vec::new();
    for (name, _, partial) in found.into_iter().filter(|(_, unique, _)| *unique) {
        let mut info = db
            .prepare(&format!("pragma index_xinfo({})", quote(&name)))
            .map_err(failure)?;
        let columns = info
            .query_map([], |row| {
                let column: Option<String> = row.get(2)?;
                let collation: String = row.get::<_, Option<String>>(4)?.unwrap_or_default();
                Ok((
                    row.get::<_, bool>(5)?,
                    column.map(|column| (column, collation)),
                ))
            })
            .map_err(failure)?
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failure)?;
        let columns = columns
            .into_iter()
            .filter(|(key, _)| *key)
            .map(|(_, c)| c)
            .collect();
        unique.push(UniqueIndex {
            name,
            columns,
            partial,
        });
    }
    let columns = columns(db, table)?;
    let rowid = match rowid_alias(&columns) {
        Some(alias) => Some(alias),
        // The hidden one: a statement may name it all the same.
        None if has_hidden_rowid(db, table, &columns) => Some("rowid"),
        None => None,
    };
    if let Some(rowid) = rowid {
        unique.push(UniqueIndex {
            name: "rowid".to_owned(),
            columns: vec![Some((rowid.to_owned(), "BINARY".to_owned()))],
            partial: false,
        });
    }
    Ok(unique)
}

/// Whether a table has a row id that no column shows. Preparing a statement that names it fails
/// for a table without one.
fn has_hidden_rowid(db: &Connection, table: &str, columns: &[Column]) -> bool {
    let shadowed = columns
        .iter()
        .any(|column| column.name.eq_ignore_ascii_case("rowid"));
    !shadowed
        && db
            .prepare(&format!("select rowid from {} where 0", quote(table)))
            .is_ok()
}

/// What SQLite's declared type says of the values. A column may hold other classes all the same:
/// rows carry what is stored, and a value that its operation cannot take becomes a letter.
fn declared_type(declared: &str) -> Type {
    let upper = declared.to_ascii_uppercase();
    let has = |word: &str| upper.contains(word);
    if upper == "BOOL" || upper == "BOOLEAN" {
        Type::Bool
    } else if has("INT") {
        Type::INT64
    } else if ["CHAR", "CLOB", "TEXT", "UUID", "JSON", "DATE", "TIME"]
        .into_iter()
        .any(has)
    {
        Type::Text
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Type::Float { bits: 64 }
    } else if has("BLOB") {
        Type::Bytes
    } else {
        Type::Any
    }
}

/// Whether a declared type has numeric affinity, by SQLite's own rules.
pub(super) fn is_numeric(declared: &str) -> bool {
    let upper = declared.to_ascii_uppercase();
    let other = [
        "INT", "CHAR", "CLOB", "TEXT", "BLOB", "REAL", "FLOA", "DOUB",
    ];
    !upper.is_empty() && !other.iter().any(|word| upper.contains(word))
}

fn declaration_of(column: &Column, rowid_alias: Option<&str>, autoincrement: bool) -> String {
    let mut text = column.declared.clone();
    if rowid_alias == Some(column.name.as_str()) {
        text = "integer primary key".to_owned();
        if autoincrement {
            text.push_str(" autoincrement");
        }
        return text;
    }
    if !column.collation.eq_ignore_ascii_case("binary") {
        text.push_str(&format!(" collate {}", quote(&column.collation)));
    }
    if column.not_null {
        text.push_str(" not null");
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" default ({default})"));
    }
    text
}

/// The highest row id, which is exact for tables that never lost a row, and the right order of
/// magnitude for most others.
fn rows_estimated(db: &Connection, table: &str) -> Result<u64> {
    let highest = db
        .query_row(
            &format!("select max(rowid) from {}", quote(table)),
            [],
            |row| row.get::<_, Option<i64>>(0),
        )
        .or_else(|_| {
            db.query_row(
                &format!("select count(*) from {}", quote(table)),
                [],
                |row| row.get(0),
            )
        })
        .map_err(failure)?;
    Ok(highest
        .and_then(|rows| u64::try_from(rows).ok())
        .unwrap_or(0))
}
