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
use contraflow_core::value::Value;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::connection::failure;
use super::{Context, connection, inspect, rows};
use crate::tables::altered;

/// Confirmed journal rows are deleted when this many have piled up or this time has passed: each
/// deletion takes the application's write lock for a moment.
const PRUNE_ROWS: u64 = 2_000;
const PRUNE_AFTER: Duration = Duration::from_secs(1);
/// Rows per deleting transaction, about 2 ms of write lock.
const PRUNE_SLICE: u64 = 2_000;

/// Bytes of re-read rows after which a batch ends.
const BATCH_BYTES: u64 = 4 << 20;

/// A place in the journal: a sequence, and the random mark of the row that has it. Two histories
/// of one file, one of them restored or cut off by a power failure, share sequences but not marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    seq: u64,
    mark: i64,
}

/// Positions are places, big-endian.
pub(super) fn position(place: Place) -> Position {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&place.seq.to_be_bytes());
    bytes[8..].copy_from_slice(&place.mark.to_be_bytes());
    Position::new(bytes)
}

/// The place in a position, unless it is not one of ours.
fn place(position: &Position) -> Option<Place> {
    let bytes = <[u8; 16]>::try_from(position.as_bytes()).ok()?;
    let half = |from: usize| <[u8; 8]>::try_from(&bytes[from..from + 8]).ok();
    Some(Place {
        seq: u64::from_be_bytes(half(0)?),
        mark: i64::from_be_bytes(half(8)?),
    })
}

/// The sequence in a position, by which positions of one history are ordered.
pub(super) fn sequence(position: &Position) -> u64 {
    place(position).map_or(0, |place| place.seq)
}

/// The newest row of the journal, as this transaction sees it. It is never pruned: the next
/// sequence follows it, whatever the counter of `autoincrement` says after an `or fail`.
pub(super) fn head(db: &Connection, context: &Context) -> Result<Place> {
    let newest = row_at(db, context, "order by seq desc limit 1", [])?;
    Ok(newest.unwrap_or_default())
}

fn row_at(
    db: &Connection,
    context: &Context,
    which: &str,
    params: impl rusqlite::Params,
) -> Result<Option<Place>> {
    let sql = format!("select seq, mark from {} {which}", context.names.journal);
    db.prepare_cached(&sql)
        .and_then(|mut statement| {
            let place = |row: &rusqlite::Row<'_>| {
                Ok(Place {
                    seq: row.get(0)?,
                    mark: row.get(1)?,
                })
            };
            statement.query_row(params, place).optional()
        })
        .map_err(failure)
}

pub(super) struct JournalFeed {
    context: Context,
    db: Option<Connection>,
    pruner: Option<Connection>,
    received: Place,
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
            received: Place::default(),
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
        // The row of the checkpoint stays: its mark tells this history from another one.
        let sql = format!("delete from {} where seq < ?1", self.context.names.journal);
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
        let oldest = row_at(&tx, &self.context, "order by seq limit 1", [])?;
        let before_oldest = oldest.map_or(0, |oldest| oldest.seq - 1);
        self.received = match start {
            Start::Earliest | Start::NotBefore(None) => Place {
                seq: before_oldest,
                mark: 0,
            },
            // The journal has no echo: whoever only looks on confirms nothing.
            Start::After(position) | Start::NotBefore(Some(position)) => {
                let there = |wanted: &Place| match wanted.seq {
                    0 => Ok(before_oldest == 0),
                    seq => {
                        let params = rusqlite::params![seq, wanted.mark];
                        row_at(&tx, &self.context, "where seq = ?1 and mark = ?2", params)
                            .map(|row| row.is_some())
                    }
                };
                let wanted = place(position).unwrap_or_default();
                if place(position).is_none() || !there(&wanted)? {
                    return Err(lost(&self.context, wanted.seq, before_oldest, head.seq));
                }
                wanted
            }
        };
        drop(tx);
        self.pruned = before_oldest;
        self.db = Some(db);
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let db = self.db.as_mut().ok_or_else(not_open)?;
        let tx = db.transaction().map_err(failure)?;
        unchanged(&tx, &self.context, &mut self.schema_version)?;
        let head = head(&tx, &self.context)?;
        if head.seq < self.received.seq {
            return Err(lost(&self.context, self.received.seq, head.seq, head.seq));
        }
        let batch = read(&tx, &self.context, self.received, head, events_max)?;
        self.received = place(&batch.through).unwrap_or(self.received);
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
        Ok((position(head), head.seq.saturating_sub(self.received.seq)))
    }
}

/// What the journal says happened to one key within a batch.
struct Touched {
    deleted: bool,
    first: Place,
    last: Place,
}

/// The keys of a stretch of the journal, each once, in the order of their first entry.
struct Stretch {
    order: Vec<(PairId, Key)>,
    touched: HashMap<(PairId, Key), Touched>,
    /// The entries, so that a batch can end between two of them.
    places: Vec<Place>,
}

fn read(
    tx: &Transaction<'_>,
    context: &Context,
    after: Place,
    head: Place,
    events_max: usize,
) -> Result<Batch> {
    let stretch = stretch(tx, context, after, head, events_max)?;
    let mut through = stretch.places.last().copied().unwrap_or(after);
    let (events, next) = images(tx, context, &stretch)?;
    if let Some(next) = next {
        // The batch grew too large: it ends right before the first entry of the next key.
        let first = stretch.touched[&next].first.seq;
        let before = stretch.places.iter().rfind(|place| place.seq < first);
        through = before.copied().unwrap_or(after);
    }
    Ok(Batch {
        unreadable: Vec::new(),
        events,
        through: position(through),
        seen: position(head),
    })
}

