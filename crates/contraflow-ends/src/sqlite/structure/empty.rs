//! Taking the rows of a large table away without keeping other writers of the file waiting.

use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::error::Result;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::super::connection::{self, failure};
use super::super::names::quote;

/// For how long one transaction should keep others waiting.
const HELD_TARGET: Duration = Duration::from_millis(7);
/// Rows of the first transaction, and at least and at most.
const ROWS_FIRST: u64 = 500;
const ROWS_MIN: u64 = 16;
const ROWS_MAX: u64 = 50_000;

/// Deletes the rows of a table, a few at a time, with as much time for others in between; dropping
/// it is then the work of a moment. No trigger runs.
///
/// # Errors
/// When the file cannot be written. Rows that are gone stay gone.
pub(super) fn empty(db: &mut Connection, clock: &dyn Clock, table: &str) -> Result<()> {
    let Some(identity) = identity(db, table)? else {
        return Ok(());
    };
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .map_err(failure)?;
    let sql = format!(
        "delete from {0} where ({identity}) in (select {identity} from {0} limit ?1)",
        quote(table)
    );
    let mut rows = ROWS_FIRST;
    loop {
        let (gone, held) = connection::write(db, |tx| {
            let began = clock.elapsed();
            let gone = tx.execute(&sql, [rows]).map_err(failure)? as u64;
            Ok((gone, clock.elapsed().saturating_sub(began)))
        })?;
        if gone < rows {
            return Ok(());
        }
        let fitting = u128::from(rows) * HELD_TARGET.as_micros() / held.as_micros().max(1);
        let fitting = u64::try_from(fitting).unwrap_or(ROWS_MAX);
        rows = fitting.min(rows + rows / 2).clamp(ROWS_MIN, ROWS_MAX);
        clock.sleep(held);
    }
}

/// What tells the rows of a table apart, as SQL; `None` without a table, or when every name of the
/// row id is taken by a column.
fn identity(db: &Connection, table: &str) -> Result<Option<String>> {
    let sql = "select wr from pragma_table_list where schema = 'main' and name = ?1";
    let without_rowid: Option<bool> = db
        .query_row(sql, [table], |row| row.get(0))
        .optional()
        .map_err(failure)?;
    let Some(without_rowid) = without_rowid else {
        return Ok(None);
    };
    let sql = "select name, pk from pragma_table_info(?1) order by pk";
    let mut statement = db.prepare(sql).map_err(failure)?;
    let columns: Vec<(String, u32)> = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(failure)?;
    if without_rowid {
        let key = columns.iter().filter(|(_, place)| *place > 0);
        let key: Vec<String> = key.map(|(name, _)| quote(name)).collect();
        return Ok(Some(key.join(", ")));
    }
    let is_free = |name: &&str| !columns.iter().any(|(c, _)| c.eq_ignore_ascii_case(name));
    let free = ["rowid", "_rowid_", "oid"].into_iter().find(is_free);
    Ok(free.map(str::to_owned))
}
