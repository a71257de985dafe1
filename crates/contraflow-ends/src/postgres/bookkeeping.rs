//! What the tables of the schema `contraflow` say of one side of one change.

use std::sync::PoisonError;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Gate, Standing};
use postgres::{GenericClient, ToStatement};

use super::Context;
use super::catalog;
use super::connection::failure;
use super::names::{Names, TableName};
use crate::tables::altered;

/// The standing row of one side of a change.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) gate: Gate,
    pub(super) epoch: Epoch,
    pub(super) ledger: String,
    pub(super) mapping: String,
    /// What a session sets to pass the guard.
    pub(super) pass: String,
    pub(super) tables: Vec<String>,
    pub(super) created: Vec<bool>,
    pub(super) declarations: Vec<String>,
    pub(super) slot: Option<SlotOrigin>,
}

/// Where the slot was made: another server, or the same one restored, is another history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotOrigin {
    pub(super) system: String,
    pub(super) timeline: i32,
    /// Transactions below this number may have committed before the slot could see them.
    pub(super) from: u64,
}

/// Reads the standing row; `None` when this side does not carry the change.
pub(super) fn row(client: &mut impl GenericClient, names: &Names) -> Result<Option<Row>> {
    let there = client
        .query_one("select to_regclass('contraflow.standing') is not null", &[])
        .map_err(failure)?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let found = client
        .query_opt(
            "select gate, epoch, ledger, mapping, pass, tables, created, declarations, system,
               timeline, slot_from
             from contraflow.standing where change = $1 and side = $2",
            &[&names.change, &names.side],
        )
        .map_err(failure)?;
    Ok(found.map(|row| {
        let gate: String = row.get(0);
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        let (system, timeline) = (
            row.get::<_, Option<String>>(8),
            row.get::<_, Option<i32>>(9),
        );
        let from = row.get::<_, Option<i64>>(10);
        let slot = match (system, timeline, from) {
            (Some(system), Some(timeline), Some(from)) => Some(SlotOrigin {
                system,
                timeline,
                from: number(from),
            }),
            _ => None,
        };
        Row {
            gate: if gate == "open" {
                Gate::Open
            } else {
                Gate::Closed
            },
            epoch: Epoch(number(row.get(1))),
            ledger: row.get(2),
            mapping: row.get(3),
            pass: row.get(4),
            tables: row.get(5),
            created: row.get(6),
            declarations: row.get(7),
            slot,
        }
    }))
}

/// The standing row of a side that must carry the change.
pub(super) fn carried(client: &mut impl GenericClient, names: &Names) -> Result<Row> {
    row(client, names)?
        .ok_or_else(|| contraflow_core::end::fenced("the end no longer carries the change"))
}

/// What the row says to the rest of the world; `fenced` is known from elsewhere.
pub(super) fn standing(row: Row, fenced: bool) -> Standing {
    Standing {
        gate: match row.gate {
            Gate::Open if fenced => Gate::Fenced,
            gate => gate,
        },
        epoch: row.epoch,
        ledger: row.ledger,
        mapping: row.mapping,
    }
}

/// Refuses to go on when the declaration of a table is no longer the one of expand.
pub(super) fn unchanged(
    client: &mut impl GenericClient,
    context: &Context,
    row: &Row,
) -> Result<()> {
    for (table, expected) in context.role.tables.iter().zip(&row.declarations) {
        let found = catalog::declaration(client, &TableName::parse(&table.name))?;
        if found.as_ref() != Some(expected) {
            return Err(altered(context.role.side, &table.name, found.is_some()));
        }
    }
    published(client, context)
}

/// The tables that are published with every row and every kind of write.
pub(super) const PUBLISHED: &str = "select n.nspname::text, c.relname::text from pg_publication p
   join pg_publication_rel r on r.prpubid = p.oid
   join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
   where p.pubname = $1 and p.pubinsert and p.pubupdate and p.pubdelete
     and p.pubtruncate and to_jsonb(r) ->> 'prqual' is null";

/// Refuses to go on when a table is no longer in the publication with every row and every kind of
/// write: one that was dropped and made again is not.
pub(super) fn published(client: &mut impl GenericClient, context: &Context) -> Result<()> {
    published_by(client, context, PUBLISHED)
}

/// The same, by [`PUBLISHED`] as a statement that was prepared.
pub(super) fn published_by(
    client: &mut impl GenericClient,
    context: &Context,
    statement: &(impl ToStatement + ?Sized),
) -> Result<()> {
    let rows = client.query(statement, &[&context.names.slot]);
    let rows = rows.map_err(failure)?;
    let quoted = |row: &postgres::Row| {
        let (schema, name) = (row.get(0), row.get(1));
        TableName { schema, name }.quoted()
    };
    let published: Vec<String> = rows.iter().map(quoted).collect();
    for table in &context.role.tables {
        if !published.contains(&TableName::parse(&table.name).quoted()) {
            let message = format!("table `{}` is no longer published whole", table.name);
            return Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
                .at(context.role.side)
                .detail("It was dropped, renamed or left out: its writes may be missing.")
                .hint("`contraflow abort`, then plan anew."));
        }
    }
    Ok(())
}

/// In which files the server keeps the tables of a role, in their order: it writes a table anew
/// into another.
pub(super) type Files = Vec<Option<u32>>;

/// Refuses to go on when the server has written a table anew since this process looked first: what
/// `alter table .. using` makes of rows leaves no word in the log. Says so once; whoever goes on
/// then has heard it.
pub(super) fn kept(client: &mut impl GenericClient, context: &Context) -> Result<()> {
    let tables = context.role.tables.iter();
    let names: Vec<String> = tables.map(|t| TableName::parse(&t.name).quoted()).collect();
    let rows = client
        .query(
            "select pg_relation_filenode(to_regclass(t.name))
             from unnest($1::text[]) with ordinality as t (name, n) order by t.n",
            &[&names],
        )
        .map_err(failure)?;
    let now: Files = rows.iter().map(|row| row.get(0)).collect();
    let mut files = context
        .shared
        .files
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let before = files.replace(now.clone()).unwrap_or_else(|| now.clone());
    drop(files);
    let Some(place) = (0..now.len()).find(|&i| before.get(i) != now.get(i)) else {
        return Ok(());
    };
    let message = format!(
        "table `{}` was written anew",
        context.role.tables[place].name
    );
    Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
        .at(context.role.side)
        .detail(
            "`vacuum full` leaves rows as they were; `alter table .. using` may not, and the log \
             does not tell.",
        )
        .hint(
            "`contraflow resume`; where rows may have changed, then `verify`: `repair` carries \
             single keys, an update of the table by itself carries all of them.",
        ))
}

/// Whether anything lies beside rows of a pair; most changes need nothing at all.
pub(super) fn has_complements(
    client: &mut impl GenericClient,
    names: &Names,
    pair: u16,
) -> Result<bool> {
    client
        .query_one(
            "select exists (select from contraflow.complement
             where change = $1 and side = $2 and pair = $3)",
            &[&names.change, &names.side, &i32::from(pair)],
        )
        .map(|row| row.get(0))
        .map_err(failure)
}
