//! Bulk reading in key order, and rows by key, behind the visibility barrier.
//!
//! `since` is what the feed had handed out when the read was asked for: the barrier has made all of
//! it visible. `until` is the place of a message that is written into the log after the read:
//! whatever the read shows was committed before it.

use std::collections::HashMap;

use contraflow_core::end::{Chunk, Lookup, Range, Scan};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key, PairId};
use postgres::types::ToSql;
use postgres::{Client, Statement};

use super::catalog::Layout;
use super::connection::failure;
use super::place::{Place, parse_lsn};
use super::{Context, bookkeeping, connection, rows, visible};

/// Rows of the first page of a read: one, because nobody knows how large they are.
const PAGE_FIRST: i32 = 1;
const PAGE_MAX: i32 = 4_096;

pub(super) struct KeyScan {
    context: Context,
    session: Option<Session>,
}

struct Session {
    client: Client,
    /// Before this number a transaction may be older than the slot; `None` without a slot.
    slot_from: Option<u64>,
    layouts: HashMap<PairId, Layout>,
    statements: HashMap<String, Statement>,
}

impl Session {
    fn layout(&mut self, context: &Context, pair: PairId) -> Result<Layout> {
        if let Some(layout) = self.layouts.get(&pair) {
            return Ok(layout.clone());
        }
        let layout = Layout::of(&mut self.client, context.role.table(pair))?;
        self.layouts.insert(pair, layout.clone());
        Ok(layout)
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).map_err(failure)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl KeyScan {
    pub(super) fn new(context: Context) -> KeyScan {
        KeyScan {
            context,
            session: None,
        }
    }

    fn session(&mut self) -> Result<&mut Session> {
        if self.session.as_ref().is_none_or(|s| s.client.is_closed()) {
            let mut client = connection::connect(&self.context.target)?;
            let row = bookkeeping::row(&mut client, &self.context.names)?;
            if let Some(row) = &row {
                bookkeeping::unchanged(&mut client, &self.context, row)?;
            }
            self.session = Some(Session {
                client,
                slot_from: row.and_then(|row| row.slot).map(|slot| slot.from),
                layouts: HashMap::new(),
                statements: HashMap::new(),
            });
        }
        Ok(self.session.as_mut().expect("opened above"))
    }

    /// Runs a read between barrier and message. A read that nobody waits for in the feed needs
    /// neither, and writes nothing.
    fn between<T>(
        &mut self,
        received: &Position,
        read: impl FnOnce(&mut Session, &Context) -> Result<T>,
    ) -> Result<(T, Position, Position)> {
        let context = self.context.clone();
        let followed = !received.as_bytes().is_empty();
        let session = self.session()?;
        if followed {
            visible::barrier(
                &mut session.client,
                &context.shared.unproven,
                session.slot_from.unwrap_or(0),
                &*context.clock,
            )?;
        }
        let done = read(session, &context)?;
        let until = if followed {
            mark(&mut session.client, &context)?
        } else {
            written(&mut session.client)?
        };
        let since = Place::of(received).unwrap_or_default();
        Ok((done, since.position(), until.position()))
    }
}

/// Writes a message of this change into the log, and says where it lies. A feed that has passed it
/// has passed every commit that was visible before. It does not wait for standbys, only for the
/// log to be on disk: a feed shows nothing else.
pub(super) fn mark(client: &mut Client, context: &Context) -> Result<Place> {
    let mut tx = client.transaction().map_err(failure)?;
    tx.batch_execute("set local synchronous_commit = local")
        .map_err(failure)?;
    let row = tx
        .query_one(
            "select pg_logical_emit_message(true, 'contraflow', $1)::text",
            &[&context.names.slot],
        )
        .map_err(failure)?;
    let lsn = parse_lsn(row.get(0)).unwrap_or(0);
    tx.commit().map_err(failure)?;
    Ok(Place::at(lsn))
}

/// Where the log ends: behind every commit that is visible.
fn written(client: &mut Client) -> Result<Place> {
    let row = client
        .query_one("select pg_current_wal_insert_lsn()::text", &[])
        .map_err(failure)?;
    Ok(Place::at(parse_lsn(row.get(0)).unwrap_or(0)))
}

impl Scan for KeyScan {
    fn range(
        &mut self,
        pair: PairId,
        ordinal: u64,
        after: Option<&Key>,
        count: u64,
    ) -> Result<Range> {
        let context = self.context.clone();
        let session = self.session()?;
        let layout = session.layout(&context, pair)?;
        let keys = layout.key_list("t.");
        let bound = match after {
            Some(_) => format!(" where ({keys}) > ({})", given(&layout, 1)),
            None => String::new(),
        };
        let shown: Vec<String> = layout.key.iter().map(|&i| layout.shown(i, "t.")).collect();
        let sql = format!(
            "select {} from {} t{bound} order by {keys} limit 1 offset {}",
            shown.join(", "),
            layout.name.quoted(),
            count.saturating_sub(1),
        );
        let statement = session.prepared(&sql)?;
        let texts = bounds(&layout, [after, None]);
        let found = session
            .client
            .query_opt(&statement, &scalars(&texts))
            .map_err(failure)?;
        let through = found.map(|row| {
            let value = |(n, &place): (usize, &usize)| {
                let text: Option<&str> = row.get(n);
                text.map_or(contraflow_core::value::Value::Null, |text| {
                    layout.value(place, text)
                })
            };
            Key(layout.key.iter().enumerate().map(value).collect())
        });
        Ok(Range {
            pair,
            ordinal,
            after: after.cloned(),
            through,
        })
    }

