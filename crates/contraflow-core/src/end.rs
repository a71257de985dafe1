//! The traits that a place where data lives implements.
//!
//! An [`End`] hands out **faces**: objects that own a connection each and do one job. The engine
//! asks for the faces it needs; a face that an engine cannot have is `None`, known at plan time.
//! Calls block. An end whose driver needs a runtime keeps one inside: see
//! `docs/decisions/blocking-traits.md`.

mod late;
mod letter;
mod readers;
mod role;
mod structure;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lease::{Epoch, LaneId, Lease, Standing};
use crate::log::{Place, Room};
use crate::position::Position;
use crate::preflight::Looked;
use crate::record::{Batch, Event, Image, Key, Origin, PairId, Record, Row};
use crate::side::Direction;

pub use late::{Late, LeftOut};
pub use letter::{Letter, StoredLetter};
pub use readers::{Group, Next, Presence, Readers};
pub use role::{Inspected, Role, Table};
pub use structure::{Demands, Remove, Step, Structure, User};

/// A place where data lives, and its driver.
pub trait End: Send + Sync {
    /// Where it is, for people. Never a secret.
    fn address(&self) -> String;

    /// The engine's name: ends with the same name understand each other's native values.
    fn engine(&self) -> &'static str;

    /// The shape of a table as the engine declares it, or `None` when it is not there. `key` names
    /// the fields of the key.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn inspect(&self, table: &str, key: &[String]) -> Result<Option<Inspected>>;

    /// Puts into a row of a table what the end stores where the row says nothing. Needed of ends
    /// that are logs: of tables, fields that say nothing are not compared.
    fn complete(&self, _table: &str, _row: &mut Row) {}

    /// Looks at everything that could stand in the way of the role, without side effects.
    ///
    /// # Errors
    /// When the end cannot be reached at all.
    fn check(&self, role: &Role) -> Result<Vec<Looked>>;

    /// How long ago the oldest record of a log was written, in milliseconds, as its timestamp says.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn oldest_age_ms(&self, _log: &str) -> Result<Option<u64>> {
        Ok(None)
    }

    /// The command that makes a log with room for what another one holds, of an end whose logs the
    /// change does not make itself.
    fn creation(&self, _log: &str, _like: &Room) -> Option<String> {
        None
    }

    /// Whether a feed at `at` has passed `goal`.
    fn reached(&self, at: &Position, goal: &Position) -> bool;

    /// Everything up to a position, but of a log's partition nothing from this place on. Only logs
    /// have places.
    fn short_of(&self, at: &Position, _pair: PairId, _place: Place) -> Position {
        at.clone()
    }

    /// How many lanes a direction to this end has.
    fn lanes(&self) -> u16 {
        1
    }

    /// The lane that carries a key to this end, or away from it.
    fn lane(&self, _pair: PairId, _key: &Key) -> LaneId {
        LaneId(0)
    }

    /// Everything up to either of two positions, each of which may be ahead in a part of the feed.
    fn furthest(&self, a: &Position, b: &Position) -> Position {
        if self.reached(a, b) {
            a.clone()
        } else {
            b.clone()
        }
    }

    /// Ordered changes.
    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>>;
    /// Bulk reading.
    fn scan(&self, role: &Arc<Role>) -> Option<Box<dyn Scan>>;
    /// The only writer of rows.
    fn apply(&self, role: &Arc<Role>) -> Option<Box<dyn Apply>>;
    /// Rows by key.
    fn lookup(&self, role: &Arc<Role>) -> Option<Box<dyn Lookup>>;
    /// Tables.
    fn structure(&self, role: &Arc<Role>) -> Option<Box<dyn Structure>>;
    /// What came to the other end after it had lost authority, where it cannot refuse writers.
    fn late(&self, _role: &Arc<Role>) -> Option<Box<dyn Late>> {
        None
    }
    /// Who reads, where that is known.
    fn readers(&self, _role: &Arc<Role>) -> Option<Box<dyn Readers>> {
        None
    }
    /// Authority.
    fn switch(&self, role: &Arc<Role>) -> Option<Box<dyn Switch>>;
}

