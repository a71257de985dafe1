//! What each phase makes of the ends' own answer to who has authority.

use super::{Decision, Effect, Phase, State, Step, ambiguous, home, run, stay, to};
use crate::code::Code;
use crate::error::{Error, Kind, Result};
use crate::lease::{Epoch, Ownership};
use crate::side::Side;

/// Corrects the state by what the ends say.
pub(super) fn observe(state: &State, ownership: Ownership) -> Result<Decision> {
    match ownership {
        Ownership::Ambiguous => Err(ambiguous()),
        Ownership::Unclaimed => match state.phase {
            Phase::Declared | Phase::Expand | Phase::Abort | Phase::Contract => Ok(run(state)),
            Phase::Done | Phase::Aborted => Ok(stay(state)),
            Phase::Backfill | Phase::Follow | Phase::Turn { .. } | Phase::Reverse => {
                Err(Error::new(
                    Kind::Ambiguous,
                    Code::OWNERSHIP_AMBIGUOUS,
                    "the ledger says that the change runs, the ends do not know of it",
                )
                .hint("If both ends were restored on purpose, delete the ledger and run again."))
            }
        },
        Ownership::Sealed { gaining, epoch } if is_behind(state, gaining, epoch) => {
            Err(ambiguous())
        }
        Ownership::Sealed { gaining, epoch } => {
            let mut next = state.clone();
            next.epoch = epoch;
            next.held = None;
            let phase = Phase::Turn {
                to: gaining,
                step: Step::Flip,
            };
            Ok(to(&next, phase, vec![Effect::Flip { side: gaining }]))
        }
        Ownership::Held { by, epoch, fenced } => {
            let mut next = state.clone();
            next.epoch = epoch;
            Ok(owned(&next, by, fenced))
        }
    }
}

/// True when the flip that the ends seem to be in was finished: the gaining end was restored to
/// what it was before, and what was written to it since is missing.
fn is_behind(state: &State, gaining: Side, epoch: Epoch) -> bool {
    let step = Step::Flip;
    state.epoch >= epoch && state.phase != Phase::Turn { to: gaining, step }
}

/// Both ends agree on who has authority: what phase is that?
fn owned(state: &State, by: Side, fenced: bool) -> Decision {
    let lifted = |phase| {
        let effects = if fenced {
            vec![Effect::Lift { side: by }]
        } else {
            Vec::new()
        };
        to(state, phase, effects)
    };
    match (by, state.phase) {
        (Side::Old, Phase::Declared | Phase::Expand) => run(state),
        (Side::Old, Phase::Backfill) => lifted(Phase::Backfill),
        (Side::Old, Phase::Abort) => run(state),
        (Side::New, Phase::Contract) => run(state),
        // What was copied is on record in the new end; a finished backfill ends at once.
        (Side::Old, Phase::Turn { .. } | Phase::Reverse | Phase::Contract | Phase::Follow) => {
            lifted(Phase::Follow)
        }
        (Side::New, Phase::Done) | (Side::Old, Phase::Done | Phase::Aborted) => lifted(home(by)),
        (
            Side::New,
            Phase::Declared
            | Phase::Expand
            | Phase::Backfill
            | Phase::Follow
            | Phase::Turn { .. }
            | Phase::Reverse
            | Phase::Abort
            | Phase::Aborted,
        ) => lifted(Phase::Reverse),
    }
}
