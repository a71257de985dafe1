//! Rows, keys, events and the records that a mapping makes of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::end::Letter;
use crate::position::Position;
use crate::side::Direction;
use crate::value::Value;

/// The place of a pair in its change, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairId(pub u16);

/// The fields of one row, in the order of its pair's shape on that side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row(pub Vec<Value>);

/// The values of a pair's key fields, in the order declared. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(pub Vec<Value>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<key of {} fields>", self.0.len())
    }
}

/// What a direction could not write into the row, kept beside it.
///
/// Encoded by the mapping that made it; opaque to ends, which store it in the transaction that
/// writes the row, delete it with the row, and hand it back with the row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Complement(pub Vec<u8>);

impl Complement {
    /// True when nothing had to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row as an end holds it, with the complement that lies beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// The row.
    pub row: Row,
    /// What the row alone does not show; empty for most rows.
    pub complement: Complement,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The key was written: the event carries its image.
    Put,
    /// The key was deleted and written again within the batch: what the mirror kept of the
    /// earlier row must not survive.
    Replace,
    /// The key is gone: the event carries no image.
    Delete,
}

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A writer that knows nothing of us.
    Application,
    /// The flow of this change in that direction: an echo.
    Flow(Direction),
    /// The same, out of its turn: a letter that was tried again.
    Replay(Direction),
}

/// One change of one key at the authority.
#[derive(Clone, Debug)]
pub struct Event {
    /// The pair whose source table changed.
    pub pair: PairId,
    /// The key in the source's form.
    pub key: Key,
    /// What happened.
    pub op: Op,
    /// The whole row for [`Op::Put`] and [`Op::Replace`]; at least as new as the event.
    pub image: Option<Image>,
    /// Where in the feed this happened.
    pub position: Position,
    /// Who did it.
    pub origin: Origin,
}

/// Events of a feed, in order, that end at a transaction boundary of the source or earlier when
/// a transaction is larger than the limit.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Events in feed order, each key at most once: writers delete before they write.
    pub events: Vec<Event>,
    /// What lies among them and cannot be read, in feed order, with why.
    pub unreadable: Vec<Letter>,
    /// Applying these events reaches this position.
    pub through: Position,
    /// Every image in the batch shows the source as of this position, which may lie ahead of
    /// `through` for feeds that re-read rows.
    pub seen: Position,
}

/// What one record does to its key in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write this row under the key, whatever was there.
    Put(Image),
    /// Delete what is under the key, then write this row.
    Replace(Image),
    /// Delete what is under the key.
    Delete,
}

/// One record for the target, made by the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The pair whose target table is written.
    pub pair: PairId,
    /// The key in the target's form.
    pub key: Key,
    /// The key in the source's form: the one that letters name and block.
    pub source_key: Key,
    /// What to do.
    pub change: Change,
}