/// Where a feed starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// Right after this position.
    After(Position),
    /// At the oldest change that the end still has.
    Earliest,
    /// Behind this position or at the oldest change, or where an earlier look that confirmed more
    /// has ended: for whoever only looks on, and has nothing to carry.
    NotBefore(Option<Position>),
}

/// Events that a feed hands to whoever only looks on, at most.
const WATCHED_MAX: usize = 4_000;

/// What somebody who only looks on has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Events.
    pub events: u64,
    /// Those that are no echo of the flow in question.
    pub foreign: u64,
    /// The first of them by name, where the end has names for them that show no value.
    pub named: Vec<String>,
    /// Everything up to here was looked at.
    pub through: Position,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a lane carries.
    Lane(LaneId),
    /// Some partitions of some pairs.
    Partitions(BTreeSet<(PairId, i32)>),
}

/// Ordered changes of one end, all tables of the role in one order.
pub trait Feed: Send {
    /// Keeps to a part of the end's log, if this is said before it is opened: of everything else it
    /// hands out nothing, and its positions stay where they were. Feeds of ends without parts carry
    /// all.
    fn keep_to(&mut self, _part: Part) {}

    /// Connects and goes to the start.
    ///
    /// # Errors
    /// [`crate::code::Code::FEED_LOST`] when the end no longer has what follows the start.
    fn open(&mut self, start: &Start) -> Result<()>;

    /// The next events, at most about `events_max` of them; an empty batch when there are none
    /// now. Gap-free and in commit order from the start on.
    ///
    /// # Errors
    /// A hold when going on could miss a change.
    fn next(&mut self, events_max: usize) -> Result<Batch>;

    /// Looks at what has come since and says who wrote it, for whoever carries nothing. A feed that
    /// is watched is not read.
    ///
    /// # Errors
    /// As for [`Feed::next`].
    fn watch(&mut self, echo: Direction) -> Result<Watched> {
        let batch = self.next(WATCHED_MAX)?;
        let foreign = |event: &&Event| event.origin != Origin::Flow(echo);
        Ok(Watched {
            events: batch.events.len() as u64,
            foreign: batch.events.iter().filter(foreign).count() as u64,
            named: Vec::new(),
            through: batch.through,
        })
    }

    /// Whether the oldest events of a partition were gone when the feed was opened. Feeds without
    /// partitions, or without an end of their memory, have nothing to say.
    fn has_forgotten(&self, _pair: PairId, _partition: i32) -> bool {
        false
    }

    /// Does not read what these late records hold either, beside those that were given up: their
    /// events have no image. See [`Late`].
    fn leave_out(&mut self, _left_out: &LeftOut) {}

    /// Whether a record was given up or is left out.
    fn leaves_out(&self, _pair: PairId, _place: Place) -> bool {
        false
    }

    /// Whether the log of a pair may keep no more than the newest event of each key. Feeds whose
    /// events are kept until they are confirmed never do.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn compacts(&mut self, _pair: PairId) -> Result<bool> {
        Ok(false)
    }

    /// Everything up to here has been handed out by [`Feed::next`] or seen by [`Feed::watch`].
    fn received(&self) -> Position;

    /// Everything up to here is durable in the target; the end may forget it.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn confirm(&mut self, through: &Position) -> Result<()>;

    /// The newest position the end has, and how many events lie between it and `received`.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn head(&mut self) -> Result<(Position, u64)>;
}

/// One key range of a pair that was read and is carried, in the end's own order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The pair.
    pub pair: PairId,
    /// Counts the ranges of a pair from 0.
    pub ordinal: u64,
    /// Starts after this key, or at the first one.
    pub after: Option<Key>,
    /// Ends with this key, or with the last one there is.
    pub through: Option<Key>,
}

