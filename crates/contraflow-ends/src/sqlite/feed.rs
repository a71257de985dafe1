//! The feed: the journal in order of its sequence, rows re-read by key.
//!
//! The journal holds keys and operations, not images, so a batch shows each key's newest row as
//! of the read transaction: at least as new as the event. Applying newest rows in any order and
//! as often as one likes ends in the same state; what must not be lost is the set of keys.

use std::collections::HashMap;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start, Table};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Event, Key, Op, Origin, PairId};
use rusqlite::{Connection, Transaction};

use super::connection::failure;
use super::{Context, connection, inspect, rows};

/// Confirmed journal rows are deleted when this many have piled up or this time has passed: each
/// deletion takes the application's write lock for a moment.
const PRUNE_ROWS: u64 = 2_000;
const PRUNE_AFTER: Duration = Duration::from_secs(1);
/// Rows per deleting transaction, about 2 ms of write lock.
const PRUNE_SLICE: u64 = 2_000;

/// Positions are the journal's sequence, big-endian.
pub(super) fn position(sequence: u64) -> Position {
    Position::new(sequence.to_be_bytes())
}

/// The sequence in a position; a foreign one is before everything.
pub(super) fn sequence(position: &Position) -> u64 {
    position.as_bytes().try_into().map_or(0, u64::from_be_bytes)
}

/// The highest sequence that the journal ever gave out, as this transaction sees it. A pruned
/// journal's `max(seq)` is null, and the counter of `autoincrement` stays behind when a statement
/// with `or fail` keeps the rows before the one that failed: the higher of both is right.
pub(super) fn head(db: &Connection, context: &Context) -> Result<u64> {
    let sql = format!(
        "select max(coalesce((select seq from sqlite_sequence where name = ?1), 0),
                    coalesce((select max(seq) from {}), 0))",
        context.names.journal
    );
    db.prepare_cached(&sql)
        .and_then(|mut s| s.query_row([&context.names.journal_name], |row| row.get(0)))
        .map_err(failure)
}

pub(super) struct JournalFeed {
    context: Context,
    db: Option<Connection>,
    pruner: Option<Connection>,
    received: u64,
    pruned: u64,
    pruned_at: Duration,
    schema_version: i64,
}

impl JournalFeed {
    pub(super) fn new(context: Context) -> JournalFeed {
        let pruned_at = context.clock.elapsed();
        JournalFeed {
            context,
            db: None,
            pruner: None,
            received: 0,
            pruned: 0,
            pruned_at,
            schema_version: -1,
        }
    }

    fn prune(&mut self, through: u64) -> Result<()> {
        let now = self.context.clock.elapsed();
        let due = through.saturating_sub(self.pruned) >= PRUNE_ROWS
            || (through > self.pruned && now.saturating_sub(self.pruned_at) >= PRUNE_AFTER);
        if !due {
            return Ok(());
        }
        if self.pruner.is_none() {
            self.pruner = Some(connection::writer(&self.context.path)?);
        }
        let Some(db) = &self.pruner else {
            return Ok(());
        };
        // The newest row stays: the next sequence follows it, whatever the counter says.
        let sql = format!(
            "delete from {0} where seq <= ?1 and seq < (select max(seq) from {0})",
            self.context.names.journal
        );
        while self.pruned < through {
            let slice = (self.pruned + PRUNE_SLICE).min(through);
            let deleted = db.prepare_cached(&sql).and_then(|mut s| s.execute([slice]));
            match deleted {
                Ok(_) => self.pruned = slice,
                // The application holds the lock: it goes first, the journal can wait.
                Err(error) if failure_is_busy(&error) => break,
                Err(error) => return Err(failure(error)),
            }
        }
        self.pruned_at = now;
        Ok(())
    }
}

fn failure_is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

impl Feed for JournalFeed {
    fn open(&mut self, start: &Start) -> Result<()> {
        let mut db = connection::reader(&self.context.path)?;
        let tx = db.transaction().map_err(failure)?;
        let head = head(&tx, &self.context)?;
        let oldest: Option<u64> = tx
            .query_row(
                &format!("select min(seq) from {}", self.context.names.journal),
                [],
                |row| row.get(0),
            )
            .map_err(failure)?;
        let earliest = oldest.map_or(head, |seq| seq - 1);
        drop(tx);
        self.received = match start {
            Start::Earliest => earliest,
            Start::After(position) => sequence(position),
        };
        if self.received < earliest || self.received > head {
            return Err(lost(&self.context, self.received, earliest, head));
        }
        self.pruned = earliest;
        self.db = Some(db);
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let db = self.db.as_mut().ok_or_else(not_open)?;
        let tx = db.transaction().map_err(failure)?;
        unchanged(&tx, &self.context, &mut self.schema_version)?;
        let head = head(&tx, &self.context)?;
        if head < self.received {
            return Err(lost(&self.context, self.received, head, head));
        }
        let batch = read(&tx, &self.context, self.received, head, events_max)?;
        self.received = sequence(&batch.through);
        Ok(batch)
    }

    fn received(&self) -> Position {
        position(self.received)
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        self.prune(sequence(through))
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let db = self.db.as_ref().ok_or_else(not_open)?;
        let head = head(db, &self.context)?;
        Ok((position(head), head.saturating_sub(self.received)))
    }
}