fn stretch(
    tx: &Transaction<'_>,
    context: &Context,
    after: Place,
    head: Place,
    events_max: usize,
) -> Result<Stretch> {
    let names = &context.names;
    let sql = format!(
        "select seq, mark, pair, op, {} from {} where seq > ?1 order by seq limit ?2",
        names.key_columns(),
        names.journal
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    let mut journal = statement
        .query(rusqlite::params![after.seq, limit])
        .map_err(failure)?;
    let mut stretch = Stretch {
        order: Vec::new(),
        touched: HashMap::new(),
        places: Vec::new(),
    };
    let mut through = after.seq;
    while let Some(row) = journal.next().map_err(failure)? {
        let at = Place {
            seq: row.get(0).map_err(failure)?,
            mark: row.get(1).map_err(failure)?,
        };
        if at.seq != through + 1 {
            return Err(lost(context, through, at.seq - 1, head.seq));
        }
        through = at.seq;
        let pair = PairId(row.get(2).map_err(failure)?);
        let op: String = row.get(3).map_err(failure)?;
        let key = Key(journal_key(row, context.role.table(pair))?);
        if key.0.iter().any(Value::is_nothing) {
            return Err(null_key(context, pair));
        }
        let order = &mut stretch.order;
        let entry = stretch
            .touched
            .entry((pair, key.clone()))
            .or_insert_with(|| {
                order.push((pair, key));
                Touched {
                    deleted: false,
                    first: at,
                    last: at,
                }
            });
        // An insert of a key that the batch has met before is another row: `or replace` may have
        // deleted the earlier one without a word.
        entry.deleted |= op == "D" || (op == "I" && entry.last != at);
        entry.last = at;
        stretch.places.push(at);
    }
    if through == after.seq && head.seq > after.seq {
        return Err(lost(context, after.seq, head.seq, head.seq));
    }
    Ok(stretch)
}

/// The error for a row that cannot be named: nothing could find it again.
pub(super) fn null_key(context: &Context, pair: PairId) -> Error {
    let message = format!(
        "table `{}` has a row whose key is null",
        context.role.table(pair).name
    );
    Error::new(Kind::Hold, Code::KEY_VALUES, message)
        .at(context.role.side)
        .detail("Nothing behind it was carried.")
        .hint("Give the row a key or delete it, then run `contraflow resume`.")
}

fn journal_key(row: &rusqlite::Row<'_>, table: &Table) -> Result<Vec<Value>> {
    let mut key = Vec::with_capacity(table.shape.key.len());
    for (i, &place) in table.shape.key.iter().enumerate() {
        let cell = row.get_ref(4 + i).map_err(failure)?;
        let native = table.native.get(place) == Some(&true);
        key.push(rows::value(cell, &table.shape.fields[place].ty, native));
    }
    Ok(key)
}

/// Events, and the key at which they were cut off.
type Shown = (Vec<Event>, Option<(PairId, Key)>);

/// Events with the newest row of each key, until they are too many bytes: then the key at which
/// the next batch begins.
fn images(tx: &Transaction<'_>, context: &Context, stretch: &Stretch) -> Result<Shown> {
    let mut complements = HashMap::new();
    let mut events = Vec::with_capacity(stretch.order.len());
    let mut bytes = 0;
    for entry in &stretch.order {
        let (pair, key) = entry;
        let beside = match complements.get(pair) {
            Some(beside) => *beside,
            None => {
                let beside = rows::has_complements(tx, &context.names, *pair)?;
                complements.insert(*pair, beside);
                beside
            }
        };
        let table = context.role.table(*pair);
        let found = rows::image(tx, &context.names, table, *pair, key, beside)?;
        bytes += found.as_ref().map_or(0, |(_, size)| *size);
        if bytes > BATCH_BYTES && !events.is_empty() {
            return Ok((events, Some(entry.clone())));
        }
        let touch = &stretch.touched[entry];
        let op = match (&found, touch.deleted) {
            (None, _) => Op::Delete,
            (Some(_), true) => Op::Replace,
            (Some(_), false) => Op::Put,
        };
        let image = found.map(|(image, _)| image);
        let (pair, key, position) = (*pair, key.clone(), position(touch.last));
        events.push(Event {
            pair,
            key,
            op,
            image,
            position,
            origin: Origin::Application,
        });
    }
    Ok((events, None))
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
            return Err(altered(context.role.side, &table.name, found.is_some()));
        }
    }
    triggers_stand(db, context)?;
    *version = now;
    Ok(())
}

/// A table that is rebuilt under its own name is declared as before, but has lost our triggers:
/// what was written since is in no journal.
fn triggers_stand(db: &Connection, context: &Context) -> Result<()> {
    let sql = format!(
        "select triggers from {} where id = 1",
        context.names.standing
    );
    let expected: String = db.query_row(&sql, [], |row| row.get(0)).map_err(failure)?;
    if inspect::triggers(db, context.names.prefix())? == expected {
        return Ok(());
    }
    let side = context.role.side;
    let message = format!("triggers of the change are gone or altered at the {side} end");
    Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
        .at(side)
        .detail("A table was rebuilt, or somebody dropped them: writes may be in no journal.")
        .hint(
            "`contraflow adopt` puts them back; then `contraflow resume`, `contraflow verify`, and \
             `contraflow repair` for what differs.",
        ))
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
