//! The two ends by identity, and the two directions of a flow between them.
//!
//! `Old` and `New` are fixed for the life of a change. Source and target are roles inside one
//! flow: they follow from its [`Direction`] and swap when the flow flips.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two ends of a change, by identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The end that had authority when the change was declared.
    Old,
    /// The end that the change creates.
    New,
}

impl Side {
    /// Both sides, old first.
    pub const BOTH: [Side; 2] = [Side::Old, Side::New];

    /// The end across from this one.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Old => Side::New,
            Side::New => Side::Old,
        }
    }

    /// The direction of the flow while this side has authority.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Side::Old => Direction::Forward,
            Side::New => Direction::Reverse,
        }
    }

    /// The name used in files, tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way a flow carries: forward is old to new, reverse is new to old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Old to new, through the mapping's `up`.
    Forward,
    /// New to old, through the mapping's `down`.
    Reverse,
}

impl Direction {
    /// Both directions, forward first.
    pub const BOTH: [Direction; 2] = [Direction::Forward, Direction::Reverse];

    /// The end whose feed this direction reads: the authority.
    #[must_use]
    pub fn source(self) -> Side {
        match self {
            Direction::Forward => Side::Old,
            Direction::Reverse => Side::New,
        }
    }

    /// The end this direction writes: the mirror.
    #[must_use]
    pub fn target(self) -> Side {
        self.source().other()
    }

    /// The other direction.
    #[must_use]
    pub fn opposite(self) -> Direction {
        self.target().direction()
    }

    /// The name used in files, tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
