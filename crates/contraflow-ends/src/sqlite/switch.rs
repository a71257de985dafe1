//! Authority: the standing row, moved by compare-and-set together with the triggers.

use std::time::Duration;

use contraflow_core::end::{Sequence, Switch, fenced};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::position::Position;
use rusqlite::{Connection, OptionalExtension};

use super::connection::failure;
use super::names::Names;
use super::statements::NOW_MS;
use super::structure::set_triggers;
use super::{Context, connection, feed};
use crate::tables::expired;

/// SQLite's clock reads milliseconds; a fence that ends within this margin counts as ended, so
/// that a seal never races with a writer that reads the clock a moment later.
const SEAL_MARGIN_MS: i64 = 5;

pub(super) struct GuardRow {
    context: Context,
}

impl GuardRow {
    pub(super) fn new(context: Context) -> GuardRow {
        GuardRow { context }
    }
}

pub(super) fn gate_name(gate: Gate) -> &'static str {
    match gate {
        Gate::Open => "open",
        Gate::Fenced => "fenced",
        Gate::Closed => "closed",
    }
}

pub(super) fn fence_statement(names: &Names) -> String {
    format!(
        "update {} set gate = 'fenced', fence_until_ms = {NOW_MS} + ?1
 where id = 1 and epoch = ?2
   and (gate = 'open' or (gate = 'fenced' and fence_until_ms <= {NOW_MS}))",
        names.standing
    )
}

pub(super) fn seal_statement(names: &Names) -> String {
    format!(
        "update {} set gate = 'closed', epoch = ?1 + 1, fence_until_ms = 0
 where id = 1 and gate = 'fenced' and epoch = ?1 and fence_until_ms > {NOW_MS} + {SEAL_MARGIN_MS}",
        names.standing
    )
}

pub(super) fn flip_statement(names: &Names) -> String {
    format!(
        "update {} set gate = 'open', epoch = ?1
 where id = 1 and gate = 'closed' and epoch = ?1 - 1",
        names.standing
    )
}

/// What the standing row says. A fence whose deadline has passed is open: that is what writers
/// see, too.
pub(super) fn standing(db: &Connection, context: &Context) -> Result<Option<Standing>> {
    let there: bool = db
        .query_row(
            "select exists (select 1 from sqlite_schema where type = 'table' and name = ?1)",
            [format!("{}standing", context.names.prefix())],
            |row| row.get(0),
        )
        .map_err(failure)?;
    if !there {
        return Ok(None);
    }
    let sql = format!(
        "select gate, fence_until_ms > {NOW_MS}, epoch, ledger, mapping from {} where id = 1",
        context.names.standing
    );
    db.query_row(&sql, [], |row| {
        let gate: String = row.get(0)?;
        let gate = match (gate.as_str(), row.get::<_, bool>(1)?) {
            ("fenced", true) => Gate::Fenced,
            ("open" | "fenced", _) => Gate::Open,
            _ => Gate::Closed,
        };
        let epoch = Epoch(row.get(2)?);
        Ok(Standing {
            gate,
            epoch,
            ledger: row.get(3)?,
            mapping: row.get(4)?,
        })
    })
    .optional()
    .map_err(failure)
}

/// Whether the tables are known, so that triggers can name their keys.
fn has_keys(context: &Context) -> bool {
    let tables = &context.role.tables;
    !tables.is_empty() && tables.iter().all(|table| !table.shape.key.is_empty())
}

impl Switch for GuardRow {
    fn standing(&mut self) -> Result<Option<Standing>> {
        if !self.context.path.exists() {
            return Ok(None);
        }
        standing(&connection::reader(&self.context.path)?, &self.context)
    }

    fn fence(&mut self, epoch: Epoch, limit: Duration) -> Result<Position> {
        let context = &self.context;
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let mut db = connection::writer(&context.path)?;
        connection::write(&mut db, |tx| {
            let moved = tx
                .execute(
                    &fence_statement(&context.names),
                    rusqlite::params![limit_ms, epoch.0],
                )
                .map_err(failure)?;
            if moved != 1 {
                return Err(fenced("the end to be fenced is not open in this epoch"));
            }
            feed::unchanged(tx, context, &mut -1)?;
            set_triggers(tx, context, Gate::Fenced, epoch)?;
            Ok(feed::position(feed::head(tx, context)?))
        })
    }

    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()> {
        let context = &self.context;
        let mut db = connection::writer(&context.path)?;
        connection::write(&mut db, |tx| {
            let moved = tx
                .execute(&seal_statement(&context.names), [epoch.0])
                .map_err(failure)?;
            if moved != 1 {
                return Err(expired(context.role.side, "its deadline has passed"));
            }
            feed::unchanged(tx, context, &mut -1)?;
            if feed::position(feed::head(tx, context)?) != *drained {
                return Err(expired(
                    context.role.side,
                    "writes lie behind what was drained",
                ));
            }
            set_triggers(tx, context, Gate::Closed, epoch.next())?;
            let direction = context.role.side.other().direction();
            tx.execute(
                &format!(
                    "insert into {} (direction, lane, token, sequence, position)
                     values (?1, 0, 1, 0, ?2) on conflict (direction, lane) do update
                     set token = token + 1, sequence = 0, position = excluded.position",
                    context.names.lane
                ),
                rusqlite::params![direction.name(), reverse_from.as_bytes()],
            )
            .map_err(failure)?;
            Ok(())
        })
    }

