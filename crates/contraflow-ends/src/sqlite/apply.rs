//! The only writer of rows: records, letters and progress in one transaction.
//!
//! The transaction starts with the lane's compare-and-set, then raises the own-write flag that
//! the triggers look at, and lowers it before the commit. No other connection can write in
//! between, so the flag hides exactly our own writes.

use std::collections::HashSet;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Range, Resume, StoredLetter, fenced,
};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{PairId, Record};
use contraflow_core::side::Direction;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::connection::failure;
use super::write::TableWriter;
use super::{Context, connection, feed};
use crate::tables::{Refusal, Rounds, decoded, encoded, settle};

/// After so much lock time without a pause, one is made even when nobody else was seen writing: a
/// waiting writer gets in, is seen, and we are polite from then on.
const HELD_MAX: Duration = Duration::from_millis(100);
/// That pause. SQLite's waiting writers try again every 1 to 100 ms.
const BREATH: Duration = Duration::from_millis(2);
/// How long we stay polite after another writer was seen.
const POLITE_FOR: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    context: Context,
    db: Option<Connection>,
    /// Pages of the write-ahead log after our last commit.
    log: Arc<AtomicU32>,
    schema_version: i64,
    data_version: i64,
    polite_until: Duration,
    held_since_pause: Duration,
    letters: u64,
}

