//! Authority: the standing row, moved by compare-and-set together with the guard.
//!
//! A fence is a lock on the tables, held in an open transaction. Writers wait for it; nobody is
//! refused. The server itself ends it by `idle_in_transaction_session_timeout`, and our death does
//! so at once. The seal creates the guard in that same transaction.

use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Sequence, Switch, Table, fenced};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::position::Position;
use contraflow_core::record::PairId;
use contraflow_core::shape::Type;
use postgres::{Client, GenericClient};

use super::catalog::Layout;
use super::connection::failure;
use super::names::{Names, TableName, quote};
use super::place::Place;
use super::{Context, bookkeeping, catalog, connection, rows, scan, statements};
use crate::tables::expired;

/// How much longer than `deadlock_timeout` a lock on the tables is waited for: when it has passed,
/// the server ends an autovacuum that stands in the way. Whoever comes after us waits behind us.
const LOCK_WAIT_MORE_MS: i64 = 300;
/// Tries, and the pause between two; it grows, so that two who meet do not meet again.
const LOCK_TRIES: u32 = 8;
const LOCK_PAUSE: Duration = Duration::from_millis(150);
/// Looks at a fence that is being ended, and the pause between two.
const END_TRIES: u32 = 500;
const END_PAUSE: Duration = Duration::from_millis(10);
/// Numbers left out behind the last one that the losing end gave out.
const SEQUENCE_GAP: i64 = 1_000;

pub(super) struct Lock {
    context: Context,
}

/// A fence: the session that holds the lock in an open transaction.
pub(super) struct Fence {
    client: Client,
    position: Place,
    epoch: Epoch,
}

/// A flip that only its commit is missing from: the session that holds its locks.
pub(super) struct Opening {
    client: Client,
    epoch: Epoch,
}

fn opening(context: &Context) -> MutexGuard<'_, Option<Opening>> {
    let opening = &context.shared.opening;
    opening.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up a flip that was prepared and came to nothing: it would keep the flow from writing.
pub(super) fn forget_opening(context: &Context) {
    drop(opening(context).take());
}

impl Lock {
    pub(super) fn new(context: Context) -> Lock {
        Lock { context }
    }

    fn connect(&self) -> Result<Client> {
        connection::connect(&self.context.target)
    }

    fn opening(&self) -> MutexGuard<'_, Option<Opening>> {
        opening(&self.context)
    }

    fn is_open(&self, epoch: Epoch) -> Result<bool> {
        let row = bookkeeping::row(&mut self.connect()?, &self.context.names)?;
        Ok(row.is_some_and(|row| row.gate == Gate::Open && row.epoch == epoch))
    }

    fn held(&self) -> MutexGuard<'_, Option<Fence>> {
        let fence = &self.context.shared.fence;
        fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock on the tables in a transaction that is left open.
    fn lock(&self, client: &mut Client, epoch: Epoch, limit: Duration) -> Result<()> {
        let context = &self.context;
        begin(client, limit)?;
        let free = client
            .query_one(
                "select pg_try_advisory_xact_lock($1)",
                &[&context.names.fence_lock()],
            )
            .map_err(failure)?;
        if !free.get::<_, bool>(0) {
            return Err(fenced("the end is fenced already"));
        }
        let lock = client.batch_execute(&statements::lock_tables(&context.role));
        if let Err(error) = lock {
            return Err(blocked(failure(error), self));
        }
        let open = client
            .query_opt(
                "select epoch from contraflow.standing
                 where change = $1 and side = $2 and gate = 'open' and epoch = $3 for update",
                &[&context.names.change, &context.names.side, &number(epoch)],
            )
            .map_err(failure)?;
        if open.is_none() {
            return Err(fenced("the end to be fenced is not open in this epoch"));
        }
        let row = bookkeeping::carried(client, &context.names)?;
        bookkeeping::unchanged(client, context, &row)?;
        bookkeeping::kept(client, context)
    }

    /// Runs a transaction that needs the tables to itself for a moment.
    fn alone<T>(
        &self,
        mut work: impl FnMut(&mut postgres::Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut client = self.connect()?;
        let mut pause = LOCK_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let wait = lock_wait(&mut client)?;
            let mut tx = client.transaction().map_err(failure)?;
            tx.batch_execute(&format!("set local lock_timeout = {wait}"))
                .map_err(failure)?;
            let done = work(&mut tx).and_then(|done| {
                tx.commit().map_err(failure)?;
                Ok(done)
            });
            match done {
                Err(error) if error.code == Code::END_BUSY && tries < LOCK_TRIES => {
                    self.context.clock.sleep(pause);
                    pause = pause * 3 / 2;
                }
                done => return done,
            }
        }
    }
}

