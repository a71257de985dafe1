//! The feed: the log of the server through a slot, transaction by transaction.
//!
//! A transaction arrives when it has been committed, whole. One that is larger than a batch is
//! handed out in parts; its place is its commit and how many of its changes have been. What was
//! handed out and is not visible to every session yet is *unproven*: the slot keeps it, so that a
//! restart receives it again and readers can wait for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start, Watched};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, PairId};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;
use postgres::{Client, Statement};

use super::catalog::Layout;
use super::changes::{Change, key_of, own_key, row_of, unreadable};
use super::connection::failure;
use super::folded::{By, Folded};
use super::names::{SCHEMA, TableName};
use super::pgoutput::{self, Message, Relation, Tuple};
use super::place::{Place, lsn_text};
use super::wire::{Purpose, Wire};
use super::{Context, bookkeeping, connection, slot};

/// A log in which nothing concerns us is passed over after so long or so much of it, so that the
/// server need not keep it.
const IDLE_MAX: Duration = Duration::from_secs(10);
const IDLE_BYTES: u64 = 16 << 20;
/// What an event weighs in the log, about: how far behind we are is known in bytes only.
const EVENT_BYTES: u64 = 300;

/// Changes that are looked at in one go.
const WATCHED_MAX: usize = 20_000;

mod gather;
mod images;
mod reports;
mod watch;

pub(super) struct LogFeed {
    context: Context,
    client: Option<Client>,
    wire: Option<Wire>,
    /// What the numbers of relations mean, as the stream has told.
    relations: HashMap<u32, Known>,
    inside: Option<Inside>,
    /// Pairs beside whose rows nothing lies, nor will as long as this end has authority.
    bare: HashSet<PairId>,
    /// Everything up to here has been handed out.
    received: Place,
    /// The server has looked through the log up to here, and we have seen all that it found.
    looked: u64,
    confirmed: u64,
    /// What was confirmed when the server was told, and when that was.
    told: (u64, Duration),
    reported: Duration,
    asked: Duration,
    /// What asks whether every table is in the log, which is asked again and again.
    published: Option<Statement>,
    /// Since when the server owes an answer.
    owed: Option<Duration>,
    moved: Duration,
    /// Only who wrote is asked for, and this is our own echo.
    watches: Option<Direction>,
    /// A table was described, as it is after whatever was done to it. Whether its rows are still
    /// those of before is asked at the next change: those of a truncated table are told to be gone.
    described: bool,
    /// Somebody waits for what was received and not handed out yet.
    awaited: bool,
    /// When the server sent the last message, by its clock, in microseconds.
    sent_us: i64,
    /// For how long what was received last had been committed when the server sent it.
    behind_us: i64,
}

/// A relation of the stream.
enum Known {
    /// A table of the role, and the place in its shape of each published column.
    Table(PairId, Layout, Vec<Option<usize>>),
    /// The table of checkpoints, and the places of change and direction.
    Lane(usize, usize),
}

/// A transaction that is being received.
struct Inside {
    commit_lsn: u64,
    changes: u64,
    ours: Option<Direction>,
    /// Somebody waits for it.
    marked: bool,
}

impl LogFeed {
    pub(super) fn new(context: Context) -> LogFeed {
        LogFeed {
            context,
            client: None,
            wire: None,
            relations: HashMap::new(),
            inside: None,
            bare: HashSet::new(),
            received: Place::default(),
            looked: 0,
            confirmed: 0,
            told: (0, Duration::ZERO),
            reported: Duration::ZERO,
            asked: Duration::ZERO,
            published: None,
            owed: None,
            moved: Duration::ZERO,
            watches: None,
            described: false,
            awaited: false,
            sent_us: 0,
            behind_us: 0,
        }
    }