impl Writer {
    pub(super) fn new(context: Context) -> Writer {
        Writer {
            context,
            db: None,
            log: Arc::default(),
            schema_version: -1,
            data_version: -1,
            polite_until: Duration::ZERO,
            held_since_pause: Duration::ZERO,
            letters: 0,
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.db.is_none() {
            let db = self.db.insert(connection::writer(&self.context.path)?);
            let log = Arc::clone(&self.log);
            let hook = move |_: &mut Wal, pages: c_int| {
                log.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            };
            db.wal_hook(Some(hook)).map_err(failure)?;
        }
        Ok(())
    }

    /// Copies the log into the file when it has grown. Others write meanwhile: it is no part of a
    /// transaction, and not of its time.
    fn fold_log(&self) -> Result<()> {
        if self.log.load(Ordering::Relaxed) < connection::CHECKPOINT_PAGES {
            return Ok(());
        }
        let db = self.db.as_ref().expect("a transaction was just committed");
        db.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))
            .map_err(failure)
    }

    /// Leaves the file to other writers for a while: as long as the lock was held when somebody
    /// else writes there, a moment otherwise. SQLite's waiting writers poll, they do not queue.
    fn breathe(&mut self, held: Duration) -> Result<()> {
        let db = self.db.as_ref().expect("a transaction was just committed");
        let version: i64 = db
            .query_row("pragma data_version", [], |row| row.get(0))
            .map_err(failure)?;
        let now = self.context.clock.elapsed();
        if self.data_version >= 0 && version != self.data_version {
            self.polite_until = now + POLITE_FOR;
        }
        self.data_version = version;
        self.held_since_pause += held;
        if now < self.polite_until {
            self.context.clock.sleep(held.max(BREATH));
        } else if self.held_since_pause >= HELD_MAX {
            self.context.clock.sleep(BREATH);
        } else {
            return Ok(());
        }
        self.held_since_pause = Duration::ZERO;
        Ok(())
    }
}

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        self.open()?;
        let names = self.context.names.clone();
        let db = self.db.as_mut().expect("opened above");
        let claimed = connection::write(db, |tx| {
            let standing: Option<(String, u64)> = tx
                .query_row(
                    &format!("select gate, epoch from {} where id = 1", names.standing),
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .map_err(failure)?;
            let Some((gate, epoch)) = standing else {
                return Err(fenced("the mirror no longer carries the change"));
            };
            if gate != "closed" {
                return Err(fenced("the end to be written has authority"));
            }
            tx.execute(
                &format!(
                    "insert into {} (direction, lane, token, sequence) values (?1, ?2, 1, 0)
                     on conflict (direction, lane) do update set token = token + 1, sequence = 0",
                    names.lane
                ),
                rusqlite::params![direction.name(), lane.0],
            )
            .map_err(failure)?;
            let (token, position): (u64, Option<Vec<u8>>) = tx
                .query_row(
                    &format!(
                        "select token, position from {} where direction = ?1 and lane = ?2",
                        names.lane
                    ),
                    rusqlite::params![direction.name(), lane.0],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .map_err(failure)?;
            let lease = Lease {
                lane,
                direction,
                epoch: Epoch(epoch),
                token,
                sequence: 0,
            };
            let chunks = last_chunks(tx, &self.context, direction)?;
            let resume = Resume {
                position: position.map(Position::new),
                chunks,
            };
            Ok((lease, resume))
        })?;
        self.context.probe.at(Point::LEASE_CLAIMED)?;
        self.letters = u64::try_from(self.letters()?.len()).unwrap_or(u64::MAX);
        Ok(claimed)
    }

    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        self.open()?;
        let had_letters = self.letters > 0;
        let (context, schema_version) = (&self.context, &mut self.schema_version);
        let db = self.db.as_mut().expect("opened above");
        let tx = db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failure)?;
        let began = context.clock.elapsed();
        let known = *schema_version;
        feed::unchanged(&tx, context, schema_version)?;
        if *schema_version != known {
            spare_triggers(&tx, context)?;
        }
        advance(&tx, context, progress, lease)?;
        raise_flag(&tx, context, lease)?;
        let refusals = write_records(&tx, context, records, progress)?;
        let mut all: Vec<Letter> = letters.to_vec();
        all.extend(
            refusals
                .into_iter()
                .map(|refusal| refusal.letter(records, progress)),
        );
        store_letters(&tx, context, lease.direction, &all)?;
        if had_letters {
            resolve_letters(&tx, context, lease.direction, records, &all)?;
        }
        lower_flag(&tx, context)?;
        context.probe.at(Point::COMMIT_BEFORE)?;
        tx.commit().map_err(failure)?;
        let held = context.clock.elapsed().saturating_sub(began);
        lease.sequence += 1;
        context.probe.at(Point::COMMIT_AFTER)?;
        if had_letters || !all.is_empty() {
            self.letters = u64::try_from(self.letters()?.len()).unwrap_or(u64::MAX);
        }
        self.fold_log()?;
        self.breathe(held)?;
        let written = all.len() as u64;
        Ok(Applied {
            records: records.len() as u64,
            letters: written,
            held,
            refused: Vec::new(),
        })
    }

    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>> {
        self.open()?;
        let db = self.db.as_ref().expect("opened above");
        let sql = format!(
            "select position from {} where direction = ?1 and lane = 0",
            self.context.names.lane
        );
        let position: Option<Option<Vec<u8>>> = db
            .query_row(&sql, [direction.name()], |row| row.get(0))
            .optional()
            .map_err(failure)?;
        Ok(position.flatten().map(Position::new))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        self.open()?;
        let db = self.db.as_ref().expect("opened above");
        let sql = format!(
            "select id, direction, pair, source_key, code, reason, retry_after, since_ms, attempts
             from {} order by id",
            self.context.names.letter
        );
        let mut statement = db.prepare_cached(&sql).map_err(failure)?;
        let mut rows = statement.query([]).map_err(failure)?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            letters.push(stored_letter(row)?);
        }
        Ok(letters)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

/// Our triggers let our own writes pass, which costs half of a write; when the file has no others,
/// none of them runs on this connection. The application's own triggers always do.
fn spare_triggers(tx: &Transaction<'_>, context: &Context) -> Result<()> {
    let prefix = context.names.prefix();
    let others: bool = tx
        .query_row(
            "select exists (select 1 from sqlite_schema
             where type = 'trigger' and substr(name, 1, length(?1)) <> ?1)",
            [prefix],
            |row| row.get(0),
        )
        .map_err(failure)?;
    tx.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, others)
        .map_err(failure)?;
    Ok(())
}

