//! The only writer of rows: records, letters and progress in one transaction.
//!
//! Its first statement is the lane's compare-and-set, which is also the mark by which the feed of
//! this end knows our writes. The session passes the guard by the pass that expand has made, and
//! runs as a replica where it may: foreign keys and the application's triggers stay quiet.

use std::collections::HashSet;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Range, Resume, StoredLetter, fenced,
};
use contraflow_core::error::Result;
use contraflow_core::lease::{Gate, LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{PairId, Record};
use contraflow_core::side::Direction;
use postgres::types::ToSql;
use postgres::{Client, GenericClient, Transaction};

use super::catalog::Layout;
use super::connection::failure;
use super::write::{Prepared, TableWriter, Worth};
use super::{Context, bookkeeping, connection, switch};
use crate::tables::{Refusal, Rounds, decoded, encoded, settle};

mod letters;

/// Rows are written under their keys, a thousand at a time: the way to them is the index of the
/// key, whatever the server believes of a table that grows while it is written. One plan serves.
const PLANNING: &str = "set plan_cache_mode = force_generic_plan; set jit = off;
    set enable_seqscan = off; set enable_bitmapscan = off;
    set enable_hashjoin = off; set enable_mergejoin = off";

pub(super) struct Writer {
    context: Context,
    session: Option<Session>,
}

struct Session {
    client: Client,
    prepared: Prepared,
    layouts: Vec<Layout>,
    /// For each table, whether something lies beside its rows.
    beside: Vec<bool>,
    /// For each table, which shortcuts are worth a try.
    loads: Vec<Worth>,
    letters: u64,
}

impl Writer {
    pub(super) fn new(context: Context) -> Writer {
        Writer {
            context,
            session: None,
        }
    }

    fn client(&mut self) -> Result<&mut Client> {
        if self.session.as_ref().is_none_or(|s| s.client.is_closed()) {
            self.session = Some(Session {
                client: connection::connect(&self.context.target)?,
                prepared: Prepared::default(),
                layouts: Vec::new(),
                beside: Vec::new(),
                loads: Vec::new(),
                letters: 0,
            });
        }
        Ok(&mut self.session.as_mut().expect("connected above").client)
    }

    /// Makes the session one that writes rows of a direction.
    fn prepare(&mut self, direction: Direction, pass: &str) -> Result<()> {
        let context = self.context.clone();
        let client = self.client()?;
        client
            .execute("select set_config('contraflow.pass', $1, false)", &[&pass])
            .map_err(failure)?;
        client.batch_execute(PLANNING).map_err(failure)?;
        // Both are for those who may; `check` refuses tables that need the first.
        drop(client.batch_execute("set session_replication_role = replica"));
        drop(mark_origin(client, &context.names.origin(direction.name())));
        let mut layouts = Vec::new();
        let mut beside = Vec::new();
        for (pair, table) in context.role.pairs() {
            layouts.push(Layout::of(client, table)?);
            beside.push(bookkeeping::has_complements(
                client,
                &context.names,
                pair.0,
            )?);
        }
        let letters = letters::all(client, &context)?.len() as u64;
        let session = self.session.as_mut().expect("connected above");
        session.loads = layouts.iter().map(|_| Worth::default()).collect();
        (session.layouts, session.beside, session.letters) = (layouts, beside, letters);
        Ok(())
    }
}

/// Marks what this session writes with a replication origin, where that is permitted.
fn mark_origin(client: &mut Client, name: &str) -> std::result::Result<(), postgres::Error> {
    client.execute(
        "select pg_replication_origin_create($1)
         where not exists (select from pg_replication_origin where roname = $1)",
        &[&name],
    )?;
    client
        .execute("select pg_replication_origin_session_setup($1)", &[&name])
        .map(|_| ())
}

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        self.session = None;
        let context = self.context.clone();
        switch::forget_opening(&context);
        let names = &context.names;
        let client = self.client()?;
        let mut tx = client.transaction().map_err(failure)?;
        // Whoever was overtaken may still hold the lane in a transaction.
        tx.batch_execute("set local lock_timeout = '10s'")
            .map_err(failure)?;
        let Some(row) = bookkeeping::row(&mut tx, names)? else {
            return Err(fenced("the mirror no longer carries the change"));
        };
        bookkeeping::unchanged(&mut tx, &context, &row)?;
        // The row is held until the claim is committed: no flip passes it.
        let closed = tx
            .query_opt(
                "select epoch from contraflow.standing
                 where change = $1 and side = $2 and gate = 'closed' for share",
                &[&names.change, &names.side],
            )
            .map_err(failure)?;
        let (Some(_), Gate::Closed) = (closed, row.gate) else {
            return Err(fenced("the end to be written has authority"));
        };
        let claimed = tx
            .query_one(
                "insert into contraflow.lane as l (change, side, direction, lane, token, sequence)
                 values ($1, $2, $3, $4, 1, 0)
                 on conflict (change, side, direction, lane) do update
                   set token = l.token + 1, sequence = 0
                 returning token, position",
                &[
                    &names.change,
                    &names.side,
                    &direction.name(),
                    &i32::from(lane.0),
                ],
            )
            .map_err(failure)?;
        let position: Option<Vec<u8>> = claimed.get(1);
        let lease = Lease {
            lane,
            direction,
            epoch: row.epoch,
            token: u64::try_from(claimed.get::<_, i64>(0)).unwrap_or(0),
            sequence: 0,
        };
        let chunks = last_chunks(&mut tx, &context, direction)?;
        tx.commit().map_err(failure)?;
        self.prepare(direction, &row.pass)?;
        self.context.probe.at(Point::LEASE_CLAIMED)?;
        let position = position.map(Position::new);
        Ok((lease, Resume { position, chunks }))
    }

    fn apply(
        &mut self,
        records: &[Record],
        new_letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        let context = self.context.clone();
        let Some(session) = self.session.as_mut().filter(|s| !s.client.is_closed()) else {
            return Err(connection::lost("it was closed"));
        };
        let had_letters = session.letters > 0;
        let mut tx = session.client.transaction().map_err(failure)?;
        let prepared = &mut session.prepared;
        advance(&mut tx, prepared, &context, progress, lease)?;
        let mut tables = Tables {
            prepared,
            layouts: &session.layouts,
            beside: &mut session.beside,
            loads: &mut session.loads,
        };
        let refusals = write_records(&mut tx, &context, &mut tables, records, progress)?;
        let mut all: Vec<Letter> = new_letters.to_vec();
        let refused = refusals.into_iter();
        all.extend(refused.map(|refusal| refusal.letter(records, progress)));
        letters::store(&mut tx, &context, lease.direction, &all)?;
        if had_letters {
            letters::resolve(&mut tx, &context, lease.direction, records, &all)?;
        }
        context.probe.at(Point::COMMIT_BEFORE)?;
        tx.commit().map_err(failure)?;
        lease.sequence += 1;
        context.probe.at(Point::COMMIT_AFTER)?;
        if had_letters || !all.is_empty() {
            session.letters = letters::all(&mut session.client, &context)?.len() as u64;
        }
        Ok(Applied {
            records: records.len() as u64,
            letters: all.len() as u64,
            // Nobody waits for more than the rows we write, which nobody else may.
            held: Duration::ZERO,
            refused: Vec::new(),
        })
    }

    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>> {
        let names = self.context.names.clone();
        let found = self
            .client()?
            .query_opt(
                "select position from contraflow.lane
                 where change = $1 and side = $2 and direction = $3 and lane = 0",
                &[&names.change, &names.side, &direction.name()],
            )
            .map_err(failure)?;
        let position: Option<Vec<u8>> = found.and_then(|row| row.get(0));
        Ok(position.map(Position::new))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        let context = self.context.clone();
        letters::all(self.client()?, &context)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

/// The lane's compare-and-set: first statement of every transaction. One row, or another process
/// has the lane or authority has moved. A range is noted with it.
fn advance(
    tx: &mut Transaction<'_>,
    prepared: &mut Prepared,
    context: &Context,
    progress: &Progress<'_>,
    lease: &Lease,
) -> Result<()> {
    const MOVE: &str = "update contraflow.lane
         set position = coalesce($1, position), sequence = sequence + 1
         where change = $2 and side = $3 and direction = $4 and lane = $5 and token = $6
           and sequence = $7 and exists (select from contraflow.standing s
             where s.change = $2 and s.side = $3 and s.gate = 'closed' and s.epoch = $8)";
    let position = match progress {
        Progress::Advance { through, .. } => Some(through.as_bytes()),
        Progress::Chunk { .. } | Progress::Keys { .. } => None,
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let names = &context.names;
    let (direction, lane) = (lease.direction.name(), i32::from(lease.lane.0));
    let [token, sequence, epoch] = [lease.token, lease.sequence, lease.epoch.0].map(number);
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![
        &position,
        &names.change,
        &names.side,
        &direction,
        &lane,
        &token,
        &sequence,
        &epoch,
    ];
    let moved = if let Progress::Chunk { range, .. } = progress {
        // Of a range with others behind it the commit does not wait for the disk. Should the server
        // lose it, its mark is lost with it and the range is read again; whatever is confirmed or
        // reported as done is committed behind it, and on disk with all before.
        let sql = format!(
            "with moved as ({MOVE} returning 1)
             insert into contraflow.chunk (change, side, direction, pair, ordinal, after_key,
               through_key)
             select $2, $3, $4, $9::int, $10::bigint, $11::bytea, $12::bytea from moved
             returning case when through_key is not null
               then set_config('synchronous_commit', 'off', true) end"
        );
        let (pair, ordinal) = (i32::from(range.pair.0), number(range.ordinal));
        let [after, through] = [&range.after, &range.through].map(|key| encoded(key.as_ref()));
        let more: [&(dyn ToSql + Sync); 4] = [&pair, &ordinal, &after, &through];
        params.extend(more);
        prepared.execute(tx, &sql, &params)
    } else {
        prepared.execute(tx, MOVE, &params)
    };
    if moved.map_err(failure)? != 1 {
        return Err(
            fenced("the lane was claimed again or authority has moved").at(context.role.side)
        );
    }
    Ok(())
}

/// What is known of the tables that are written.
struct Tables<'s> {
    prepared: &'s mut Prepared,
    layouts: &'s [Layout],
    beside: &'s mut [bool],
    loads: &'s mut [Worth],
}

/// Writes the records, and the rows a second time with every key freed first when two of them
/// meet on a unique value: moved and swapped values settle only together.
fn write_records(
    tx: &mut Transaction<'_>,
    context: &Context,
    tables: &mut Tables<'_>,
    records: &[Record],
    progress: &Progress<'_>,
) -> Result<Vec<Refusal>> {
    let mid = match progress {
        Progress::Advance { .. } | Progress::Keys { .. } => Point::BATCH_APPLY_MID,
        Progress::Chunk { .. } => Point::CHUNK_APPLY_MID,
    };
    let mut pairs: Vec<u16> = records.iter().map(|record| record.pair.0).collect();
    pairs.dedup();
    pairs.sort_unstable();
    pairs.dedup();
    for &pair in &pairs {
        writer(tx, context, tables, pair).free_deleted(records)?;
    }
    context.probe.at(mid)?;
    let mut refusals = Vec::new();
    for &pair in &pairs {
        let mut writer = writer(tx, context, tables, pair);
        if matches!(progress, Progress::Chunk { .. }) && writer.load(records)? {
            continue;
        }
        writer
            .tx
            .batch_execute("savepoint settle")
            .map_err(failure)?;
        let mut refused = writer.put(records, &HashSet::new())?;
        let conflicts = |refusal: &Refusal| refusal.code == Code::UNIQUE_CONFLICT;
        if refused.iter().any(conflicts) {
            writer
                .tx
                .batch_execute("rollback to settle")
                .map_err(failure)?;
            refused = settle(&mut Settling {
                writer: &mut writer,
                records,
            })?;
        }
        writer.tx.batch_execute("release settle").map_err(failure)?;
        refusals.append(&mut refused);
    }
    Ok(refusals)
}

/// The rows of one table, written together.
struct Settling<'s, 'w, 't> {
    writer: &'s mut TableWriter<'w, 't>,
    records: &'s [Record],
}

