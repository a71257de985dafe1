//! The right to write, and who has authority.
//!
//! Three numbers keep two processes from writing at once. The **epoch** counts flips and lives in
//! both ends. The **token** counts claims of one lane and direction and lives in the target. The
//! **sequence** counts the transactions written under a token. A write names all it believes; the
//! target refuses it when one of them has moved on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::side::{Direction, Side};

/// Counts flips of a change. Grows by one when an end is sealed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of a change that has never flipped.
    pub const FIRST: Epoch = Epoch(1);

    /// The epoch that the next seal claims.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An ordered sub-stream of a flow, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u16);

/// The right to write one lane in one direction. Issued by the target; neither cloned nor copied,
/// so that a flow that gave it away cannot write again.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lane this lease is for.
    pub lane: LaneId,
    /// The direction this lease is for.
    pub direction: Direction,
    /// The epoch in which it was claimed.
    pub epoch: Epoch,
    /// The fencing token: the claim's number in the target.
    pub token: u64,
    /// How many transactions the target has recorded for this lane.
    pub sequence: u64,
}

/// What an end says of its own role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Application writes are accepted and enter the feed.
    Open,
    /// Application writes are refused until a deadline that the end itself keeps.
    Fenced,
    /// Application writes are refused.
    Closed,
}

/// An end's own answer to "who are you in this change?".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// Whether the application may write here.
    pub gate: Gate,
    /// The epoch this end has reached.
    pub epoch: Epoch,
    /// Which ledger carries the change, as a random name given at expand.
    pub ledger: String,
    /// Digest of the mapping that both ends were expanded with.
    pub mapping: String,
}

/// Who has authority, from the answers of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Neither end carries this change yet, or the new one does not.
    Unclaimed,
    /// This side is written by the application.
    Held {
        /// The side with authority.
        by: Side,
        /// The epoch both ends are in.
        epoch: Epoch,
        /// True while its writers are refused for a turn.
        fenced: bool,
    },
    /// One end is sealed and the other has not opened yet: the flip must be finished.
    Sealed {
        /// The side that gains authority when the flip is finished.
        gaining: Side,
        /// The epoch that the seal claimed.
        epoch: Epoch,
    },
    /// An impossible pair of answers. A human decides.
    Ambiguous,
}

/// Judges the answers of both ends. Pure; every pair of answers has a verdict.
///
/// The losing end is sealed first with the next epoch, the gaining end opens second with the same
/// one, so two closed ends one epoch apart are a flip that was cut off between the two: the one
/// that is ahead loses. Two open ends, or closed ends of equal epoch, cannot come from any order
/// of our own steps.
#[must_use]
pub fn ownership(old: Option<&Standing>, new: Option<&Standing>) -> Ownership {
    let (Some(old), Some(new)) = (old, new) else {
        return match (old, new) {
            (Some(only), None) if only.gate == Gate::Open => Ownership::Unclaimed,
            (None, None) => Ownership::Unclaimed,
            (None, Some(new)) if new.gate == Gate::Closed && new.epoch == Epoch::FIRST => {
                Ownership::Unclaimed
            }
            // Contract takes the old end down first.
            (None, Some(new)) if new.gate == Gate::Open && new.epoch > Epoch::FIRST => {
                Ownership::Held {
                    by: Side::New,
                    epoch: new.epoch,
                    fenced: false,
                }
            }
            _ => Ownership::Ambiguous,
        };
    };
    let held = |by: Side, mine: &Standing| Ownership::Held {
        by,
        epoch: mine.epoch,
        fenced: mine.gate == Gate::Fenced,
    };
    match (old.gate, new.gate) {
        (Gate::Open | Gate::Fenced, Gate::Closed) if new.epoch == old.epoch => held(Side::Old, old),
        (Gate::Closed, Gate::Open | Gate::Fenced) if new.epoch == old.epoch => held(Side::New, new),
        (Gate::Closed, Gate::Closed) if old.epoch == new.epoch.next() => Ownership::Sealed {
            gaining: Side::New,
            epoch: old.epoch,
        },
        (Gate::Closed, Gate::Closed) if new.epoch == old.epoch.next() => Ownership::Sealed {
            gaining: Side::Old,
            epoch: new.epoch,
        },
        _ => Ownership::Ambiguous,
    }
}

#[cfg(test)]
mod tests;