/// What the journal says happened to one key within a batch.
struct Touched {
    deleted: bool,
    last: u64,
}

fn read(
    tx: &Transaction<'_>,
    context: &Context,
    after: u64,
    head: u64,
    events_max: usize,
) -> Result<Batch> {
    let names = &context.names;
    let sql = format!(
        "select seq, pair, op, {} from {} where seq > ?1 order by seq limit ?2",
        names.key_columns(),
        names.journal
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    let mut journal = statement
        .query(rusqlite::params![after, limit])
        .map_err(failure)?;
    let mut touched: HashMap<(PairId, Key), Touched> = HashMap::new();
    let mut order = Vec::new();
    let mut through = after;
    while let Some(row) = journal.next().map_err(failure)? {
        let seq: u64 = row.get(0).map_err(failure)?;
        if seq != through + 1 {
            return Err(lost(context, through, seq - 1, head));
        }
        through = seq;
        let pair = PairId(row.get(1).map_err(failure)?);
        let op: String = row.get(2).map_err(failure)?;
        let table = context.role.table(pair);
        let key = Key(journal_key(row, table)?);
        let entry = touched.entry((pair, key.clone())).or_insert_with(|| {
            order.push((pair, key));
            Touched {
                deleted: false,
                last: seq,
            }
        });
        // An insert of a key that the batch has met before is another row: `or replace` may have
        // deleted the earlier one without a word.
        entry.deleted |= op == "D" || (op == "I" && entry.last != seq);
        entry.last = seq;
    }
    if through == after && head > after {
        return Err(lost(context, after, head, head));
    }
    let events = images(tx, context, order, &touched)?;
    Ok(Batch {
        events,
        through: position(through),
        seen: position(head),
    })
}

fn journal_key(
    row: &rusqlite::Row<'_>,
    table: &Table,
) -> Result<Vec<contraflow_core::value::Value>> {
    let mut key = Vec::with_capacity(table.shape.key.len());
    for (i, &place) in table.shape.key.iter().enumerate() {
        let cell = row.get_ref(3 + i).map_err(failure)?;
        let native = table.native.get(place) == Some(&true);
        key.push(rows::value(cell, &table.shape.fields[place].ty, native));
    }
    Ok(key)
}

fn images(
    tx: &Transaction<'_>,
    context: &Context,
    order: Vec<(PairId, Key)>,
    touched: &HashMap<(PairId, Key), Touched>,
) -> Result<Vec<Event>> {
    let mut complements = HashMap::new();
    let mut events = Vec::with_capacity(order.len());
    for (pair, key) in order {
        let beside = match complements.get(&pair) {
            Some(beside) => *beside,
            None => {
                let beside = rows::has_complements(tx, &context.names, pair)?;
                complements.insert(pair, beside);
                beside
            }
        };
        let table = context.role.table(pair);
        let found = rows::image(tx, &context.names, table, pair, &key, beside)?;
        let entry = (pair, key);
        let touch = &touched[&entry];
        let (pair, key) = entry;
        let op = match (&found, touch.deleted) {
            (None, _) => Op::Delete,
            (Some(_), true) => Op::Replace,
            (Some(_), false) => Op::Put,
        };
        let image = found.map(|(image, _)| image);
        let position = position(touch.last);
        events.push(Event {
            pair,
            key,
            op,
            image,
            position,
            origin: Origin::Application,
        });
    }
    Ok(events)
}

/// Refuses to go on when the declaration of a table is no longer the one of expand.
pub(super) fn unchanged(db: &Connection, context: &Context, version: &mut i64) -> Result<()> {
    let now: i64 = db
        .query_row("pragma schema_version", [], |row| row.get(0))
        .map_err(failure)?;
    if now == *version {
        return Ok(());
    }
    let sql = format!(
        "select declarations from {} where id = 1",
        context.names.standing
    );
    let expected: String = db.query_row(&sql, [], |row| row.get(0)).map_err(failure)?;
    for (table, expected) in context.role.tables.iter().zip(expected.split(' ')) {
        let found = inspect::declaration(db, &table.name)?;
        if found.as_deref() != Some(expected) {
            let what = if found.is_some() {
                "was altered"
            } else {
                "was dropped"
            };
            let message = format!("table `{}` {what} while the change runs", table.name);
            return Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
                .at(context.role.side)
                .detail("Nothing was carried after the alteration.")
                .hint(
                    "Undo it and run `contraflow resume`, or `contraflow abort` and plan anew.",
                ));
        }
    }
    *version = now;
    Ok(())
}

fn lost(context: &Context, at: u64, earliest: u64, head: u64) -> Error {
    let message = format!(
        "the journal of the {} end lost its place",
        context.role.side
    );
    Error::new(Kind::Hold, Code::FEED_LOST, message)
        .at(context.role.side)
        .detail(format!(
            "Asked for what follows {at}; the journal holds {earliest} to {head}."
        ))
        .hint("The file was restored or its journal cut: `contraflow abort`, then run anew.")
}

fn not_open() -> Error {
    Error::new(
        Kind::Internal,
        Code::INTERNAL,
        "a feed was used before it was opened",
    )
}
