//! Tables, bookkeeping, publication, slot and guard: what expand creates and contract takes down.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Demands, Remove, Step, Structure, User};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::probe::Point;
use contraflow_core::record::PairId;
use postgres::{Client, GenericClient};

use super::connection::failure;
use super::names::{SCHEMA, TableName, literal};
use super::{Context, bookkeeping, catalog, connection, slot, statements, switch};
use crate::tables::{elsewhere, missing};

/// How long a slot waits for a transaction that is open before whoever waits is told, at first and
/// from then on: one that gave up begins anew, with those that are open by then.
const SLOT_WAITS: [&str; 2] = ["10s", "60s"];
/// How long a lock that readers notice is waited for: they wait behind us for as long.
const DROP_WAIT: &str = "300ms";
/// Tries, and the longest pause between two.
const DROP_TRIES: u32 = 40;
const DROP_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Tables {
    context: Context,
}

impl Tables {
    pub(super) fn new(context: Context) -> Tables {
        Tables { context }
    }

    /// Everything but the slot, in one transaction; the standing row says what was made.
    fn prepare(&self, client: &mut Client, standing: &Standing) -> Result<()> {
        let context = &self.context;
        let mut tx = client.transaction().map_err(failure)?;
        // Two changes of one database may begin at the same moment.
        tx.batch_execute(statements::ONE_AT_A_TIME)
            .map_err(failure)?;
        for statement in statements::BOOKKEEPING.iter().chain([&statements::REFUSE]) {
            tx.batch_execute(statement).map_err(failure)?;
        }
        let pass = fresh_pass(&mut tx)?;
        for (pair, table) in context.role.pairs() {
            if table.created {
                tx.batch_execute(&statements::create_table(table))
                    .map_err(failure)?;
            }
            if standing.gate == Gate::Closed {
                let epoch = standing.epoch;
                for sql in switch::guard(&mut tx, &context.names, (pair, table), &pass, epoch)? {
                    tx.batch_execute(&sql).map_err(failure)?;
                }
            }
        }
        tx.batch_execute(&statements::create_publication(
            &context.role,
            &context.names,
        ))
        .map_err(failure)?;
        let mut declarations = Vec::new();
        for table in &context.role.tables {
            let found = catalog::declaration(&mut tx, &TableName::parse(&table.name))?;
            declarations.push(found.ok_or_else(|| missing(context.role.side, &table.name))?);
        }
        let tables: Vec<&str> = context
            .role
            .tables
            .iter()
            .map(|t| t.name.as_str())
            .collect();
        let created: Vec<bool> = context.role.tables.iter().map(|t| t.created).collect();
        let gate = match standing.gate {
            Gate::Open | Gate::Fenced => "open",
            Gate::Closed => "closed",
        };
        tx.execute(
            "insert into contraflow.standing (change, side, gate, epoch, ledger, mapping, pass,
               tables, created, declarations) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &context.names.change,
                &context.names.side,
                &gate,
                &i64::try_from(standing.epoch.0).unwrap_or(i64::MAX),
                &standing.ledger,
                &standing.mapping,
                &pass,
                &tables,
                &created,
                &declarations,
            ],
        )
        .map_err(failure)?;
        tx.commit().map_err(failure)
    }

    /// Runs statements that lock a table even against readers: in one short transaction, again and
    /// again rather than for long.
    fn briefly(&self, client: &mut Client, sql: &str) -> Result<()> {
        let mut pause = DROP_PAUSE / 10;
        for tries in 1.. {
            let mut tx = client.transaction().map_err(failure)?;
            let done = tx
                .batch_execute(&format!("set local lock_timeout = '{DROP_WAIT}'; {sql}"))
                .and_then(|()| tx.commit())
                .map_err(failure);
            match done {
                Err(error) if error.code == Code::END_BUSY && tries < DROP_TRIES => {
                    self.context.clock.sleep(pause);
                    pause = (pause * 3 / 2).min(DROP_PAUSE);
                }
                done => return done,
            }
        }
        unreachable!("the loop returns")
    }

    /// The slot, which waits for transactions that are open now, and where it was made.
    fn make_slot(&self, client: &mut Client) -> Result<()> {
        let names = &self.context.names;
        let half = client
            .query_opt(
                "select from pg_replication_slots
                 where slot_name = $1 and confirmed_flush_lsn is null",
                &[&names.slot],
            )
            .map_err(failure)?;
        if half.is_some() {
            // A session of ours that was killed still waits for it: it goes with the session.
            slot::free(client, &self.context)?;
        }
        let told = self.context.shared.told.swap(true, Ordering::Relaxed);
        client
            .batch_execute(&format!(
                "set lock_timeout = '{}'",
                SLOT_WAITS[usize::from(told)]
            ))
            .map_err(failure)?;
        let made = client.execute(
            "select pg_create_logical_replication_slot($1, 'pgoutput')
             where not exists (select from pg_replication_slots where slot_name = $1)",
            &[&names.slot],
        );
        if let Err(error) = made {
            let error = failure(error);
            if error.code != Code::END_BUSY {
                return Err(error);
            }
            let open = open_transactions(client)?;
            return Err(error
                .detail(format!(
                    "The slot waits for transactions that are open: {open}."
                ))
                .hint("End them; prepared ones by `commit prepared` or `rollback prepared`."));
        }
        client
            .batch_execute("set lock_timeout = 0")
            .map_err(failure)?;
        // Whoever runs now may have committed in the log before the slot could see it. All of them
        // have smaller numbers than we; a snapshot knows the largest of those that have ended.
        client
            .execute(
                "update contraflow.standing set slot_from = pg_current_xact_id()::text::bigint,
                   system = (select system_identifier::text from pg_control_system()),
                   timeline = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
                 where change = $1 and side = $2",
                &[&names.change, &names.side],
            )
            .map(|_| ())
            .map_err(failure)
    }
}

