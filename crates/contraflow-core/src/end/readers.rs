//! Who still reads a log, and where they go on in the other one.

use crate::error::Result;
use crate::log::{Keyed, Place};
use crate::record::PairId;

/// Somebody who reads a log and says how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How many members it has now.
    pub members: usize,
    /// Where it goes on.
    pub next: Vec<Next>,
    /// Records between there and the end, markers included.
    pub behind: u64,
}

/// The next offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The pair.
    pub pair: PairId,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record, or of nothing before it.
    pub offset: i64,
}

/// Readers of the logs of one side.
pub trait Readers: Send {
    /// Everybody who has said how far, or reads now. Never us.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn groups(&mut self) -> Result<Vec<Group>>;

    /// The last record before an offset; `None` when there is none any more.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn last_before(&mut self, next: Next) -> Result<Option<Place>>;

    /// An offset with no record before it that lies behind a place, and none at or after it that
    /// does not.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn offset_behind(&mut self, pair: PairId, partition: i32, place: Option<Place>) -> Result<i64>;

    /// The keys of the newest records that an application wrote, about so many of all partitions
    /// together. Records without a key are left out.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn keys(&mut self, pair: PairId, most: usize) -> Result<Vec<Keyed>>;

    /// Says for a group without members where it goes on.
    ///
    /// # Errors
    /// [`crate::code::Code::END_BUSY`] when it has members.
    fn go_on(&mut self, group: &str, next: &[Next]) -> Result<()>;
}