    fn client(&mut self) -> Result<&mut Client> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = Some(connection::connect(&self.context.target)?);
            self.published = None;
        }
        Ok(self.client.as_mut().expect("connected above"))
    }

    fn published(&mut self) -> Result<Statement> {
        self.client()?;
        if let Some(published) = &self.published {
            return Ok(published.clone());
        }
        let prepared = self.client()?.prepare(bookkeeping::PUBLISHED);
        Ok(self.published.insert(prepared.map_err(failure)?).clone())
    }

    /// Opens the stream where the slot is: what was handed out before is received again, and
    /// skipped, so that what it still hides is known.
    fn stream(&mut self) -> Result<()> {
        if self.wire.is_some() {
            return Ok(());
        }
        self.relations.clear();
        self.inside = None;
        self.owed = None;
        // What a broken stream had shown and nobody was handed comes again.
        self.looked = self.received.lsn;
        let slot = self.context.names.slot.clone();
        let context = self.context.clone();
        let received = self.received.lsn;
        let client = self.client()?;
        slot::free(client, &context)?;
        // Whatever happened while nobody was connected: it must still be the same slot.
        let row = bookkeeping::carried(client, &context.names)?;
        let confirmed = slot::place(client, &context, &row)?;
        if received < confirmed {
            return Err(slot::lost(&context, "has passed what was received"));
        }
        let mut wire = Wire::connect(&self.context.target, Purpose::Feed)?;
        wire.start(&slot, "0/0", self.watches.is_some())?;
        self.wire = Some(wire);
        Ok(())
    }

    /// The stream has reached a place: behind what was received, nothing is missing any more.
    fn passed_again(&self, lsn: u64) {
        if lsn >= self.received.lsn {
            self.context.shared.unproven.complete();
        }
    }

    /// Takes one message. Says the place behind it when somebody may wait for it.
    fn message(&mut self, body: &[u8], folded: &mut Folded) -> Result<Option<Place>> {
        if let Some(echo) = self.watches
            && let Some(place) = self.watched(body, echo, folded)?
        {
            return Ok(place);
        }
        match pgoutput::parse(body).ok_or_else(unreadable)? {
            Message::Begin {
                commit_lsn,
                committed_us,
                xid,
            } => {
                self.behind_us = self.sent_us.saturating_sub(committed_us);
                self.begin(commit_lsn, xid);
            }
            Message::Commit { end_lsn } => {
                let marked = self.inside.take().is_some_and(|inside| inside.marked);
                self.awaited |= marked;
                self.looked = self.looked.max(end_lsn);
                self.passed_again(end_lsn);
                let behind = Place::at(end_lsn);
                // Transactions without anything of ours are passed with the next one that has.
                let counts = behind > self.received && (marked || folded.changes > 0);
                return Ok(counts.then_some(behind));
            }
            Message::Logical { prefix, content } => {
                let ours = prefix == SCHEMA && content == self.context.names.slot.as_bytes();
                if let Some(inside) = &mut self.inside {
                    inside.marked |= ours;
                }
            }
            Message::Relation(relation) => {
                let known = self.know(&relation)?;
                self.relations.insert(relation.id, known);
            }
            Message::Origin(name) => {
                let names = &self.context.names;
                let mut directions = Direction::BOTH.into_iter();
                let ours = directions.find(|it| names.origin(it.name()) == name);
                if let Some(inside) = &mut self.inside {
                    inside.ours = ours;
                }
            }
            Message::Type => {}
            Message::Truncate(ids) => {
                for id in ids {
                    if let Some(Known::Table(pair, ..)) = self.relations.get(&id) {
                        return Err(truncated(&self.context, *pair));
                    }
                }
            }
            Message::Insert { relation, new } => {
                return self.change(relation, &Change::Insert(new), folded);
            }
            Message::Update { relation, old, new } => {
                return self.change(relation, &Change::Update(old, new), folded);
            }
            Message::Delete { relation, old } => {
                return self.change(relation, &Change::Delete(old), folded);
            }
        }
        Ok(None)
    }

    /// A transaction begins.
    fn begin(&mut self, commit_lsn: u64, xid: u32) {
        self.context.shared.unproven.receive(commit_lsn, xid);
        // Commits arrive in their order.
        self.passed_again(commit_lsn);
        self.inside = Some(Inside {
            commit_lsn,
            changes: 0,
            ours: None,
            marked: false,
        });
    }

    /// What the number of a relation means from now on. A relation is told again after it was
    /// altered.
    fn know(&mut self, relation: &Relation<'_>) -> Result<Known> {
        let at = |wanted: &str| {
            relation
                .columns
                .iter()
                .position(|(name, _)| *name == wanted)
        };
        if relation.schema == SCHEMA && relation.name == "lane" {
            return Ok(match (at("change"), at("direction")) {
                (Some(change), Some(direction)) => Known::Lane(change, direction),
                _ => return Err(unreadable()),
            });
        }
        let context = self.context.clone();
        let is = |name: &TableName| name.schema == relation.schema && name.name == relation.name;
        let mut pairs = context.role.pairs();
        let Some((pair, table)) = pairs.find(|(_, table)| is(&TableName::parse(&table.name)))
        else {
            // We published our tables and nothing else.
            let table = format!("{}.{}", relation.schema, relation.name);
            let message =
                format!("the log has writes of `{table}`, which is no table of the change");
            return Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
                .at(context.role.side)
                .detail("One of its tables was renamed, or the publication was altered.")
                .hint(
                    "Undo it and run `contraflow resume`, or `contraflow abort` and plan anew.",
                ));
        };
        let client = self.client()?;
        let row = bookkeeping::carried(client, &context.names)?;
        bookkeeping::unchanged(client, &context, &row)?;
        let layout = Layout::of(client, table)?;
        let place = |name: &str| layout.columns.iter().position(|column| column.name == name);
        let places: Vec<Option<usize>> = relation
            .columns
            .iter()
            .map(|(name, _)| place(name))
            .collect();
        if let Some(missing) = (0..layout.columns.len()).find(|i| !places.contains(&Some(*i))) {
            let name = &layout.columns[missing].name;
            let message = format!("column `{name}` of `{}` is not published", table.name);
            return Err(Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
                .at(context.role.side)
                .detail("Nothing was carried without it.")
                .hint("Publish all columns again, then `contraflow resume`."));
        }
        self.described = true;
        Ok(Known::Table(pair, layout, places))
    }

    /// The place behind one more change of the transaction. Where a table was described since the
    /// one before, its rows must still be those that they were.
    fn next_place(&mut self) -> Result<Place> {
        if std::mem::take(&mut self.described) {
            let context = self.context.clone();
            bookkeeping::kept(self.client()?, &context)?;
        }
        let inside = self.inside.as_mut().ok_or_else(unreadable)?;
        inside.changes += 1;
        Ok(Place {
            lsn: inside.commit_lsn,
            changes: inside.changes,
        })
    }

    /// Takes a change of a row. Says the place behind it.
    fn change(
        &mut self,
        relation: u32,
        change: &Change<'_>,
        folded: &mut Folded,
    ) -> Result<Option<Place>> {
        let place = self.next_place()?;
        let inside = self.inside.as_mut().ok_or_else(unreadable)?;
        let (pair, layout, places) = match self.relations.get(&relation) {
            Some(Known::Table(pair, layout, places)) => (*pair, layout, places),
            Some(Known::Lane(name, direction)) => {
                // The first change of every transaction that we write.
                if inside.changes == 1 && inside.ours.is_none() {
                    let places = (*name, *direction);
                    inside.ours = change.lane(places, &self.context.names.change);
                }
                return Ok(None);
            }
            None => return Err(unreadable()),
        };
        if place <= self.received {
            return Ok(None);
        }
        let by = By {
            place,
            ours: inside.ours,
        };
        folded.bytes += change.bytes();
        if inside.ours.is_some() {
            // Whoever made it needs no image.
            folded.delete(
                pair,
                own_key(&self.context, pair, layout, places, change)?,
                by,
            );
            return Ok(Some(place));
        }
        let read = |tuple: &Tuple<'_>| row_of(layout, places, tuple);
        let key = |row: &[Option<Value>]| key_of(&self.context, pair, layout, row);
        match change {
            Change::Insert(new) => {
                let row = read(new)?;
                folded.insert(pair, key(&row)?, row.into_iter().flatten().collect(), by);
            }
            Change::Delete(old) => folded.delete(pair, key(&read(old)?)?, by),
            Change::Update(old, new) => {
                let mut row = read(new)?;
                let old = old.as_ref().map(read).transpose()?;
                if let Some(old) = &old {
                    // A key that is stored out of line is told with the old row only.
                    for &place in &layout.key {
                        row[place] = row[place].take().or_else(|| old[place].clone());
                    }
                }
                let after = key(&row)?;
                if let Some(old) = old {
                    let before = key(&old)?;
                    if before != after {
                        folded.delete(pair, before, by);
                    }
                }
                folded.update(pair, after, row, by);
            }
        }
        Ok(Some(place))
    }

    /// Takes a batch from the stream, and says the place that it reaches.
    fn receive(&mut self, events_max: usize, folded: &mut Folded) -> Result<Place> {
        self.stream()?;
        let reached = loop {
            let gathered = self.gather(events_max.max(1), folded);
            let reached = gathered.inspect_err(|_| self.wire = None)?;
            self.keep_in_touch(reached.is_none())
                .inspect_err(|_| self.wire = None)?;
            // Whoever reads rows after this must know what to wait for.
            if reached.is_some() || self.context.shared.unproven.is_complete() {
                break reached;
            }
        };
        let through = match reached {
            // What the server has looked through since is passed for free.
            Some(place) if self.inside.is_none() => place.max(Place::at(self.looked)),
            Some(place) => place,
            None => self.idle().unwrap_or(self.received),
        };
        if through != self.received {
            self.moved = self.context.clock.elapsed();
        }
        Ok(through)
    }

    /// Passes over a log in which nothing concerned us for long.
    fn idle(&mut self) -> Option<Place> {
        let now = self.context.clock.elapsed();
        let passed = self.looked.saturating_sub(self.received.lsn);
        let long = now.saturating_sub(self.moved) >= IDLE_MAX;
        let due = self.inside.is_none() && passed > 0 && (long || passed >= IDLE_BYTES);
        due.then(|| Place::at(self.looked))
    }
}

