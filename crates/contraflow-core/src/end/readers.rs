//! Who still reads a log, and where they go on in the other one.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::log::Keyed;
use crate::log::translate::{Flip, Look};
use crate::record::PairId;

/// Somebody who reads a log, or has said how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How its members share what they read, in the end's own word.
    pub kind: String,
    /// What they do now, in the end's own word.
    pub state: String,
    /// How many members it has now that read these logs, or may.
    pub members: usize,
    /// False while the end does not show what its members read: they may read these logs.
    pub is_known: bool,
    /// The pairs whose log it reads, or has read.
    pub reads: Vec<PairId>,
    /// Where it goes on.
    pub next: Vec<Next>,
    /// Records between there and the end, markers included.
    pub behind: u64,
}

/// The next offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The pair.
    pub pair: PairId,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record, or of nothing before it.
    pub offset: i64,
}

/// Who may be there while it is said where a group goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nobody: the end refuses while the group has members.
    Empty,
    /// Members that read something else.
    Members,
}

/// Readers of the logs of one side.
pub trait Readers: Send {
    /// Everybody who reads now, or has said how far. Never this change's own flow.
    ///
    /// # Errors
    /// When the end cannot be asked about all of them.
    fn groups(&mut self) -> Result<Vec<Group>>;

    /// How many partitions the log of a pair has.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn partitions(&mut self, pair: PairId) -> Result<i32>;

    /// One partition, to be looked at.
    ///
    /// # Errors
    /// When the end cannot be reached.
    fn look(&mut self, pair: PairId, partition: i32) -> Result<Box<dyn Look>>;

    /// Where a partition has flipped, if the change has.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn flip(&mut self, pair: PairId, partition: i32) -> Result<Option<Flip>>;

    /// The keys of the newest records that an application wrote, about so many of all partitions
    /// together. Records without a key are left out.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn keys(&mut self, pair: PairId, most: usize) -> Result<Vec<Keyed>>;

    /// Says for a group where it goes on.
    ///
    /// # Errors
    /// [`crate::code::Code::GROUP_ACTIVE`] when it has members that must not be there.
    fn go_on(&mut self, group: &str, next: &[Next], presence: Presence) -> Result<()>;
}