impl Structure for Tables {
    fn statements(&self, step: Step) -> Vec<String> {
        let context = &self.context;
        let (role, names) = (&context.role, &context.names);
        let closed = role.side == contraflow_core::side::Side::New;
        let guards = |epoch| -> Vec<String> {
            let each = statements::Each::Statement;
            let guard =
                |(pair, table)| statements::create_guard(names, pair, table, "...", epoch, each);
            role.pairs().flat_map(guard).collect()
        };
        match step {
            Step::Expand => {
                let owned = |sql: &&str| (*sql).to_owned();
                let mut all: Vec<String> = statements::BOOKKEEPING.iter().map(owned).collect();
                all.push(statements::REFUSE.to_owned());
                let created = role.tables.iter().filter(|table| table.created);
                all.extend(created.map(statements::create_table));
                if closed {
                    all.extend(guards(Epoch::FIRST));
                }
                all.push(statements::create_publication(role, names));
                all.push(format!(
                    "select pg_create_logical_replication_slot({}, 'pgoutput')",
                    literal(&names.slot)
                ));
                all
            }
            Step::Fence => vec![statements::lock_tables(role)],
            Step::Seal => {
                let mut all = guards(Epoch::FIRST.next());
                all.push(statements::SEAL.to_owned());
                all
            }
            Step::Flip => {
                let mut all = vec![statements::lock_tables(role), statements::FLIP.to_owned()];
                for (pair, table) in role.pairs() {
                    let guards = statements::guards(names, pair);
                    all.extend(guards.map(|guard| statements::disable(&table.name, &guard)));
                }
                all
            }
            Step::Clean => vec![
                format!("drop publication if exists {}", names.slot),
                format!("select pg_drop_replication_slot({})", literal(&names.slot)),
                format!("drop schema {SCHEMA} cascade -- when no other change is left in it"),
            ],
            Step::Drop => {
                let tables = role.tables.iter();
                let names: Vec<&str> = tables.map(|table| table.name.as_str()).collect();
                vec![statements::drop_tables(&names)]
            }
        }
    }

    fn demands(&self) -> Demands {
        Demands {
            declaring: "share row exclusive on the tables while a guard is made or dropped, \
                        milliseconds; the slot waits for transactions that are open, nobody for it",
            carrying: "the rows that are written, nothing else",
            fenced: "wait on a table lock",
            rights: "a role that owns the tables, with `replication`, `create` on the database \
                     and, where the mirror has triggers or foreign keys, `set` on \
                     `session_replication_role`",
        }
    }