impl Feed for LogFeed {
    fn open(&mut self, start: &Start) -> Result<()> {
        let context = self.context.clone();
        let client = self.client()?;
        let row = bookkeeping::carried(client, &context.names)?;
        bookkeeping::unchanged(client, &context, &row)?;
        let confirmed = slot::place(client, &context, &row)?;
        let newest = slot::wal_position(client)?;
        bookkeeping::kept(client, &context)?;
        let received = match start {
            Start::Earliest | Start::NotBefore(None) => Some(Place::at(confirmed)),
            Start::After(position) => Place::of(position).filter(|place| place.lsn >= confirmed),
            Start::NotBefore(Some(position)) => {
                Place::of(position).map(|place| place.max(Place::at(confirmed)))
            }
        };
        let Some(received) = received.filter(|place| place.lsn <= newest) else {
            let detail = format!(
                "The slot has what follows {}; the log ends at {}.",
                lsn_text(confirmed),
                lsn_text(newest)
            );
            return Err(slot::lost(&context, "has no such place").detail(detail));
        };
        self.wire = None;
        self.inside = None;
        self.bare.clear();
        (self.received, self.confirmed) = (received, confirmed);
        self.looked = received.lsn;
        self.moved = context.clock.elapsed();
        if received.lsn > confirmed {
            context.shared.unproven.forget();
        }
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let mut folded = Folded::default();
        let through = self.receive(events_max, &mut folded)?;
        let (events, seen) = self.events(folded, through)?;
        self.received = through;
        Ok(Batch {
            unreadable: Vec::new(),
            events,
            through: through.position(),
            seen: seen.position(),
        })
    }

