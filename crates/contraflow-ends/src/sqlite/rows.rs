//! Reading and binding rows of one table, key columns and complements included.

use contraflow_core::end::Table;
use contraflow_core::error::Result;
use contraflow_core::record::{Complement, Image, Key, PairId, Row};
use contraflow_core::shape::Type;
use contraflow_core::value::Value;
use rusqlite::types::{Null, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use super::codec;
use super::connection::failure;
use super::names::{Names, quote};

/// A value as it is bound: the storage class as it is for native and simple values, text for the
/// ones that SQLite has no class for.
pub(super) struct Bound<'v>(pub(super) &'v Value, pub(super) &'v Type);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Absent | Value::Null => ToSqlOutput::from(Null),
            Value::Int(value) => ToSqlOutput::from(*value),
            Value::Bool(value) => ToSqlOutput::from(*value),
            Value::Text(text) | Value::Json(text) | Value::Enum(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::Native(native) => ToSqlOutput::Borrowed(ValueRef::Text(&native.bytes)),
            Value::Float(float) => ToSqlOutput::from(float.0),
            other => match codec::encode(other, self.1) {
                Some(text) => ToSqlOutput::from(text),
                None => {
                    let what = format!("a {} does not fit a {}", other.kind(), self.1.name());
                    return Err(rusqlite::Error::ToSqlConversionFailure(what.into()));
                }
            },
        })
    }
}

/// A key column's value: keys are compared as SQLite stores them.
pub(super) fn bind_key(
    statement: &mut Statement<'_>,
    from: usize,
    table: &Table,
    key: &Key,
) -> Result<()> {
    for (i, (value, &place)) in key.0.iter().zip(&table.shape.key).enumerate() {
        let bound = Bound(value, &table.shape.fields[place].ty);
        statement
            .raw_bind_parameter(from + i, bound)
            .map_err(failure)?;
    }
    Ok(())
}

/// Reads one column in the form the mapping wants it.
pub(super) fn value(cell: ValueRef<'_>, ty: &Type, native: bool) -> Value {
    if native {
        codec::native(cell)
    } else {
        codec::decode(cell, ty)
    }
}

/// The columns of a table in the order of its shape, each named with a prefix.
pub(super) fn column_list(table: &Table, prefix: &str) -> String {
    let columns: Vec<String> = table
        .shape
        .fields
        .iter()
        .map(|field| format!("{prefix}{}", quote(&field.name)))
        .collect();
    columns.join(", ")
}

/// The key columns of a table, each named with a prefix.
pub(super) fn key_list(table: &Table, prefix: &str) -> String {
    let columns: Vec<String> = table
        .shape
        .key
        .iter()
        .map(|&i| format!("{prefix}{}", quote(&table.shape.fields[i].name)))
        .collect();
    columns.join(", ")
}

/// `?n, ?n+1, …`
pub(super) fn marks(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|i| format!("?{i}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A row's values and its size in bytes, about.
pub(super) fn read_row(row: &rusqlite::Row<'_>, table: &Table) -> Result<(Row, u64)> {
    let mut bytes = 8;
    let mut values = Vec::with_capacity(table.shape.fields.len());
    for (i, field) in table.shape.fields.iter().enumerate() {
        let cell = row.get_ref(i).map_err(failure)?;
        bytes += 8 + match cell {
            ValueRef::Text(data) | ValueRef::Blob(data) => data.len() as u64,
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
        };
        values.push(value(cell, &field.ty, table.native.get(i) == Some(&true)));
    }
    Ok((Row(values), bytes))
}

/// A row's key, from the row.
pub(super) fn key_of(table: &Table, row: &Row) -> Key {
    Key(table.shape.key_of(&row.0))
}

/// Whether any row of a pair has a complement beside it; most changes need none at all, and a
/// read without a join is faster.
pub(super) fn has_complements(db: &Connection, names: &Names, pair: PairId) -> Result<bool> {
    db.prepare_cached(&format!(
        "select exists (select 1 from {} where pair = ?1)",
        names.complement
    ))
    .and_then(|mut statement| statement.query_row([pair.0], |row| row.get(0)))
    .map_err(failure)
}

/// Whether a row has no key: SQLite allows null in most primary keys. Such a row is in no range.
pub(super) fn has_null_keys(db: &Connection, table: &Table) -> Result<bool> {
    let fields = table.shape.key.iter().map(|&i| &table.shape.fields[i]);
    let nothing: Vec<String> = fields
        .filter(|field| field.nullable)
        .map(|field| format!("{} is null", quote(&field.name)))
        .collect();
    if nothing.is_empty() {
        return Ok(false);
    }
    let sql = format!(
        "select exists (select 1 from {} where {})",
        quote(&table.name),
        nothing.join(" or ")
    );
    db.prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failure)
}

/// What lies beside a row.
pub(super) fn complement(
    db: &Connection,
    names: &Names,
    table: &Table,
    pair: PairId,
    key: &Key,
) -> Result<Complement> {
    let beside = names.beside(table.shape.key.len());
    let sql = format!("select document from {} where {beside}", names.complement);
    let mut statement = db.prepare_cached(&sql).map_err(failure)?;
    statement.raw_bind_parameter(1, pair.0).map_err(failure)?;
    bind_key(&mut statement, 2, table, key)?;
    let mut rows = statement.raw_query();
    match rows.next().map_err(failure)? {
        Some(row) => Ok(Complement(row.get(0).map_err(failure)?)),
        None => Ok(Complement::default()),
    }
}

/// The row under a key with its complement, or `None` when there is none. A key that only the
/// column's collation takes for equal is another key.
pub(super) fn image(
    db: &Connection,
    names: &Names,
    table: &Table,
    pair: PairId,
    key: &Key,
    complements: bool,
) -> Result<Option<(Image, u64)>> {
    let is: Vec<String> = table
        .shape
        .key
        .iter()
        .enumerate()
        .map(|(i, &place)| {
            let name = quote(&table.shape.fields[place].name);
            let mark = i + 1;
            format!("{name} = ?{mark} and {name} = ?{mark} collate binary")
        })
        .collect();
    let sql = format!(
        "select {} from {} where {}",
        column_list(table, ""),
        quote(&table.name),
        is.join(" and ")
    );
    let mut statement = db.prepare_cached(&sql).map_err(failure)?;
    bind_key(&mut statement, 1, table, key)?;
    let mut rows = statement.raw_query();
    let Some(row) = rows.next().map_err(failure)? else {
        return Ok(None);
    };
    let (row, bytes) = read_row(row, table)?;
    let complement = if complements {
        complement(db, names, table, pair, key)?
    } else {
        Complement::default()
    };
    Ok(Some((Image { row, complement }, bytes)))
}