/// Milliseconds for which a lock on the tables is waited for.
fn lock_wait(client: &mut Client) -> Result<i64> {
    let sql = "select setting::bigint from pg_settings where name = 'deadlock_timeout'";
    let row = client.query_one(sql, &[]).map_err(failure)?;
    Ok(row.get::<_, i64>(0) + LOCK_WAIT_MORE_MS)
}

/// Begins a transaction that the server itself ends when it is left alone for longer than a limit.
fn begin(client: &mut Client, limit: Duration) -> Result<()> {
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1);
    let wait = lock_wait(client)?.min(limit_ms);
    client
        .batch_execute(&format!(
            "set idle_in_transaction_session_timeout = {limit_ms}; set lock_timeout = {wait}; begin"
        ))
        .map_err(failure)
}

/// The session that holds the fence of a side, if there is one.
fn holder(client: &mut Client, context: &Context) -> Result<Option<i32>> {
    let found = client
        .query_opt(
            "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1
               and (classid::bigint << 32 | objid::bigint) = $1 and database =
                 (select oid from pg_database where datname = current_database())",
            &[&context.names.fence_lock()],
        )
        .map_err(failure)?;
    Ok(found.map(|row| row.get(0)))
}

/// Ends the fence of a side: ours, or that of a process that hangs or was overtaken.
pub(super) fn end_fence(client: &mut Client, context: &Context) -> Result<()> {
    let fence = &context.shared.fence;
    let ours = fence.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Its transaction ends with its session.
    drop(ours.map(|fence| fence.client.close()));
    // Its seal may be under way: only when it is gone does the row say what became of it.
    for _ in 0..END_TRIES {
        let Some(holder) = holder(client, context)? else {
            return Ok(());
        };
        client
            .execute("select pg_terminate_backend($1)", &[&holder])
            .map_err(failure)?;
        context.clock.sleep(END_PAUSE);
    }
    let message = "the session that holds the fence does not end";
    Err(Error::new(Kind::Transient, Code::END_BUSY, message).at(context.role.side))
}