/// Rows, and which events they already show.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The key through which the rows reach when others may follow.
    pub cut: Option<Key>,
    /// Keys and rows in the end's order.
    pub rows: Vec<(Key, Image)>,
    /// Rows that are there and cannot be read.
    pub unreadable: Vec<Letter>,
    /// Every event up to here is visible in the rows.
    pub since: Position,
    /// No event after here is visible in the rows.
    pub until: Position,
    /// Size of the rows, in bytes, about.
    pub bytes: u64,
}

/// Bulk reading in key order.
pub trait Scan: Send {
    /// Reads the first rows of a span. `received` is what the feed had handed out when the read was
    /// asked for: all of it is visible in the chunk (`since` is at or after it).
    ///
    /// # Errors
    /// When the end cannot be reached. Never fewer rows than there are without a `cut`.
    fn read(&mut self, span: &Span, most: Most, received: &Position) -> Result<Chunk>;

    /// The digest of the first rows of a span, by these fields in this order, computed where the
    /// rows are. Two ends of one engine that answer give the same for the same rows, whatever the
    /// fields are called, and have their keys in the same order. `None` when the end cannot say.
    ///
    /// # Errors
    /// As for [`Scan::read`], with the same promise about what is visible.
    fn digest(
        &mut self,
        span: &Span,
        fields: &[usize],
        rows: u64,
        received: &Position,
    ) -> Result<Option<Summary>> {
        let _: (&Span, &[usize], u64, &Position) = (span, fields, rows, received);
        Ok(None)
    }
}

/// Rows of a pair between two keys, in the end's own order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The pair.
    pub pair: PairId,
    /// Starts after this key, or at the first one.
    pub after: Option<Key>,
    /// Ends with this key, or with the last one there is.
    pub through: Option<Key>,
}

impl Span {
    /// All rows of a pair.
    #[must_use]
    pub fn whole(pair: PairId) -> Span {
        Span {
            pair,
            after: None,
            through: None,
        }
    }
}

/// What an end says of rows without handing them out.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The key through which the rows reach when others of the span may follow.
    pub cut: Option<Key>,
    /// Their digest.
    pub digest: Digest,
    /// No event after here is visible in it.
    pub until: Position,
}

/// How much one read takes at most: one row at least, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Rows.
    pub rows: u64,
    /// Their bytes, about.
    pub bytes: u64,
}

/// Rows by key, with the same promise about visibility as [`Scan::read`].
pub trait Lookup: Send {
    /// The rows under the keys, in the order of the keys; keys without a row are left out.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk>;
}

/// What a transaction of the target achieves besides its records.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// The feed has been applied through this position.
    Advance {
        /// The new checkpoint.
        through: &'a Position,
        /// What the images show.
        seen: &'a Position,
    },
    /// A range of the backfill is done. Refused when it was done before.
    Chunk {
        /// The range.
        range: &'a Range,
        /// What the rows show.
        seen: &'a Position,
    },
    /// Single keys are carried again: a repair or the replay of letters.
    Keys {
        /// What the rows show.
        seen: &'a Position,
    },
}

/// What one [`Apply::apply`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records written or deleted.
    pub records: u64,
    /// Letters written, those for conflicts found while writing included.
    pub letters: u64,
    /// For how long other writers of the target had to wait.
    pub held: Duration,
    /// Records that this end cannot take alone. Nothing of the call was written then, and the lease
    /// is as it was: without them, or with them as letters, it may be done again.
    pub refused: Vec<Letter>,
}

/// Where a claimed lane goes on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The checkpoint, or `None` when nothing was ever applied in this direction.
    pub position: Option<Position>,
    /// For each pair the last range done; `through: None` in it says that the pair is done.
    pub chunks: Vec<(PairId, Option<Range>)>,
}

/// How often a record may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Records and progress commit together: once.
    Atomic,
    /// Records may be written again and are recognised.
    Deduplicated,
}