/// The lane's compare-and-set: first statement of every transaction. One row, or another process
/// has the lane.
fn advance(
    tx: &Transaction<'_>,
    context: &Context,
    progress: &Progress<'_>,
    lease: &Lease,
) -> Result<()> {
    let position = match progress {
        Progress::Advance { through, .. } => Some(through.as_bytes()),
        Progress::Chunk { .. } | Progress::Keys { .. } => None,
    };
    let sql = format!(
        "update {} set position = coalesce(?1, position), sequence = sequence + 1
         where direction = ?2 and lane = ?3 and token = ?4 and sequence = ?5",
        context.names.lane
    );
    let mine = rusqlite::params![
        position,
        lease.direction.name(),
        lease.lane.0,
        lease.token,
        lease.sequence
    ];
    let moved = tx
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.execute(mine))
        .map_err(failure)?;
    if moved != 1 {
        return Err(fenced("the lane was claimed again").at(context.role.side));
    }
    if let Progress::Chunk { range, .. } = progress {
        let sql = format!(
            "insert into {} (direction, pair, ordinal, after_key, through_key)
             values (?1, ?2, ?3, ?4, ?5)",
            context.names.chunk
        );
        let (after, through) = (
            encoded(range.after.as_ref()),
            encoded(range.through.as_ref()),
        );
        let row = rusqlite::params![
            lease.direction.name(),
            range.pair.0,
            range.ordinal,
            after,
            through
        ];
        tx.prepare_cached(&sql)
            .and_then(|mut s| s.execute(row))
            .map_err(failure)?;
    }
    Ok(())
}

fn raise_flag(tx: &Transaction<'_>, context: &Context, lease: &Lease) -> Result<()> {
    let sql = format!(
        "update {} set applying = 1 where id = 1 and gate = 'closed' and epoch = ?1",
        context.names.standing
    );
    let raised = tx
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.execute([lease.epoch.0]))
        .map_err(failure)?;
    if raised != 1 {
        return Err(fenced("authority has moved").at(context.role.side));
    }
    Ok(())
}

fn lower_flag(tx: &Transaction<'_>, context: &Context) -> Result<()> {
    let sql = format!(
        "update {} set applying = 0 where id = 1",
        context.names.standing
    );
    tx.prepare_cached(&sql)
        .and_then(|mut s| s.execute([]))
        .map_err(failure)?;
    Ok(())
}

/// Writes the records, and the rows a second time with every key freed first when two of them
/// meet on a unique value: moved and swapped values settle only together.
fn write_records(
    tx: &Transaction<'_>,
    context: &Context,
    records: &[Record],
    progress: &Progress<'_>,
) -> Result<Vec<Refusal>> {
    let mid = match progress {
        Progress::Advance { .. } | Progress::Keys { .. } => Point::BATCH_APPLY_MID,
        Progress::Chunk { .. } => Point::CHUNK_APPLY_MID,
    };
    let mut refusals = Vec::new();
    let mut writers: Vec<Option<TableWriter<'_>>> =
        context.role.tables.iter().map(|_| None).collect();
    for record in records {
        let slot = &mut writers[usize::from(record.pair.0)];
        if slot.is_none() {
            *slot = Some(TableWriter::new(tx, context, record.pair)?);
        }
    }
    for writer in writers.iter_mut().flatten() {
        writer.free_deleted(records)?;
    }
    context.probe.at(mid)?;
    for writer in writers.iter_mut().flatten() {
        let mut refused = writer.put(records, &HashSet::new())?;
        let conflicts = |refusal: &Refusal| refusal.code == Code::UNIQUE_CONFLICT;
        if refused.iter().any(conflicts) {
            tx.execute_batch("savepoint settle").map_err(failure)?;
            refused = settle(&mut Settling {
                tx,
                writer,
                records,
            })?;
            tx.execute_batch("release settle").map_err(failure)?;
        }
        refusals.append(&mut refused);
    }
    Ok(refusals)
}

/// The rows of one table, written together.
struct Settling<'s, 'w> {
    tx: &'s Transaction<'s>,
    writer: &'s mut TableWriter<'w>,
    records: &'s [Record],
}