    fn read(&mut self, range: &Range, bytes_max: u64, received: &Position) -> Result<Chunk> {
        let ((rows, bytes, cut), since, until) = self.between(received, |session, context| {
            read(session, context, range, bytes_max)
        })?;
        Ok(Chunk {
            cut,
            rows,
            since,
            until,
            bytes,
        })
    }
}

type Rows = (Vec<(Key, Image)>, u64, Option<Key>);

fn read(session: &mut Session, context: &Context, range: &Range, bytes_max: u64) -> Result<Rows> {
    let layout = session.layout(context, range.pair)?;
    let beside = session.slot_from.is_some()
        && bookkeeping::has_complements(&mut session.client, &context.names, range.pair.0)?;
    let keys = layout.key_list("t.");
    let mut conditions = Vec::new();
    let mut next = 1;
    for (key, operator) in [(&range.after, ">"), (&range.through, "<=")] {
        if key.is_some() {
            conditions.push(format!("({keys}) {operator} ({})", given(&layout, next)));
            next += layout.key.len();
        }
    }
    let mut sql = rows::select(&layout, &context.names, range.pair.0, beside);
    if !conditions.is_empty() {
        sql.push_str(&format!(" where {}", conditions.join(" and ")));
    }
    sql.push_str(&format!(" order by {keys}"));
    let statement = session.prepared(&sql)?;
    let texts = bounds(&layout, [range.after.as_ref(), range.through.as_ref()]);
    let mut tx = session
        .client
        .build_transaction()
        .isolation_level(postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .map_err(failure)?;
    let portal = tx.bind(&statement, &scalars(&texts)).map_err(failure)?;
    let (mut images, mut bytes, mut page) = (Vec::new(), 0, PAGE_FIRST);
    loop {
        let found = tx.query_portal(&portal, page).map_err(failure)?;
        let last = i32::try_from(found.len()).is_ok_and(|count| count < page);
        for row in &found {
            let (image, size) = rows::image(row, &layout, beside)?;
            bytes += size;
            if bytes > bytes_max && !images.is_empty() {
                let cut = images.last().map(|(key, _): &(Key, Image)| key.clone());
                return Ok((images, bytes, cut));
            }
            images.push((rows::key_of(&layout, &image.row), image));
        }
        if last {
            return Ok((images, bytes, None));
        }
        // So many more as fit, by what the rows have weighed so far.
        let fitting = (bytes_max - bytes.min(bytes_max)) * images.len() as u64 / bytes.max(1) + 1;
        let fitting = i32::try_from(fitting).unwrap_or(PAGE_MAX);
        page = fitting.min(page * 4).clamp(1, PAGE_MAX);
    }
}

/// `($n::text)::type, ..` for the key.
fn given(layout: &Layout, first: usize) -> String {
    let one = |(n, &place): (usize, &usize)| layout.read(place, &format!("${}::text", first + n));
    let all: Vec<String> = layout.key.iter().enumerate().map(one).collect();
    all.join(", ")
}

/// The texts of the keys that are there.
fn bounds(layout: &Layout, keys: [Option<&Key>; 2]) -> Vec<String> {
    let texts = |key: &Key| rows::key_texts(layout, key).unwrap_or_default();
    keys.into_iter().flatten().flat_map(texts).collect()
}

fn scalars(texts: &[String]) -> Vec<&(dyn ToSql + Sync)> {
    texts
        .iter()
        .map(|text| text as &(dyn ToSql + Sync))
        .collect()
}

impl Lookup for KeyScan {
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk> {
        let ((rows, bytes), since, until) = self.between(received, |session, context| {
            let layout = session.layout(context, pair)?;
            get(&mut session.client, context, &layout, pair, keys)
        })?;
        Ok(Chunk {
            cut: None,
            rows,
            since,
            until,
            bytes,
        })
    }
}

/// The rows under keys, in their order; keys that no row can have are left out.
pub(super) fn get(
    client: &mut Client,
    context: &Context,
    layout: &Layout,
    pair: PairId,
    keys: &[Key],
) -> Result<(Vec<(Key, Image)>, u64)> {
    let mut asked = Vec::with_capacity(keys.len());
    let mut texts = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(text) = rows::key_texts(layout, key) {
            asked.push(key);
            texts.push(text);
        }
    }
    if asked.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let beside = bookkeeping::row(client, &context.names)?.is_some()
        && bookkeeping::has_complements(client, &context.names, pair.0)?;
    let width = layout.key.len();
    let list = rows::select(layout, &context.names, pair.0, beside);
    let ordinal = width + 1;
    let arrays: Vec<String> = (1..=width).map(|n| format!("${n}::text[]")).collect();
    let names: Vec<String> = (0..width).map(|n| format!("k{n}")).collect();
    let sql = format!(
        "select s.*, r.n from unnest({}, ${ordinal}::bigint[]) as r({}, n)
           join lateral ({list} where {}) as s on true order by r.n",
        arrays.join(", "),
        names.join(", "),
        rows::same_key(layout),
    );
    let columns = rows::key_columns(layout, &texts);
    let numbers: Vec<i64> = (0..).take(asked.len()).collect();
    let mut params = rows::params(&columns);
    params.push(&numbers);
    let found = client.query(&sql, &params).map_err(failure)?;
    let (mut images, mut bytes) = (Vec::with_capacity(found.len()), 0);
    for row in &found {
        let (image, size) = rows::image(row, layout, beside)?;
        bytes += size;
        let place: i64 = row.get(layout.columns.len() + usize::from(beside));
        let key = asked[usize::try_from(place).unwrap_or(0)].clone();
        images.push((key, image));
    }
    Ok((images, bytes))
}