/// The only writer of rows.
pub trait Apply: Send {
    /// Claims a lane: every earlier lease of it is void from now on.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCED`] when the end is not the mirror in this direction.
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)>;

    /// Writes records, letters and progress in one transaction of the target; returns when it is
    /// durable. A range of history that is not the last of its pair may become so later, with the
    /// next transaction of another kind: lost, it is lost with its mark, and read again.
    ///
    /// A letter of a key whose record was written is resolved in the same transaction. A record
    /// that conflicts with another row becomes a letter with `retry_after` = seen; the row it
    /// conflicts with stays.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCED`] when the lease is void. After any error nothing was written,
    /// or, when the answer was lost, all of it was and the lease is void.
    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied>;

    /// How far all lanes of a direction are, without claiming one; `None` when nothing was applied
    /// in it yet.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>>;

    /// The letters that stand, of both directions; once a lane was claimed, those that it is to
    /// carry.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn letters(&mut self) -> Result<Vec<StoredLetter>>;

    /// How often a record may take effect.
    fn guarantee(&self) -> Guarantee;
}

/// A number generator of a table, to be carried over at a flip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The pair whose table uses it.
    pub pair: PairId,
    /// The last number given out.
    pub last: i64,
}

/// Authority. Every step is compare-and-set in the end itself.
pub trait Switch: Send {
    /// What the end says of itself; `None` when it does not carry the change.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn standing(&mut self) -> Result<Option<Standing>>;

    /// Refuses application writes until `limit` has passed by the end's own clock, and says the
    /// position in its feed behind which no application write lies.
    ///
    /// # Errors
    /// When the end is not open in this epoch.
    fn fence(&mut self, epoch: Epoch, limit: Duration) -> Result<Position>;

    /// Makes the fence permanent under the next epoch, and lets the flow that will run the other
    /// way start at `reverse_from`, the head of the gaining end.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCE_EXPIRED`] when the fence has ended or writes lie behind
    /// `drained`.
    fn seal(&mut self, epoch: Epoch, drained: &Position, reverse_from: &Position) -> Result<()>;

    /// Does of [`flip`](Switch::flip) whatever may have to wait, so that it waits before the losing
    /// end is sealed and not after. What it holds ends by itself after `limit`. Ends where a flip
    /// waits for nobody have nothing to do.
    ///
    /// # Errors
    /// When the end is not closed in the epoch before, or somebody keeps it from being opened.
    fn prepare(&mut self, _epoch: Epoch, _numbers: &[Sequence], _limit: Duration) -> Result<()> {
        Ok(())
    }

    /// Opens a closed end under `epoch`, retires the lanes that wrote it and carries number
    /// generators over. This commit alone decides a turn.
    ///
    /// # Errors
    /// When the end is not closed in the epoch before.
    fn flip(&mut self, epoch: Epoch, sequences: &[Sequence]) -> Result<()>;

    /// Ends a fence early: open in the same epoch. Does nothing when it has ended. What was said of
    /// writers by [`writers_stopped`](Switch::writers_stopped) is void: they may go on.
    ///
    /// # Errors
    /// When the end was sealed.
    fn lift(&mut self, epoch: Epoch) -> Result<()>;

    /// The number generators of the tables.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn sequences(&mut self) -> Result<Vec<Sequence>>;

    /// Somebody says that the writers of this end have stopped. Ends that refuse writers themselves
    /// need not be told.
    ///
    /// # Errors
    /// When the end is not open, or cannot be written.
    fn writers_stopped(&mut self) -> Result<()> {
        Ok(())
    }

    /// How much speaks against all writers of this end having stopped, once nothing was written
    /// for so long; `None` when it cannot be found out. Waits for that time to pass if it must.
    /// Ends that refuse writers themselves have nothing to find out.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn writers(&mut self, _quiet: Duration) -> Result<Option<u64>> {
        Ok(Some(0))
    }

    /// Hands the change over to another ledger.
    ///
    /// # Errors
    /// When the end does not carry the change.
    fn adopt(&mut self, ledger: &str) -> Result<()>;
}

/// The error of a lease that another process has voided.
#[must_use]
pub fn fenced(what: &str) -> Error {
    let kind = crate::error::Kind::Fenced;
    Error::new(
        kind,
        crate::code::Code::FENCED,
        format!("overtaken by another process: {what}"),
    )
}