    fn flip(&mut self, epoch: Epoch, sequences: &[Sequence]) -> Result<()> {
        let context = &self.context;
        let mut db = connection::writer(&context.path)?;
        connection::write(&mut db, |tx| {
            let moved = tx
                .execute(&flip_statement(&context.names), [epoch.0])
                .map_err(failure)?;
            if moved != 1 {
                return Err(fenced(
                    "the end to be opened is not closed in the epoch before",
                ));
            }
            let retire = format!("update {} set token = token + 1", context.names.lane);
            tx.execute(&retire, []).map_err(failure)?;
            feed::unchanged(tx, context, &mut -1)?;
            set_triggers(tx, context, Gate::Open, epoch)?;
            carry_sequences(tx, context, sequences)
        })
    }

    fn lift(&mut self, epoch: Epoch) -> Result<()> {
        let context = &self.context;
        let mut db = connection::writer(&context.path)?;
        connection::write(&mut db, |tx| {
            let sql = format!(
                "update {} set gate = 'open', fence_until_ms = 0
                 where id = 1 and gate = 'fenced' and epoch = ?1",
                context.names.standing
            );
            if tx.execute(&sql, [epoch.0]).map_err(failure)? == 1 {
                return set_triggers(tx, context, Gate::Open, epoch);
            }
            match standing(tx, context)? {
                Some(found) if found.gate == Gate::Open && found.epoch == epoch => Ok(()),
                _ => Err(fenced("the fence to be lifted was made permanent")),
            }
        })
    }

    fn sequences(&mut self) -> Result<Vec<Sequence>> {
        let db = connection::reader(&self.context.path)?;
        let mut found = Vec::new();
        for (pair, table) in self.context.role.pairs() {
            let last: Option<i64> = if has_sequences(&db)? {
                db.query_row(
                    "select seq from sqlite_sequence where name = ?1 collate nocase",
                    [&table.name],
                    |row| row.get(0),
                )
                .optional()
                .map_err(failure)?
            } else {
                None
            };
            found.extend(last.map(|last| Sequence { pair, last }));
        }
        Ok(found)
    }

    fn adopt(&mut self, ledger: &str) -> Result<()> {
        let mut db = connection::writer(&self.context.path)?;
        let sql = format!(
            "update {} set ledger = ?1 where id = 1",
            self.context.names.standing
        );
        connection::write(&mut db, |tx| {
            tx.execute(&sql, [ledger]).map_err(failure)?;
            // Whatever became of the triggers, the end is again as its standing says. A role that
            // knows no more than the names of its tables leaves them as they are.
            match standing(tx, &self.context)? {
                Some(found) if has_keys(&self.context) => {
                    set_triggers(tx, &self.context, found.gate, found.epoch)
                }
                // What is left of a contract or an abort has no tables to follow.
                Some(_) | None => Ok(()),
            }
        })
    }
}

fn has_sequences(db: &Connection) -> Result<bool> {
    db.query_row(
        "select exists (select 1 from sqlite_schema where name = 'sqlite_sequence')",
        [],
        |row| row.get(0),
    )
    .map_err(failure)
}

/// A table with `autoincrement` must never give out a number that its twin has used.
fn carry_sequences(db: &Connection, context: &Context, sequences: &[Sequence]) -> Result<()> {
    for sequence in sequences {
        let table = &context.role.table(sequence.pair).name;
        let sql: String = super::inspect::table_sql(db, table)?.unwrap_or_default();
        if !sql.to_ascii_uppercase().contains("AUTOINCREMENT") {
            continue;
        }
        let raised = db
            .execute(
                "update sqlite_sequence set seq = max(seq, ?1) where name = ?2 collate nocase",
                rusqlite::params![sequence.last, table],
            )
            .map_err(failure)?;
        if raised == 0 {
            db.execute(
                "insert into sqlite_sequence (name, seq) values (?2, ?1)",
                rusqlite::params![sequence.last, table],
            )
            .map_err(failure)?;
        }
    }
    Ok(())
}