impl Rounds for Settling<'_, '_, '_> {
    fn write(&mut self, left_out: &HashSet<usize>) -> Result<Vec<Refusal>> {
        self.writer.free(self.records, left_out)?;
        self.writer.put(self.records, left_out)
    }

    fn undo(&mut self) -> Result<()> {
        let sql = "rollback to settle";
        self.writer.tx.batch_execute(sql).map_err(failure)
    }
}

fn writer<'w, 't>(
    tx: &'w mut Transaction<'t>,
    context: &'w Context,
    tables: &'w mut Tables<'_>,
    pair: u16,
) -> TableWriter<'w, 't> {
    TableWriter {
        tx,
        prepared: tables.prepared,
        layout: &tables.layouts[usize::from(pair)],
        names: &context.names,
        pair,
        beside: &mut tables.beside[usize::from(pair)],
        worth: &mut tables.loads[usize::from(pair)],
    }
}

fn last_chunks(
    client: &mut impl GenericClient,
    context: &Context,
    direction: Direction,
) -> Result<Vec<(PairId, Option<Range>)>> {
    let names = &context.names;
    let mut chunks = Vec::new();
    for (pair, _) in context.role.pairs() {
        let found = client
            .query_opt(
                "select ordinal, after_key, through_key from contraflow.chunk
                 where change = $1 and side = $2 and direction = $3 and pair = $4
                 order by ordinal desc limit 1",
                &[
                    &names.change,
                    &names.side,
                    &direction.name(),
                    &i32::from(pair.0),
                ],
            )
            .map_err(failure)?;
        let range = match found {
            None => None,
            Some(row) => Some(Range {
                pair,
                ordinal: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
                after: row.get::<_, Option<&[u8]>>(1).map(decoded).transpose()?,
                through: row.get::<_, Option<&[u8]>>(2).map(decoded).transpose()?,
            }),
        };
        chunks.push((pair, range));
    }
    Ok(chunks)
}
