//! Tables, bookkeeping, journal and guard: what expand creates and contract takes down.

use contraflow_core::end::{Demands, Remove, Step, Structure, User};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::probe::Point;
use contraflow_core::record::PairId;
use rusqlite::{Connection, OptionalExtension};

use super::connection::failure;
use super::names::quote;
use super::switch::{self, gate_name};
use super::{Context, connection, inspect, references, statements};
use crate::tables::{elsewhere, missing};

mod empty;

use empty::empty;

pub(super) struct Tables {
    context: Context,
}

impl Tables {
    pub(super) fn new(context: Context) -> Tables {
        Tables { context }
    }
}

/// Replaces the triggers of every table of the role by those of a gate.
pub(super) fn set_triggers(
    db: &Connection,
    context: &Context,
    gate: Gate,
    epoch: Epoch,
) -> Result<()> {
    for statement in trigger_statements(db, context, gate, epoch)? {
        db.execute_batch(&statement).map_err(failure)?;
    }
    let digest = inspect::triggers(db, context.names.prefix())?;
    let sql = format!(
        "update {} set triggers = ?1 where id = 1",
        context.names.standing
    );
    db.execute(&sql, [digest]).map(|_| ()).map_err(failure)
}

fn trigger_statements(
    db: &Connection,
    context: &Context,
    gate: Gate,
    epoch: Epoch,
) -> Result<Vec<String>> {
    let mut all = statements::drop_triggers(&context.role, &context.names);
    for (pair, table) in context.role.pairs() {
        let unique = if inspect::table_sql(db, &table.name)?.is_some() {
            inspect::unique_indexes(db, &table.name)?
        } else {
            Vec::new()
        };
        let new = statements::triggers(&context.role, &context.names, pair, &unique, gate, epoch);
        all.extend(new);
    }
    Ok(all)
}

impl Structure for Tables {
    fn statements(&self, step: Step) -> Vec<String> {
        let context = &self.context;
        let db = connection::reader(&context.path).or_else(|_| {
            // A file that does not exist yet has no indexes to look at.
            Connection::open_in_memory().map_err(failure)
        });
        let Ok(db) = db else { return Vec::new() };
        let first = if context.role.side.direction() == contraflow_core::side::Direction::Forward {
            Gate::Open
        } else {
            Gate::Closed
        };
        let with_triggers = |gate, epoch, set: String| {
            let mut all = vec![set];
            all.extend(trigger_statements(&db, context, gate, epoch).unwrap_or_default());
            all
        };
        let names = &context.names;
        match step {
            Step::Expand => {
                let mut all: Vec<String> = context
                    .role
                    .tables
                    .iter()
                    .filter(|table| table.created)
                    .map(statements::create_table)
                    .collect();
                all.extend(statements::bookkeeping(names));
                let triggers = trigger_statements(&db, context, first, Epoch::FIRST);
                let creates = triggers.unwrap_or_default().into_iter();
                all.extend(creates.filter(|statement| statement.starts_with("create")));
                all
            }
            Step::Fence => {
                with_triggers(Gate::Fenced, Epoch::FIRST, switch::fence_statement(names))
            }
            Step::Seal => with_triggers(
                Gate::Closed,
                Epoch::FIRST.next(),
                switch::seal_statement(names),
            ),
            Step::Flip => with_triggers(
                Gate::Open,
                Epoch::FIRST.next(),
                switch::flip_statement(names),
            ),
            Step::Clean => clean_statements(context),
            Step::Drop => drop_tables(context),
        }
    }

    fn demands(&self) -> Demands {
        Demands {
            declaring: "the file's write lock, for the length of one short transaction",
            carrying: "the file's write lock, about 7 ms per transaction",
            fenced: "are refused",
            rights: "write permission on the file and its folder",
        }
    }

    fn expand(&mut self, standing: &Standing) -> Result<()> {
        let context = &self.context;
        context.probe.at(Point::EXPAND_BEFORE)?;
        let mut db = connection::create(&context.path)?;
        connection::write(&mut db, |tx| {
            if let Some(found) = switch::standing(tx, context)? {
                return match found.ledger == standing.ledger {
                    true => Ok(()),
                    false => Err(elsewhere(context.role.side)),
                };
            }
            for table in context.role.tables.iter().filter(|table| table.created) {
                tx.execute_batch(&statements::create_table(table))
                    .map_err(failure)?;
            }
            for statement in statements::bookkeeping(&context.names) {
                tx.execute_batch(&statement).map_err(failure)?;
            }
            let mut declarations = Vec::new();
            for table in &context.role.tables {
                let found = inspect::declaration(tx, &table.name)?;
                declarations.push(found.ok_or_else(|| missing(context.role.side, &table.name))?);
            }
            tx.execute(
                &format!(
                    "insert into {} values (1, ?1, ?2, 0, 0, ?3, ?4, ?5, ?6, '')",
                    context.names.standing
                ),
                rusqlite::params![
                    gate_name(standing.gate),
                    standing.epoch.0,
                    standing.ledger,
                    standing.mapping,
                    declarations.join(" "),
                    created_pairs(context),
                ],
            )
            .map_err(failure)?;
            set_triggers(tx, context, standing.gate, standing.epoch)
        })?;
        context.probe.at(Point::EXPAND_AFTER)
    }

