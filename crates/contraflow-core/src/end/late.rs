//! What was written to an end after it had lost authority, because the end could not refuse it.

use std::collections::HashSet;

use crate::end::Letter;
use crate::error::Result;
use crate::log::Place;
use crate::position::Position;
use crate::record::{PairId, Record};

/// Carries late writes to the end that has authority, each of them once or never.
pub trait Late: Send {
    /// Takes the right to carry them from everybody else. Says up to which position of the other
    /// end they are settled: carried or given up.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCED`] when this end has not gained authority.
    fn claim(&mut self) -> Result<Position>;

    /// Writes copies, says what is given up, and that all up to `through` is settled, in one
    /// transaction. The copies say that they are late, so that nobody carries them back. Returns
    /// those that this end cannot take: nothing of the call happened then.
    ///
    /// # Errors
    /// Nothing of it happened then, or all of it: the next claim says which.
    fn settle(
        &mut self,
        copies: &[Record],
        given_up: &[(PairId, Place)],
        through: &Position,
    ) -> Result<Vec<Letter>>;
}

/// Late records that are given up, or about to be: nobody reads what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// All of them.
    All,
    /// These.
    These(HashSet<(PairId, Place)>),
}

impl LeftOut {
    /// Whether it is one of them.
    #[must_use]
    pub fn names(&self, pair: PairId, place: Place) -> bool {
        match self {
            LeftOut::All => place.is_late(),
            LeftOut::These(these) => these.contains(&(pair, place)),
        }
    }
}