impl Rounds for Settling<'_, '_> {
    fn write(&mut self, left_out: &HashSet<usize>) -> Result<Vec<Refusal>> {
        self.writer.free(self.records, left_out)?;
        self.writer.put(self.records, left_out)
    }

    fn undo(&mut self) -> Result<()> {
        self.tx.execute_batch("rollback to settle").map_err(failure)
    }
}

fn store_letters(
    tx: &Transaction<'_>,
    context: &Context,
    direction: Direction,
    letters: &[Letter],
) -> Result<()> {
    let sql = format!(
        "insert into {} (direction, pair, source_key, code, reason, retry_after, since_ms, attempts)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)
         on conflict (direction, pair, source_key) do update set code = excluded.code,
           reason = excluded.reason, retry_after = excluded.retry_after, attempts = attempts + 1",
        context.names.letter
    );
    for letter in letters {
        let key = encoded(Some(&letter.source_key));
        let retry_after = letter.retry_after.as_ref().map(Position::as_bytes);
        let row = rusqlite::params![
            direction.name(),
            letter.pair.0,
            key,
            letter.code.0,
            letter.reason,
            retry_after,
            context.clock.unix_ms(),
        ];
        tx.prepare_cached(&sql)
            .and_then(|mut s| s.execute(row))
            .map_err(failure)?;
    }
    Ok(())
}

/// A key whose record was written no longer has a letter.
fn resolve_letters(
    tx: &Transaction<'_>,
    context: &Context,
    direction: Direction,
    records: &[Record],
    standing: &[Letter],
) -> Result<()> {
    let sql = format!(
        "delete from {} where direction = ?1 and pair = ?2 and source_key = ?3",
        context.names.letter
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    for record in records {
        let stands =
            |letter: &Letter| letter.pair == record.pair && letter.source_key == record.source_key;
        if !standing.iter().any(stands) {
            let key = encoded(Some(&record.source_key));
            statement
                .execute(rusqlite::params![direction.name(), record.pair.0, key])
                .map_err(failure)?;
        }
    }
    Ok(())
}

fn last_chunks(
    tx: &Transaction<'_>,
    context: &Context,
    direction: Direction,
) -> Result<Vec<(PairId, Option<Range>)>> {
    let sql = format!(
        "select ordinal, after_key, through_key from {} where direction = ?1 and pair = ?2
         order by ordinal desc limit 1",
        context.names.chunk
    );
    let mut chunks = Vec::new();
    for (pair, _) in context.role.pairs() {
        type Stored = (u64, Option<Vec<u8>>, Option<Vec<u8>>);
        let stored: Option<Stored> = tx
            .query_row(&sql, rusqlite::params![direction.name(), pair.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()
            .map_err(failure)?;
        let range = match stored {
            None => None,
            Some((ordinal, after, through)) => Some(Range {
                pair,
                ordinal,
                after: after.as_deref().map(decoded).transpose()?,
                through: through.as_deref().map(decoded).transpose()?,
            }),
        };
        chunks.push((pair, range));
    }
    Ok(chunks)
}

fn stored_letter(row: &rusqlite::Row<'_>) -> Result<StoredLetter> {
    let direction: String = row.get(1).map_err(failure)?;
    let key: Vec<u8> = row.get(3).map_err(failure)?;
    let retry_after: Option<Vec<u8>> = row.get(6).map_err(failure)?;
    Ok(StoredLetter {
        id: row.get(0).map_err(failure)?,
        direction: if direction == Direction::Forward.name() {
            Direction::Forward
        } else {
            Direction::Reverse
        },
        letter: Letter {
            pair: PairId(row.get(2).map_err(failure)?),
            source_key: decoded(&key)?,
            code: Code(row.get(4).map_err(failure)?),
            reason: row.get(5).map_err(failure)?,
            retry_after: retry_after.map(Position::new),
        },
        since_ms: row.get(7).map_err(failure)?,
        attempts: row.get(8).map_err(failure)?,
    })
}