/// Says who keeps a lock from us.
fn blocked(error: Error, lock: &Lock) -> Error {
    if error.code != Code::END_BUSY {
        return error;
    }
    let who = lock.connect().and_then(|mut client| {
        let mut seen = Vec::new();
        for table in &lock.context.role.tables {
            let name = TableName::parse(&table.name);
            let Some(found) = catalog::relation(&mut client, &name)? else {
                continue;
            };
            let rows = client
                .query(
                    "select distinct pid::text from pg_locks where relation = $1 and granted
                       and mode <> 'AccessShareLock' and pid <> pg_backend_pid()",
                    &[&found.oid],
                )
                .map_err(failure)?;
            seen.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        Ok(seen)
    });
    let who = who.unwrap_or_default().join(", ");
    if who.is_empty() {
        return error;
    }
    error.detail(format!("Sessions with a lock on the tables: {who}."))
}

impl Switch for Lock {
    fn standing(&mut self) -> Result<Option<Standing>> {
        let mut client = self.connect()?;
        let Some(row) = bookkeeping::row(&mut client, &self.context.names)? else {
            return Ok(None);
        };
        let fenced = row.gate == Gate::Open && holder(&mut client, &self.context)?.is_some();
        Ok(Some(bookkeeping::standing(row, fenced)))
    }

    fn fence(&mut self, epoch: Epoch, limit: Duration) -> Result<Position> {
        let mut pause = LOCK_PAUSE;
        for tries in 1.. {
            let mut client = self.connect()?;
            match self.lock(&mut client, epoch, limit) {
                Ok(()) => {
                    // From another session: this one must not be seen to do anything.
                    let mut other = self.connect()?;
                    let position = scan::mark(&mut other, &self.context)?;
                    *self.held() = Some(Fence {
                        client,
                        position,
                        epoch,
                    });
                    return Ok(position.position());
                }
                Err(error) if error.code == Code::END_BUSY && tries < LOCK_TRIES => {
                    self.context.clock.sleep(pause);
                    pause = pause * 3 / 2;
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop returns")
    }

    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()> {
        let context = self.context.clone();
        let names = &context.names;
        let mut held = self.held();
        let Some(fence) = held.as_mut() else {
            return Err(expired(context.role.side, "it is not there any more"));
        };
        if fence.epoch != epoch {
            return Err(expired(context.role.side, "it belongs to another epoch"));
        }
        if Place::of(drained) != Some(fence.position) {
            return Err(expired(
                context.role.side,
                "writes lie behind what was drained",
            ));
        }
        let mut fence = held.take().expect("looked at above");
        drop(held);
        let direction = context.role.side.other().direction();
        let client = &mut fence.client;
        let mut sealed = || -> Result<()> {
            let pass = client.query_one(
                "select pass from contraflow.standing where change = $1 and side = $2",
                &[&names.change, &names.side],
            );
            let pass = pass.map_err(failure)?;
            let pass: String = pass.get(0);
            client
                .execute(
                    statements::SEAL,
                    &[&names.change, &names.side, &number(epoch)],
                )
                .map_err(failure)?;
            for (pair, table) in context.role.pairs() {
                silence(client, &table.name, &names.beside(pair)).map_err(failure)?;
                let next = epoch.next();
                for sql in guard(client, names, (pair, table), &pass, next)? {
                    client.batch_execute(&sql).map_err(failure)?;
                }
            }
            client.execute(
                "insert into contraflow.lane as l (change, side, direction, lane, token, sequence,
                   position) values ($1, $2, $3, 0, 1, 0, $4)
                 on conflict (change, side, direction, lane) do update
                   set token = l.token + 1, sequence = 0, position = excluded.position",
                &[
                    &names.change,
                    &names.side,
                    &direction.name(),
                    &reverse_from.as_bytes(),
                ],
            )
            .map(|_| ())
            .map_err(failure)
        };
        sealed().map_err(|error| match error {
            lost if lost.code == Code::END_UNREACHABLE => {
                expired(context.role.side, "the server has ended it")
            }
            other => other,
        })?;
        // From here on a lost answer says nothing: the ends are asked.
        fence.client.batch_execute("commit").map_err(failure)
    }

    fn prepare(&mut self, epoch: Epoch, numbers: &[Sequence], limit: Duration) -> Result<()> {
        let mut client = self.connect()?;
        begin(&mut client, limit)?;
        open(&mut client, &self.context, epoch, numbers).map_err(|error| blocked(error, self))?;
        *self.opening() = Some(Opening { client, epoch });
        Ok(())
    }

    fn flip(&mut self, epoch: Epoch, sequences: &[Sequence]) -> Result<()> {
        let context = self.context.clone();
        let prepared = self.opening().take().filter(|it| it.epoch == epoch);
        let Some(mut opening) = prepared else {
            return self.alone(|tx| open(tx, &context, epoch, sequences));
        };
        if opening.client.batch_execute("commit").is_ok() {
            return Ok(());
        }
        drop(opening);
        match self.alone(|tx| open(tx, &context, epoch, sequences)) {
            // Its commit had come through, and only the answer was lost.
            Err(error) if error.kind == Kind::Fenced && self.is_open(epoch)? => Ok(()),
            done => done,
        }
    }

    fn lift(&mut self, epoch: Epoch) -> Result<()> {
        let held = self.held().take();
        if let Some(fence) = held {
            if fence.epoch != epoch {
                *self.held() = Some(fence);
                return Err(fenced("the fence belongs to another epoch"));
            }
            *self.held() = Some(fence);
        }
        let mut client = self.connect()?;
        end_fence(&mut client, &self.context)?;
        match bookkeeping::row(&mut client, &self.context.names)? {
            Some(row) if row.gate == Gate::Open && row.epoch == epoch => Ok(()),
            _ => Err(fenced("the fence to be lifted was made permanent")),
        }
    }

    fn sequences(&mut self) -> Result<Vec<Sequence>> {
        let mut client = self.connect()?;
        let mut found = Vec::new();
        for (pair, table) in self.context.role.pairs() {
            let mut last: Option<i64> = None;
            for (_, sequence) in owned(&mut client, table)? {
                let sql = format!("select last_value from {sequence} where is_called");
                let row = client.query_opt(&sql, &[]).map_err(failure)?;
                last = last.max(row.map(|row| row.get(0)));
            }
            found.extend(last.map(|last| Sequence { pair, last }));
        }
        Ok(found)
    }

    fn adopt(&mut self, ledger: &str) -> Result<()> {
        let context = self.context.clone();
        let names = &context.names;
        self.alone(|tx| {
            tx.execute(
                "update contraflow.standing set ledger = $3 where change = $1 and side = $2",
                &[&names.change, &names.side, &ledger],
            )
            .map_err(failure)?;
            let row = bookkeeping::carried(tx, names)?;
            for (pair, table) in context.role.pairs() {
                // Whatever became of the guard, the end is again as its standing says.
                if catalog::relation(tx, &TableName::parse(&table.name))?.is_none() {
                    continue;
                }
                if row.gate == Gate::Closed {
                    let all = guard(tx, names, (pair, table), &row.pass, row.epoch)?;
                    for sql in all {
                        tx.batch_execute(&sql).map_err(failure)?;
                    }
                    continue;
                }
                for guard in statements::guards(names, pair) {
                    silence(tx, &table.name, &guard).map_err(failure)?;
                }
            }
            Ok(())
        })
    }
}

/// The statements that make the guard of a pair.
pub(super) fn guard(
    client: &mut impl GenericClient,
    names: &Names,
    (pair, table): (PairId, &Table),
    pass: &str,
    epoch: Epoch,
) -> Result<Vec<String>> {
    let name = TableName::parse(&table.name);
    let swept = client
        .query_one(
            "select exists (select from pg_constraint k join pg_class c on c.oid = k.conrelid
             join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2 and k.contype = 'f'
               and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd')))",
            &[&name.schema, &name.name],
        )
        .map_err(failure)?;
    let each = if swept.get(0) {
        statements::Each::Row
    } else {
        statements::Each::Statement
    };
    Ok(statements::create_guard(
        names, pair, table, pass, epoch, each,
    ))
}

/// Opens a closed end within a transaction: everything of a flip but its commit.
fn open(
    tx: &mut impl GenericClient,
    context: &Context,
    epoch: Epoch,
    numbers: &[Sequence],
) -> Result<()> {
    let names = &context.names;
    let Some(before) = epoch.0.checked_sub(1).map(Epoch) else {
        return Err(fenced("there is no epoch before the first"));
    };
    tx.batch_execute(&statements::lock_tables(&context.role))
        .map_err(failure)?;
    let moved = tx
        .execute(
            statements::FLIP,
            &[&names.change, &names.side, &number(before)],
        )
        .map_err(failure)?;
    if moved != 1 {
        return Err(fenced(
            "the end to be opened is not closed in the epoch before",
        ));
    }
    let row = bookkeeping::carried(tx, names)?;
    bookkeeping::unchanged(tx, context, &row)?;
    bookkeeping::kept(tx, context)?;
    tx.execute(
        "update contraflow.lane set token = token + 1 where change = $1 and side = $2",
        &[&names.change, &names.side],
    )
    .map_err(failure)?;
    for (pair, table) in context.role.pairs() {
        for guard in statements::guards(names, pair) {
            silence(tx, &table.name, &guard).map_err(failure)?;
        }
        if bookkeeping::has_complements(tx, names, pair.0)? {
            let layout = Layout::of(tx, table)?;
            let keys = ["old.", "new."].map(|row| rows::key_array(&layout, row));
            let keys = [keys[0].as_str(), keys[1].as_str()];
            for sql in statements::create_beside(names, pair, table, keys) {
                tx.batch_execute(&sql).map_err(failure)?;
            }
        }
    }
    carry_sequences(tx, context, numbers)
}

/// Lets everybody pass a trigger, if it is there.
fn silence(
    client: &mut impl GenericClient,
    table: &str,
    trigger: &str,
) -> std::result::Result<(), postgres::Error> {
    let name = TableName::parse(table);
    let there = client.query_opt(
        "select from pg_trigger g join pg_class c on c.oid = g.tgrelid
         join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = $2 and g.tgname = $3",
        &[&name.schema, &name.name, &trigger],
    )?;
    match there {
        Some(_) => client.batch_execute(&statements::disable(table, trigger)),
        None => Ok(()),
    }
}

/// The sequences that number columns of a table, as SQL, each with its column when that is the
/// first of the key and a whole number: its highest value is found at once.
fn owned(client: &mut impl GenericClient, table: &Table) -> Result<Vec<(Option<String>, String)>> {
    let name = TableName::parse(&table.name);
    let rows = client
        .query(
            "select a.attname::text, n.nspname::text, s.relname::text
             from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
             join pg_namespace n on n.oid = s.relnamespace
             join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
             where d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
               and d.refobjid = (select c.oid from pg_class c join pg_namespace x
                 on x.oid = c.relnamespace where x.nspname = $1 and c.relname = $2)
             order by a.attnum",
            &[&name.schema, &name.name],
        )
        .map_err(failure)?;
    let first = table.shape.key.first().map(|&i| &table.shape.fields[i]);
    let first = first.filter(|field| matches!(field.ty, Type::Int { .. }));
    Ok(rows
        .iter()
        .map(|row| {
            let (column, schema, sequence): (&str, &str, &str) =
                (row.get(0), row.get(1), row.get(2));
            let indexed = first.is_some_and(|field| field.name == column);
            (
                indexed.then(|| quote(column)),
                format!("{}.{}", quote(schema), quote(sequence)),
            )
        })
        .collect())
}

/// A table must never give out a number that its twin has used: numbers go on behind the highest
/// of both, with a gap for what was given out and not written.
fn carry_sequences(
    tx: &mut impl GenericClient,
    context: &Context,
    sequences: &[Sequence],
) -> Result<()> {
    for (pair, table) in context.role.pairs() {
        let theirs = last_of(sequences, pair);
        for (column, sequence) in owned(tx, table)? {
            let name = TableName::parse(&table.name).quoted();
            let highest = column.map_or_else(
                || "0".to_owned(),
                |column| format!("(select coalesce(max({column}), 0) from {name})"),
            );
            let sql = format!(
                "select setval({0}, least(greatest($1, {highest},
                   (select last_value from {sequence})) + $2 * seqincrement, seqmax))
                 from pg_sequence where seqrelid = {0}::regclass",
                super::names::literal(&sequence),
            );
            tx.execute(&sql, &[&theirs, &SEQUENCE_GAP])
                .map_err(failure)?;
        }
    }
    Ok(())
}

fn last_of(sequences: &[Sequence], pair: PairId) -> i64 {
    let mine = sequences.iter().filter(|sequence| sequence.pair == pair);
    mine.map(|sequence| sequence.last).max().unwrap_or(0)
}

fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}