    fn expand(&mut self, standing: &Standing) -> Result<()> {
        let context = &self.context;
        context.probe.at(Point::EXPAND_BEFORE)?;
        let mut client = connection::connect(&context.target)?;
        let found = bookkeeping::row(&mut client, &context.names)?;
        if let Some(found) = &found {
            if found.ledger != standing.ledger {
                return Err(elsewhere(context.role.side));
            }
        } else {
            self.prepare(&mut client, standing)?;
        }
        if found.is_none_or(|found| found.slot.is_none()) {
            self.make_slot(&mut client)?;
        }
        context.probe.at(Point::EXPAND_AFTER)
    }

    fn remove(&mut self, tables: Remove) -> Result<()> {
        let context = &self.context;
        let names = &context.names;
        let mut client = connection::connect(&context.target)?;
        switch::end_fence(&mut client, context)?;
        // The end itself says what is ours: the change file may have been edited since.
        let Some(row) = bookkeeping::row(&mut client, names)? else {
            return drop_slot(&mut client, context);
        };
        drop_slot(&mut client, context)?;
        // Before the tables: each of them then concerns nobody but who uses it.
        client
            .batch_execute(&format!("drop publication if exists {}", names.slot))
            .map_err(failure)?;
        // Tables that go do so together, and each with its guard: nobody writes to one in between.
        let (mut going, mut last) = (Vec::new(), Vec::new());
        for (n, (table, created)) in row.tables.iter().zip(&row.created).enumerate() {
            let pair = PairId(u16::try_from(n).unwrap_or(u16::MAX));
            let mut all = Vec::new();
            if catalog::relation(&mut client, &TableName::parse(table))?.is_some() {
                all.extend(statements::drop_guard(names, pair, table));
                all.extend(statements::drop_beside(names, pair, table));
            }
            let goes = match tables {
                Remove::Bookkeeping => false,
                Remove::Created => *created,
                Remove::Tables => true,
            };
            if goes {
                going.push(table.as_str());
                last.append(&mut all);
            } else {
                self.briefly(&mut client, &all.join("; "))?;
            }
        }
        if !going.is_empty() {
            last.push(statements::drop_tables(&going));
            self.briefly(&mut client, &last.join("; "))?;
        }
        let mut tx = client.transaction().map_err(failure)?;
        tx.batch_execute(statements::ONE_AT_A_TIME)
            .map_err(failure)?;
        for table in statements::CLEARED.iter().chain([&"standing"]) {
            let sql = format!("delete from {SCHEMA}.{table} where change = $1 and side = $2");
            tx.execute(&sql, &[&names.change, &names.side])
                .map_err(failure)?;
        }
        sweep(&mut tx)?;
        tx.commit().map_err(failure)
    }

    fn users(&mut self) -> Result<Option<Vec<User>>> {
        let mut client = connection::connect(&self.context.target)?;
        let mut ours = Vec::new();
        for table in &self.context.role.tables {
            let name = TableName::parse(&table.name);
            ours.extend(catalog::relation(&mut client, &name)?.map(|found| found.oid));
        }
        let mut users = Vec::new();
        for &table in &ours {
            users.extend(users_of(&mut client, table, &ours)?);
        }
        users.dedup();
        Ok(Some(users))
    }

    fn foreign_key_violations(&mut self) -> Result<u64> {
        let mut client = connection::connect(&self.context.target)?;
        let mut violations = 0;
        for table in &self.context.role.tables {
            let name = TableName::parse(&table.name);
            if let Some(found) = catalog::relation(&mut client, &name)? {
                violations += orphans(&mut client, found.oid)?;
            }
        }
        Ok(violations)
    }

    fn count(&mut self, pair: PairId) -> Result<u64> {
        let mut client = connection::connect(&self.context.target)?;
        let name = TableName::parse(&self.context.role.table(pair).name);
        if catalog::relation(&mut client, &name)?.is_none() {
            return Ok(0);
        }
        let sql = format!("select count(*) from {}", name.quoted());
        let row = client.query_one(&sql, &[]).map_err(failure)?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }
}

