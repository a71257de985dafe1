//! What could not be carried.

use crate::position::Position;
use crate::record::{Key, PairId};
use crate::side::Direction;

/// A row that could not be mapped or applied, kept in the target until it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The pair.
    pub pair: PairId,
    /// The key in the source's form; it is blocked while the letter stands.
    pub source_key: Key,
    /// Why, as a code.
    pub code: crate::code::Code,
    /// Why, in words. Names fields, never values.
    pub reason: String,
    /// Tried again by itself when the feed has passed this position.
    pub retry_after: Option<Position>,
}

/// A letter as the target keeps it.
#[derive(Clone, Debug)]
pub struct StoredLetter {
    /// Counts letters of a side.
    pub id: u64,
    /// The direction whose flow could not carry the row.
    pub direction: Direction,
    /// The letter.
    pub letter: Letter,
    /// When it was first written, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was tried.
    pub attempts: u64,
}