    fn watch(&mut self, echo: Direction) -> Result<Watched> {
        if self.watches != Some(echo) {
            self.wire = None;
            self.watches = Some(echo);
        }
        let mut folded = Folded::default();
        self.received = self.receive(WATCHED_MAX, &mut folded)?;
        Ok(Watched {
            events: folded.changes as u64,
            foreign: folded.foreign,
            named: Vec::new(),
            through: self.received.position(),
        })
    }

    fn received(&self) -> Position {
        self.received.position()
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        let place = Place::of(through).unwrap_or_default();
        self.confirmed = self.confirmed.max(place.lsn);
        self.tell()
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let context = self.context.clone();
        // The log itself says nothing of a table that is no longer in it.
        let published = self.published()?;
        bookkeeping::published_by(self.client()?, &context, &published)?;
        let newest = slot::wal_position(self.client()?)?;
        let behind = newest.saturating_sub(self.looked.max(self.received.lsn));
        let events = if behind == 0 && self.inside.is_none() {
            0
        } else {
            behind.div_ceil(EVENT_BYTES).max(1)
        };
        Ok((Place::at(newest).position(), events))
    }
}

fn truncated(context: &Context, pair: PairId) -> Error {
    let table = &context.role.table(pair).name;
    Error::new(
        Kind::Hold,
        Code::TABLE_TRUNCATED,
        format!("table `{table}` was truncated"),
    )
    .at(context.role.side)
    .detail("The mirror still has its rows. Nothing behind the truncation was carried.")
    .hint("`contraflow abort`, then run anew; use `delete` while a change runs.")
}
