//! Writes records of one pair within a transaction.

use std::collections::HashSet;

use contraflow_core::code::Code;
use contraflow_core::end::Table;
use contraflow_core::error::Result;
use contraflow_core::record::{Change, Image, Key, PairId, Record};
use contraflow_core::value::Value;
use rusqlite::{CachedStatement, ErrorCode, Transaction, ffi};

use super::Context;
use super::connection::failure;
use super::names::quote;
use super::rows::{self, Bound};
use crate::tables::Refusal;

/// Rows that one statement writes: what a statement costs once, triggers and savepoint included,
/// is shared by so many rows.
const ROWS_TOGETHER: usize = 32;
/// Bytes of one row above which it is written alone: bound values are copied.
const BYTES_TOGETHER: usize = 16 << 10;

pub(super) struct TableWriter<'t> {
    tx: &'t Transaction<'t>,
    context: &'t Context,
    table: &'t Table,
    pair: PairId,
    upsert: CachedStatement<'t>,
    upsert_many: CachedStatement<'t>,
    delete: CachedStatement<'t>,
    beside: bool,
}

impl<'t> TableWriter<'t> {
    pub(super) fn new(
        tx: &'t Transaction<'t>,
        context: &'t Context,
        pair: PairId,
    ) -> Result<TableWriter<'t>> {
        let table = context.role.table(pair);
        let all: Vec<usize> = (0..table.shape.fields.len()).collect();
        let prepare = |rows| {
            let sql = upsert(table, &all, rows);
            tx.prepare_cached(&sql).map_err(failure)
        };
        let (upsert, upsert_many) = (prepare(1)?, prepare(ROWS_TOGETHER)?);
        let keys: Vec<String> = table
            .shape
            .key
            .iter()
            .enumerate()
            .map(|(i, &place)| {
                // Through the index, and not the key that only its collation takes for equal.
                let (name, mark) = (quote(&table.shape.fields[place].name), i + 1);
                format!("{name} = ?{mark} and {name} = ?{mark} collate binary")
            })
            .collect();
        let delete = format!(
            "delete from {} where {}",
            quote(&table.name),
            keys.join(" and ")
        );
        let delete = tx.prepare_cached(&delete).map_err(failure)?;
        let beside = rows::has_complements(tx, &context.names, pair)?;
        Ok(TableWriter {
            tx,
            context,
            table,
            pair,
            upsert,
            upsert_many,
            delete,
            beside,
        })
    }

    /// Deletes what the records delete.
    pub(super) fn free_deleted(&mut self, records: &[Record]) -> Result<()> {
        let pair = self.pair;
        for record in records.iter().filter(|record| record.pair == pair) {
            match record.change {
                Change::Delete | Change::Replace(_) => self.delete_row(&record.key)?,
                Change::Put(_) => {}
            }
        }
        Ok(())
    }

    /// Deletes what the records are about to write, so that unique values are free for their
    /// final owners. Records at the places in `left_out` are not looked at.
    pub(super) fn free(&mut self, records: &[Record], left_out: &HashSet<usize>) -> Result<()> {
        for (place, record) in records.iter().enumerate() {
            if record.pair == self.pair && !left_out.contains(&place) {
                self.delete_row(&record.key)?;
            }
        }
        Ok(())
    }

    fn delete_row(&mut self, key: &Key) -> Result<()> {
        rows::bind_key(&mut self.delete, 1, self.table, key)?;
        self.delete.raw_execute().map_err(failure)?;
        self.forget(key)
    }

    /// Writes the rows of the records, and what lies beside them. Records at the places in
    /// `left_out` are not looked at.
    pub(super) fn put(
        &mut self,
        records: &[Record],
        left_out: &HashSet<usize>,
    ) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut together: Vec<(usize, &Record, &Image)> = Vec::with_capacity(ROWS_TOGETHER);
        for (place, record) in records.iter().enumerate() {
            if record.pair != self.pair || left_out.contains(&place) {
                continue;
            }
            let (Change::Put(image) | Change::Replace(image)) = &record.change else {
                continue;
            };
            together.push((place, record, image));
            if !is_plain(&image.row.0) {
                // The ones before it first: rows are written in the order of the records.
                self.put_each(&together, &mut refusals)?;
                together.clear();
            } else if together.len() == ROWS_TOGETHER {
                self.put_together(&together, &mut refusals)?;
                together.clear();
            }
        }
        self.put_each(&together, &mut refusals)?;
        Ok(refusals)
    }

    /// Writes rows by one statement, or one by one when it fails: it has written nothing then.
    fn put_together(
        &mut self,
        together: &[(usize, &Record, &Image)],
        refusals: &mut Vec<Refusal>,
    ) -> Result<()> {
        let fields = &self.table.shape.fields;
        let mut written = Ok(());
        let mut mark = 0;
        for (_, _, image) in together {
            for (value, field) in image.row.0.iter().zip(fields) {
                mark += 1;
                let bound = Bound(value, &field.ty);
                written = written.and_then(|()| self.upsert_many.raw_bind_parameter(mark, bound));
            }
        }
        let written = written.and_then(|()| self.upsert_many.raw_execute());
        // Fewer rows than given: a key that only the collation takes for equal is among them.
        if !matches!(written, Ok(rows) if rows == together.len()) {
            return self.put_each(together, refusals);
        }
        for (_, record, image) in together {
            self.put_complement(&record.key, image)?;
        }
        Ok(())
    }

    fn put_each(
        &mut self,
        together: &[(usize, &Record, &Image)],
        refusals: &mut Vec<Refusal>,
    ) -> Result<()> {
        for (place, record, image) in together {
            match self.put_row(&image.row.0) {
                Ok(0) => refusals.push(Refusal {
                    record: *place,
                    code: Code::UNIQUE_CONFLICT,
                    reason: "another row's key is equal under the column's collation".to_owned(),
                }),
                Ok(_) => self.put_complement(&record.key, image)?,
                Err(error) => {
                    let (code, reason) = refusal(error)?;
                    refusals.push(Refusal {
                        record: *place,
                        code,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }

    /// Rows written: none when another row has a key that only the collation takes for equal.
    fn put_row(&mut self, row: &[Value]) -> rusqlite::Result<usize> {
        if row.iter().any(|value| matches!(value, Value::Absent)) {
            return self.put_present(row);
        }
        for (i, (value, field)) in row.iter().zip(&self.table.shape.fields).enumerate() {
            self.upsert
                .raw_bind_parameter(i + 1, Bound(value, &field.ty))?;
        }
        self.upsert.raw_execute()
    }

    /// Writes the fields that are there, and lets the storage fill the others.
    fn put_present(&self, row: &[Value]) -> rusqlite::Result<usize> {
        let present: Vec<usize> = (0..row.len())
            .filter(|&i| !matches!(row[i], Value::Absent))
            .collect();
        let mut statement = self.tx.prepare_cached(&upsert(self.table, &present, 1))?;
        for (mark, &i) in present.iter().enumerate() {
            let bound = Bound(&row[i], &self.table.shape.fields[i].ty);
            statement.raw_bind_parameter(mark + 1, bound)?;
        }
        statement.raw_execute()
    }

    fn put_complement(&mut self, key: &Key, image: &Image) -> Result<()> {
        if image.complement.is_empty() {
            return self.forget(key);
        }
        let names = &self.context.names;
        let width = self.table.shape.key.len();
        let marks: Vec<String> = (0..names.key_width)
            .map(|i| {
                if i < width {
                    format!("?{}", i + 3)
                } else {
                    "0".to_owned()
                }
            })
            .collect();
        let sql = format!(
            "insert or replace into {} (pair, document, {}) values (?1, ?2, {})",
            names.complement,
            names.key_columns(),
            marks.join(", ")
        );
        let mut statement = self.tx.prepare_cached(&sql).map_err(failure)?;
        statement
            .raw_bind_parameter(1, self.pair.0)
            .map_err(failure)?;
        statement
            .raw_bind_parameter(2, &image.complement.0)
            .map_err(failure)?;
        rows::bind_key(&mut statement, 3, self.table, key)?;
        statement.raw_execute().map_err(failure)?;
        self.beside = true;
        Ok(())
    }

    fn forget(&self, key: &Key) -> Result<()> {
        if !self.beside {
            return Ok(());
        }
        let names = &self.context.names;
        let beside = names.beside(self.table.shape.key.len());
        let sql = format!("delete from {} where {beside}", names.complement);
        let mut statement = self.tx.prepare_cached(&sql).map_err(failure)?;
        statement
            .raw_bind_parameter(1, self.pair.0)
            .map_err(failure)?;
        rows::bind_key(&mut statement, 2, self.table, key)?;
        statement.raw_execute().map_err(failure)?;
        Ok(())
    }
}

/// Whether a row may be written together with others: every field is there, and it is small.
fn is_plain(row: &[Value]) -> bool {
    let mut bytes = 0;
    for value in row {
        bytes += match value {
            Value::Absent => return false,
            Value::Text(text) | Value::Json(text) | Value::Enum(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            // What a document of theirs comes to is not known before it is written.
            Value::List(items) => items.len() * 256,
            Value::Map(entries) => entries.len() * 256,
            _ => 0,
        };
    }
    bytes <= BYTES_TOGETHER
}

/// An upsert on the declared key only: a conflict on anything else is an error of the statement,
/// and the row it conflicts with stays.
fn upsert(table: &Table, fields: &[usize], rows: usize) -> String {
    let names: Vec<String> = fields
        .iter()
        .map(|&i| quote(&table.shape.fields[i].name))
        .collect();
    let updates: Vec<String> = fields
        .iter()
        .map(|&i| quote(&table.shape.fields[i].name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let same: Vec<String> = table
        .shape
        .key
        .iter()
        .map(|&i| (quote(&table.shape.fields[i].name), quote(&table.name)))
        .map(|(key, table)| format!("{table}.{key} is excluded.{key} collate binary"))
        .collect();
    let values: Vec<String> = (0..rows)
        .map(|row| {
            let marks = rows::marks(1 + row * fields.len(), fields.len());
            format!("({marks})")
        })
        .collect();
    format!(
        "insert into {} ({}) values {} on conflict ({}) do update set {} where {}",
        quote(&table.name),
        names.join(", "),
        values.join(", "),
        rows::key_list(table, ""),
        updates.join(", "),
        same.join(" and "),
    )
}

/// Which failures belong to the record and which to the file.
fn refusal(error: rusqlite::Error) -> Result<(Code, String)> {
    let Some(inner) = error.sqlite_error() else {
        return Err(failure(error));
    };
    if inner.code == ErrorCode::TooBig || inner.code == ErrorCode::TypeMismatch {
        return Ok((
            Code::CONSTRAINT_VIOLATED,
            "the value does not fit the column".to_owned(),
        ));
    }
    if inner.code != ErrorCode::ConstraintViolation {
        return Err(failure(error));
    }
    let unique = [
        ffi::SQLITE_CONSTRAINT_UNIQUE,
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        ffi::SQLITE_CONSTRAINT_ROWID,
    ];
    let code = if unique.contains(&inner.extended_code) {
        Code::UNIQUE_CONFLICT
    } else {
        Code::CONSTRAINT_VIOLATED
    };
    // SQLite names the columns or the constraint, never the value.
    let reason = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
        other => other.to_string(),
    };
    Ok((code, reason))
}