/// Views and foreign keys of others that rest on a table, and sessions that hold a lock on it now.
fn users_of(client: &mut Client, oid: u32, ours: &[u32]) -> Result<Vec<User>> {
    let rows = client
        .query(
            "select distinct 'view `' || n.nspname || '.' || v.relname || '`',
               'its text names the table'
             from pg_depend d join pg_rewrite r on r.oid = d.objid
             join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
             where d.refobjid = $1 and d.classid = 'pg_rewrite'::regclass and v.oid <> $1
             union all
             select distinct 'table `' || c.conrelid::regclass::text || '`',
               'it has a foreign key into the table'
             from pg_constraint c
             where c.confrelid = $1 and c.contype = 'f' and c.conrelid <> all ($2)
             union all
             select 'session ' || l.pid || coalesce(' (' || a.application_name || ')', ''),
               'it holds a lock on the table'
             from pg_locks l left join pg_stat_activity a on a.pid = l.pid
             where l.relation = $1 and l.locktype = 'relation' and l.pid <> pg_backend_pid()
               and coalesce(a.application_name, '') not like 'contraflow%'",
            &[&oid, &ours],
        )
        .map_err(failure)?;
    Ok(rows
        .iter()
        .map(|row| User {
            who: row.get(0),
            seen: row.get(1),
        })
        .collect())
}

/// How many rows of a table, or pointing at it, point at nothing.
fn orphans(client: &mut Client, oid: u32) -> Result<u64> {
    let keys = client
        .query(
            "select format('select count(*) from %s c where (%s)
                 and not exists (select from %s p where %s)',
               k.conrelid::regclass,
               (select string_agg(format('c.%I is not null', a.attname), ' and ')
                from unnest(k.conkey) n join pg_attribute a
                  on a.attrelid = k.conrelid and a.attnum = n),
               k.confrelid::regclass,
               (select string_agg(format('p.%I = c.%I', fa.attname, ca.attname), ' and ')
                from unnest(k.conkey, k.confkey) x (cn, fn)
                join pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = cn
                join pg_attribute fa on fa.attrelid = k.confrelid and fa.attnum = fn))
             from pg_constraint k
             where k.contype = 'f' and k.conparentid = 0
               and (k.conrelid = $1 or k.confrelid = $1)",
            &[&oid],
        )
        .map_err(failure)?;
    let mut count = 0;
    for key in keys {
        let sql: String = key.get(0);
        let row = client.query_one(&sql, &[]).map_err(failure)?;
        count += u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    }
    Ok(count)
}

/// The oldest transactions that write, and those that were prepared.
fn open_transactions(client: &mut Client) -> Result<String> {
    let row = client
        .query_one(
            "select coalesce(string_agg(who, ', '), 'none any more') from (
               select 'session ' || pid as who from pg_stat_activity
                 where backend_xid is not null and pid <> pg_backend_pid()
               union all select 'prepared ' || gid from pg_prepared_xacts limit 10) as open",
            &[],
        )
        .map_err(failure)?;
    Ok(row.get(0))
}

fn drop_slot(client: &mut Client, context: &Context) -> Result<()> {
    slot::free(client, context)?;
    client
        .execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots
             where slot_name = $1 and database = current_database()",
            &[&context.names.slot],
        )
        .map_err(failure)?;
    for direction in contraflow_core::side::Direction::BOTH {
        // Where we may not drop it, we were not permitted to make it either.
        drop(client.execute(
            "select pg_replication_origin_drop(roname) from pg_replication_origin
             where roname = $1",
            &[&context.names.origin(direction.name())],
        ));
    }
    Ok(())
}

/// Something that nobody sets by accident.
fn fresh_pass(client: &mut impl GenericClient) -> Result<String> {
    client
        .query_one("select replace(gen_random_uuid()::text, '-', '')", &[])
        .map(|row| row.get(0))
        .map_err(failure)
}

/// Drops the schema when no change is left in it.
fn sweep(client: &mut impl GenericClient) -> Result<()> {
    let left = client
        .query_one("select exists (select from contraflow.standing)", &[])
        .map_err(failure)?;
    if left.get::<_, bool>(0) {
        return Ok(());
    }
    client
        .batch_execute(&format!("drop schema {SCHEMA} cascade"))
        .map_err(failure)
}