    fn remove(&mut self, tables: Remove) -> Result<()> {
        let context = &self.context;
        if !context.path.exists() {
            return Ok(());
        }
        let mut db = connection::writer(&context.path)?;
        // The end itself says what is ours: the change file may have been edited since.
        let created = stored_created(&db, context)?;
        let goes = |pair: &PairId| match tables {
            Remove::Bookkeeping => false,
            Remove::Created => created.contains(pair),
            Remove::Tables => true,
        };
        let large = carried(&db, context)?.into_iter();
        let large = large.filter_map(|(pair, table, _)| goes(&pair).then_some(table));
        // What lies beside rows may be as many. The journal stays whole for as long as it is there.
        let beside = format!("{}complement", context.names.prefix());
        for table in large.chain([beside]) {
            empty(&mut db, &*context.clock, &table)?;
        }
        connection::write(&mut db, |tx| {
            let carried = carried(tx, context)?;
            for statement in clean_statements(context) {
                tx.execute_batch(&statement).map_err(failure)?;
            }
            for (pair, table, triggers) in carried {
                for trigger in triggers {
                    let sql = format!("drop trigger if exists {}", quote(&trigger));
                    tx.execute_batch(&sql).map_err(failure)?;
                }
                if goes(&pair) {
                    let sql = format!("drop table if exists {}", quote(&table));
                    tx.execute_batch(&sql).map_err(failure)?;
                }
            }
            Ok(())
        })
    }

    fn users(&mut self) -> Result<Option<Vec<User>>> {
        // SQLite keeps no list of its connections; what its own schema says, it does know.
        let db = connection::reader(&self.context.path)?;
        references::users(&db, &self.context.role).map(Some)
    }

    fn foreign_key_violations(&mut self) -> Result<u64> {
        let db = connection::reader(&self.context.path)?;
        let ours = |name: &str| {
            self.context
                .role
                .tables
                .iter()
                .any(|table| table.name.eq_ignore_ascii_case(name))
        };
        let mut violations = 0;
        for child in references::children(&db, &self.context.role)? {
            let sql = format!("pragma foreign_key_check({})", quote(&child));
            let mut statement = db.prepare(&sql).map_err(failure)?;
            let mut rows = statement.query([]).map_err(failure)?;
            while let Some(row) = rows.next().map_err(failure)? {
                let parent: String = row.get(2).map_err(failure)?;
                violations += u64::from(ours(&child) || ours(&parent));
            }
        }
        Ok(violations)
    }

    fn count(&mut self, pair: PairId) -> Result<u64> {
        let db = connection::reader(&self.context.path)?;
        let sql = format!(
            "select count(*) from {}",
            quote(&self.context.role.table(pair).name)
        );
        db.query_row(&sql, [], |row| row.get(0))
            .optional()
            .map_err(failure)
            .map(|n| n.unwrap_or(0))
    }
}

fn clean_statements(context: &Context) -> Vec<String> {
    let mut all = statements::drop_triggers(&context.role, &context.names);
    all.extend(
        context
            .names
            .tables()
            .iter()
            .map(|table| format!("drop table if exists {table}")),
    );
    all
}

fn drop_tables(context: &Context) -> Vec<String> {
    let tables = context.role.tables.iter();
    tables
        .map(|table| format!("drop table if exists {}", quote(&table.name)))
        .collect()
}

/// Pair, table and triggers of every table that this change stands on.
fn carried(db: &Connection, context: &Context) -> Result<Vec<(PairId, String, Vec<String>)>> {
    let mut found: Vec<(PairId, String, Vec<String>)> = Vec::new();
    let mut statement = db
        .prepare("select name, tbl_name from sqlite_schema where type = 'trigger' order by name")
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let (name, table): (String, String) = row
            .get(0)
            .and_then(|name| row.get(1).map(|table| (name, table)))
            .map_err(failure)?;
        let Some(pair) = context.names.pair_of(&name) else {
            continue;
        };
        match found.iter_mut().find(|(known, ..)| *known == pair) {
            Some((_, _, triggers)) => triggers.push(name),
            None => found.push((pair, table, vec![name])),
        }
    }
    Ok(found)
}

/// The pairs whose table this change creates, as the standing row keeps them: after a restart the
/// table is there, and only the end remembers whose it is.
fn created_pairs(context: &Context) -> String {
    let created = context.role.pairs().filter(|(_, table)| table.created);
    created
        .map(|(pair, _)| pair.0.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

fn stored_created(db: &Connection, context: &Context) -> Result<Vec<PairId>> {
    if switch::standing(db, context)?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select created from {} where id = 1",
        context.names.standing
    );
    let created: String = db.query_row(&sql, [], |row| row.get(0)).map_err(failure)?;
    Ok(created
        .split(' ')
        .filter_map(|pair| pair.parse().ok())
        .map(PairId)
        .collect())
}
