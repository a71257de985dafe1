//! What each phase answers to each request.

use super::{Ask, Decision, Effect, Hold, Mode, Phase, State, run, stay, to, turn};
use crate::code::Code;
use crate::error::{Error, Kind, Result};
use crate::gate::Rule;
use crate::lease::Epoch;
use crate::side::Side;

/// Grants or refuses a request.
pub(super) fn asked(mode: Mode, state: &State, ask: &Ask) -> Result<Decision> {
    if state.phase.is_over() {
        return refused(state, "the change is over");
    }
    match ask {
        Ask::Hold { reason } => held(state, reason),
        Ask::Resume => Ok(run(&resumed(state))),
        Ask::Abort => aborted(state),
        Ask::Cutover { .. } => cut_over(state),
        Ask::Rollback { .. } => rolled_back(mode, state),
        Ask::Contract => contracted(state),
        Ask::Stopped => stopped(mode, state),
        Ask::Late { .. } => late(mode, state),
        Ask::Verify { .. } | Ask::Repair { .. } | Ask::Replay { .. } => match state.carries() {
            Some(_) if !state.phase.is_turn() => Ok(stay(state)),
            _ => refused(state, "no flow is running that could carry or compare"),
        },
    }
}

fn held(state: &State, reason: &str) -> Result<Decision> {
    if state.phase.is_turn() {
        return refused(
            state,
            "a turn is under way; it ends by itself within its fence",
        );
    }
    let hold = Hold {
        code: None,
        reason: reason.to_owned(),
        hint: None,
    };
    let state = State {
        held: Some(hold),
        ..state.clone()
    };
    Ok(Decision {
        state,
        effects: Vec::new(),
    })
}

fn resumed(state: &State) -> State {
    State {
        held: None,
        ..state.clone()
    }
}

fn aborted(state: &State) -> Result<Decision> {
    match state.phase {
        Phase::Declared | Phase::Expand | Phase::Backfill | Phase::Follow
            if state.epoch == Epoch::FIRST =>
        {
            Ok(to(&resumed(state), Phase::Abort, vec![Effect::Remove]))
        }
        Phase::Abort => Ok(run(state)),
        Phase::Follow => refused(
            state,
            "authority has moved once: roll forward and contract, or go on",
        ),
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Turn { .. }
        | Phase::Reverse
        | Phase::Contract
        | Phase::Done
        | Phase::Aborted => refused(state, "abort is possible before the first cutover only"),
    }
}

fn cut_over(state: &State) -> Result<Decision> {
    match state.phase {
        Phase::Follow if state.held.is_none() => Ok(turn(state, Side::New)),
        Phase::Backfill => refused(state, "history is still being copied"),
        Phase::Reverse => refused(state, "the new side has authority already"),
        Phase::Declared
        | Phase::Expand
        | Phase::Follow
        | Phase::Turn { .. }
        | Phase::Contract
        | Phase::Abort
        | Phase::Done
        | Phase::Aborted => refused(state, "a cutover starts from follow"),
    }
}

fn rolled_back(mode: Mode, state: &State) -> Result<Decision> {
    match state.phase {
        Phase::Reverse if !mode.rules().rolls_back => {
            refused(state, "this mode flips once: going back is a new change")
        }
        Phase::Reverse if state.held.is_none() => Ok(turn(state, Side::Old)),
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Follow
        | Phase::Turn { .. }
        | Phase::Reverse
        | Phase::Contract
        | Phase::Abort
        | Phase::Done
        | Phase::Aborted => refused(state, "a rollback starts from reverse"),
    }
}

fn stopped(mode: Mode, state: &State) -> Result<Decision> {
    if !mode.rules().turn.contains(&Rule::Writers) {
        return refused(state, "the cutover itself stops the writers of this mode");
    }
    match state.phase {
        Phase::Backfill | Phase::Follow => Ok(stay(state)),
        Phase::Declared
        | Phase::Expand
        | Phase::Turn { .. }
        | Phase::Reverse
        | Phase::Contract
        | Phase::Abort
        | Phase::Done
        | Phase::Aborted => refused(state, "the old side has no writers to be waited for"),
    }
}

/// Whatever held the change because of late writes holds it no more.
fn late(mode: Mode, state: &State) -> Result<Decision> {
    if !mode.rules().turn.contains(&Rule::Writers) {
        return refused(state, "the old side of this mode refuses late writes");
    }
    match state.phase {
        Phase::Reverse => {
            let held = state.held.as_ref().and_then(|hold| hold.code);
            let by_them = held == Some(Code::ROGUE_WRITE.0);
            Ok(if by_them {
                run(&resumed(state))
            } else {
                stay(state)
            })
        }
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Follow
        | Phase::Turn { .. }
        | Phase::Contract
        | Phase::Abort
        | Phase::Done
        | Phase::Aborted => refused(state, "a write is late when authority has moved"),
    }
}

fn contracted(state: &State) -> Result<Decision> {
    match state.phase {
        Phase::Reverse if state.held.is_none() => {
            Ok(to(state, Phase::Contract, vec![Effect::Contract]))
        }
        Phase::Contract => Ok(run(state)),
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Follow
        | Phase::Turn { .. }
        | Phase::Reverse
        | Phase::Abort
        | Phase::Done
        | Phase::Aborted => refused(state, "contract starts from reverse"),
    }
}

fn refused(state: &State, why: &str) -> Result<Decision> {
    let held = state
        .held
        .as_ref()
        .map_or(String::new(), |hold| format!(", held: {}", hold.reason));
    Err(Error::new(
        Kind::Precondition,
        Code::PHASE_REFUSES,
        format!("not now: {why}"),
    )
    .detail(format!(
        "The change is in phase {}{held}.",
        state.phase.name()
    ))
    .hint("`contraflow status` names what is missing and the next command."))
}
