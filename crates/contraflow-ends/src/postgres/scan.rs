//! Bulk reading in key order, and rows by key, behind the visibility barrier.
//!
//! `since` is what the feed had handed out when the read was asked for: the barrier has made all of
//! it visible. `until` is the place of a message that is written into the log after the read:
//! whatever the read shows was committed before it.

use std::collections::HashMap;

use contraflow_core::digest::Digest;
use contraflow_core::end::{Chunk, Lookup, Most, Scan, Span, Summary};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::value::Value;
use postgres::Client;

use super::catalog::Layout;
use super::connection::failure;
use super::names::literal;
use super::place::{Place, parse_lsn};
use super::wire::{Found, Purpose, Wire, malformed};
use super::{Context, bookkeeping, connection, rows, visible};

/// Waits for our own disk and for no standby.
const TO_DISK: &str = "set local synchronous_commit = local";
/// By how much a page may grow beyond the one before it.
const GROWTH: u64 = 4;
/// The largest limit that the server can count to.
const LIMIT_MAX: u64 = i64::MAX as u64;

pub(super) struct KeyScan {
    context: Context,
    session: Option<Session>,
}

struct Session {
    client: Client,
    /// Before this number a transaction may be older than the slot; `None` without a slot.
    slot_from: Option<u64>,
    layouts: HashMap<PairId, Layout>,
    /// Where rows are read, while there is no query that was given up.
    wire: Option<Wire>,
    /// Bytes of a row, as the last read has seen them.
    weights: HashMap<PairId, u64>,
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
                wire: None,
                weights: HashMap::new(),
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
        let until = if !followed {
            written(&mut session.client)?
        } else if let Some(mut wire) = session.wire.take() {
            let place = mark_and_go_on(&mut wire, &context)?;
            session.wire = Some(wire);
            place
        } else {
            mark(&mut session.client, &context)?
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
    tx.batch_execute(TO_DISK).map_err(failure)?;
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

/// The same, without waiting for the disk: whoever waits for the place waits for the feed.
fn mark_and_go_on(wire: &mut Wire, context: &Context) -> Result<Place> {
    let slot = literal(&context.names.slot);
    let emit = format!("select pg_logical_emit_message(true, 'contraflow', {slot})::text");
    let lsn = wire.transact(&[TO_DISK, &emit])?;
    Ok(Place::at(parse_lsn(&lsn).unwrap_or(0)))
}

/// Where the log ends: behind every commit that is visible.
fn written(client: &mut Client) -> Result<Place> {
    let row = client
        .query_one("select pg_current_wal_insert_lsn()::text", &[])
        .map_err(failure)?;
    Ok(Place::at(parse_lsn(row.get(0)).unwrap_or(0)))
}

impl Scan for KeyScan {
    fn read(&mut self, span: &Span, most: Most, received: &Position) -> Result<Chunk> {
        let ((rows, bytes, cut), since, until) = self.between(received, |session, context| {
            read(session, context, span, most)
        })?;
        Ok(Chunk {
            unreadable: Vec::new(),
            cut,
            rows,
            since,
            until,
            bytes,
        })
    }

    fn digest(
        &mut self,
        span: &Span,
        fields: &[usize],
        rows: u64,
        received: &Position,
    ) -> Result<Option<Summary>> {
        let (found, _, until) = self.between(received, |session, context| {
            summarize(session, context, span, fields, rows)
        })?;
        Ok(found.map(|(digest, cut)| Summary { cut, digest, until }))
    }
}

/// The digest of rows, and the key through which they reach when others may follow.
fn summarize(
    session: &mut Session,
    context: &Context,
    span: &Span,
    fields: &[usize],
    rows: u64,
) -> Result<Option<(Digest, Option<Key>)>> {
    let layout = session.layout(context, span.pair)?;
    if !layout.orders_alike() {
        return Ok(None);
    }
    let mut span = span.clone();
    let cut = boundary(&mut session.client, &layout, &span, rows)?;
    span.through = cut.clone().or(span.through);
    let list: Vec<String> = fields.iter().map(|&i| layout.bare(i, "t.")).collect();
    let sql = format!(
        "select count(*), coalesce(sum(hashtextextended(r.r, 0)), 0)::text,
           coalesce(bit_xor(hashtextextended(r.r, 1)), 0)
         from (select row({})::text as r from {} t{}) r",
        list.join(", "),
        layout.name.quoted(),
        bounds(&layout, &span),
    );
    let texts = bound_texts(&layout, &span);
    let row = session.client.query_one(&sql, &rows::scalars(&texts));
    let row = row.map_err(failure)?;
    let sum: i128 = row.get::<_, &str>(1).parse().map_err(|_| malformed())?;
    let digest = Digest {
        count: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
        sum: sum.cast_unsigned(),
        xor: u128::from(row.get::<_, i64>(2).cast_unsigned()),
    };
    Ok(Some((digest, cut)))
}

/// The key of the row so many rows into a span; `None` when it has fewer.
fn boundary(client: &mut Client, layout: &Layout, span: &Span, rows: u64) -> Result<Option<Key>> {
    let shown: Vec<String> = layout.key.iter().map(|&i| layout.shown(i, "t.")).collect();
    let sql = format!(
        "select {} from {} t{} order by {} limit 1 offset {}",
        shown.join(", "),
        layout.name.quoted(),
        bounds(layout, span),
        layout.key_list("t."),
        rows.saturating_sub(1).min(LIMIT_MAX),
    );
    let texts = bound_texts(layout, span);
    let found = client
        .query_opt(&sql, &rows::scalars(&texts))
        .map_err(failure)?;
    Ok(found.map(|row| {
        let value = |(n, &place): (usize, &usize)| {
            let text: Option<&str> = row.get(n);
            text.map_or(Value::Null, |text| layout.value(place, text))
        };
        Key(layout.key.iter().enumerate().map(value).collect())
    }))
}

type Rows = (Vec<(Key, Image)>, u64, Option<Key>);

fn read(session: &mut Session, context: &Context, span: &Span, most: Most) -> Result<Rows> {
    let pair = span.pair;
    let layout = session.layout(context, pair)?;
    let beside = session.slot_from.is_some()
        && bookkeeping::has_complements(&mut session.client, &context.names, pair.0)?;
    let keys = layout.key_list("t.");
    let mut sql = rows::select(&layout, &context.names, pair.0, beside, Layout::bare);
    sql.push_str(&bounds(&layout, span));
    // One more than is taken: whether others follow.
    let limit = most.rows.saturating_add(1).min(LIMIT_MAX);
    sql.push_str(&format!(" order by {keys} limit {limit}"));
    let texts = bound_texts(&layout, span);
    let mut page = Page::new(limit, most, session.weights.get(&pair).copied());
    let mut wire = match session.wire.take() {
        Some(wire) => wire,
        None => Wire::connect(&context.target, Purpose::Scan)?,
    };
    let mut forms = layout.forms();
    // What lies beside is the last column.
    forms.extend(beside.then_some(false));
    wire.select(&sql, &texts, &forms, page.rows)?;
    let (mut bytes, mut cut) = (0, None);
    let mut images = Vec::with_capacity(usize::try_from(page.rows).unwrap_or(0));
    loop {
        match wire.found()? {
            Found::Row(row) => {
                let (image, size) = rows::image(row, &layout)?;
                bytes += size;
                page.take();
                let full = images.len() as u64 >= most.rows || bytes > most.bytes;
                if full && !images.is_empty() {
                    cut = images.last().map(|(key, _): &(Key, Image)| key.clone());
                    break;
                }
                images.push((rows::key_of(&layout, &image.row), image));
            }
            Found::Page if page.is_enough(bytes, most) => {
                cut = images.last().map(|(key, _): &(Key, Image)| key.clone());
                break;
            }
            Found::Page => wire.more(page.next(bytes, most))?,
            Found::End => break,
        }
    }
    if let Some(weight) = bytes.checked_div(images.len() as u64) {
        session.weights.insert(pair, weight);
    }
    // Rows that were asked for and are not wanted may be huge: the server is spared sending them.
    if cut.is_none() || page.left <= 0 {
        wire.finish()?;
        session.wire = Some(wire);
    }
    Ok((images, bytes, cut))
}

/// How many rows are asked for at once: as many as fit, by what rows have weighed so far.
struct Page {
    rows: i32,
    /// Rows of it that have not come yet.
    left: i32,
    /// Rows that have come, of all pages, and that may.
    taken: u64,
    limit: u64,
}

impl Page {
    /// The first: one row when nobody knows how large they are.
    fn new(limit: u64, most: Most, weight: Option<u64>) -> Page {
        let mut page = Page {
            rows: 0,
            left: 0,
            taken: 0,
            limit,
        };
        page.ask(weight.map_or(1, |weight| most.bytes / weight.max(1)));
        page
    }

    fn ask(&mut self, rows: u64) {
        let rows = rows.min(self.limit - self.taken).max(1);
        self.rows = i32::try_from(rows).unwrap_or(i32::MAX);
        self.left = self.rows;
    }

    fn take(&mut self) {
        self.taken += 1;
        self.left -= 1;
    }

    fn next(&mut self, bytes: u64, most: Most) -> i32 {
        let weight = bytes / self.taken.max(1);
        let fitting = most.bytes.saturating_sub(bytes) / weight.max(1);
        self.ask(fitting.min(u64::from(self.rows.unsigned_abs()) * GROWTH));
        self.rows
    }

    /// What is left is not worth another page.
    fn is_enough(&self, bytes: u64, most: Most) -> bool {
        bytes >= most.bytes - most.bytes / 8
    }
}

/// ` where (key) > (..) and (key) <= (..)`, as far as the span has bounds.
fn bounds(layout: &Layout, span: &Span) -> String {
    let keys = layout.key_list("t.");
    let mut sql = String::new();
    let mut next = 1;
    for (key, operator) in [(&span.after, ">"), (&span.through, "<=")] {
        if key.is_some() {
            let word = if next == 1 { "where" } else { "and" };
            sql.push_str(&format!(
                " {word} ({keys}) {operator} ({})",
                given(layout, next)
            ));
            next += layout.key.len();
        }
    }
    sql
}

/// `($n::text)::type, ..` for the key.
fn given(layout: &Layout, first: usize) -> String {
    let one = |(n, &place): (usize, &usize)| layout.read(place, &format!("${}::text", first + n));
    let all: Vec<String> = layout.key.iter().enumerate().map(one).collect();
    all.join(", ")
}

/// The texts that [`bounds`] asks for.
fn bound_texts(layout: &Layout, span: &Span) -> Vec<String> {
    let keys = [&span.after, &span.through].into_iter().flatten();
    let texts = |key: &Key| rows::key_texts(layout, key).unwrap_or_default();
    keys.flat_map(texts).collect()
}

impl Lookup for KeyScan {
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk> {
        let ((rows, bytes), since, until) = self.between(received, |session, context| {
            let layout = session.layout(context, pair)?;
            get(&mut session.client, context, &layout, pair, keys)
        })?;
        Ok(Chunk {
            unreadable: Vec::new(),
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
    let list = rows::select(layout, &context.names, pair.0, beside, Layout::shown);
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
        let (image, size) = rows::shown(row, layout, beside)?;
        bytes += size;
        let place: i64 = row.get(layout.columns.len() + usize::from(beside));
        let key = asked[usize::try_from(place).unwrap_or(0)].clone();
        images.push((key, image));
    }
    Ok((images, bytes))
}
