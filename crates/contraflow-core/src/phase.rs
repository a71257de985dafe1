//! The state machine of a change: pure decisions, effects for somebody else to perform.
//!
//! ```text
//! declared → expand → backfill → follow → turn(new) → reverse → contract → done
//!                        │          ↑↓        │          ↑↓
//!                        └─ abort ──┘   turn(old) ───────┘
//! ```
//!
//! Phases are never compared by order; ask a predicate. The ends outrank the state kept in the
//! ledger: [`observe`] is asked first after every start and after every step whose answer was
//! lost.

mod mode;

mod asked;
mod observed;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::error::{Error, Kind, Result};
use crate::gate::Rule;
use crate::lease::{Epoch, Ownership};
use crate::side::{Direction, Side};

pub use mode::{Compared, History, Mode, Rules, Unmappable};

/// Where a change is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// Checked and not started. Set when the ledger is made.
    Declared,
    /// Creating what the change needs. Set by the first run.
    Expand,
    /// Copying history while following. Set when both ends are expanded.
    Backfill,
    /// Following the old end. Set when history is copied, and after a rollback.
    Follow,
    /// Moving authority. Set by a request.
    Turn {
        /// The side that gains authority.
        to: Side,
        /// How far the turn has come.
        step: Step,
    },
    /// Following the new end, so that the old one stays usable. Set by a cutover.
    Reverse,
    /// Taking the old end down. Set by a request; never goes back.
    Contract,
    /// Taking the new end down before any flip. Set by a request; never goes back.
    Abort,
    /// The old end is gone.
    Done,
    /// The new end is gone.
    Aborted,
}

/// The steps of a turn, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Judging the gates; writers notice nothing.
    Judge,
    /// Refusing writers of the losing end, for a while.
    Fence,
    /// Waiting until the flow has applied everything up to the fence.
    Drain,
    /// Comparing what changed since the gates were judged.
    Compare,
    /// Refusing writers of the losing end for good.
    Seal,
    /// Opening the gaining end: decides the turn.
    Flip,
    /// Giving up: reopening the losing end.
    Lift,
}

impl Phase {
    /// The name shown to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Declared => "declared",
            Phase::Expand => "expand",
            Phase::Backfill => "backfill",
            Phase::Follow => "follow",
            Phase::Turn { to: Side::New, .. } => "cutover",
            Phase::Turn { to: Side::Old, .. } => "rollback",
            Phase::Reverse => "reverse",
            Phase::Contract => "contract",
            Phase::Abort => "abort",
            Phase::Done => "done",
            Phase::Aborted => "aborted",
        }
    }

    /// True when nothing is left to do.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Done | Phase::Aborted)
    }

    /// True when only taking down is left to do, or nothing.
    #[must_use]
    pub fn is_end(self) -> bool {
        self.is_over() || matches!(self, Phase::Contract | Phase::Abort)
    }

    /// True while authority is being moved.
    #[must_use]
    pub fn is_turn(self) -> bool {
        matches!(self, Phase::Turn { .. })
    }

    /// True while history is being copied.
    #[must_use]
    pub fn copies_history(self) -> bool {
        matches!(self, Phase::Backfill)
    }
}

/// Why a change is paused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// The number of the cause, when a failure caused it.
    pub code: Option<u16>,
    /// In words.
    pub reason: String,
    /// The next command.
    pub hint: Option<String>,
}

/// What the ledger remembers of a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Where the change is.
    pub phase: Phase,
    /// Paused, with a reason. Orthogonal to the phase.
    pub held: Option<Hold>,
    /// The epoch last seen at the ends.
    pub epoch: Epoch,
    /// The request that the phase at hand answers, by number.
    pub asked: Option<u64>,
}

impl State {
    /// A change that was never started.
    #[must_use]
    pub fn declared() -> State {
        State {
            phase: Phase::Declared,
            held: None,
            epoch: Epoch::FIRST,
            asked: None,
        }
    }

    /// The direction in which a flow should be running now.
    #[must_use]
    pub fn carries(&self) -> Option<Direction> {
        if self.held.is_some() {
            return None;
        }
        match self.phase {
            Phase::Backfill | Phase::Follow => Some(Direction::Forward),
            Phase::Reverse => Some(Direction::Reverse),
            Phase::Turn { to, step } => match step {
                Step::Judge | Step::Fence | Step::Drain | Step::Compare | Step::Lift => {
                    Some(to.other().direction())
                }
                Step::Seal | Step::Flip => None,
            },
            Phase::Declared
            | Phase::Expand
            | Phase::Contract
            | Phase::Abort
            | Phase::Done
            | Phase::Aborted => None,
        }
    }
}

/// Something that somebody asks of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Move the writers to the new end.
    Cutover {
        /// Go on although letters stand: the rows they name are given up.
        accept_loss: bool,
    },
    /// Move the writers back to the old end.
    Rollback {
        /// As for the cutover.
        accept_loss: bool,
    },
    /// Take the old end down.
    Contract,
    /// Give up and leave the old side as it was.
    Abort,
    /// Pause.
    Hold {
        /// Why.
        reason: String,
    },
    /// Go on after a hold.
    Resume,
    /// Compare both ends, whole.
    Verify {
        /// Name the keys that differ in the answer, which the ledger keeps.
        keys: bool,
    },
    /// Carry keys again.
    Repair {
        /// The pair's old table.
        table: String,
        /// The keys, as typed: one text per key field.
        keys: Vec<Vec<String>>,
    },
    /// Carry what was written late to the end that lost authority.
    Late {
        /// What is given up instead: names of records, or `all`.
        give_up: Vec<String>,
    },
    /// Try letters again: all of them, or these.
    Replay {
        /// Letter ids; empty means all.
        ids: Vec<u64>,
    },
    /// Say that the writers of the old end have stopped.
    Stopped,
}

/// Work for a carrier, whose outcome comes back as [`Input::Done`] or [`Input::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Create what the change needs on both ends.
    Expand,
    /// Run the flow in this direction from now on.
    Carry {
        /// Which way.
        direction: Direction,
    },
    /// Watch the mirror's own feed for writes that are not ours.
    Standby {
        /// The mirror.
        side: Side,
    },
    /// Judge the gates of a turn.
    Judge {
        /// The gaining side.
        to: Side,
    },
    /// Fence the losing end.
    Fence {
        /// The losing side.
        side: Side,
    },
    /// Wait until the flow has applied everything up to the fence.
    Drain {
        /// The losing side.
        side: Side,
    },
    /// Compare what changed since the gates were judged.
    Compare {
        /// The losing side.
        side: Side,
    },
    /// Make the fence permanent.
    Seal {
        /// The losing side.
        side: Side,
    },
    /// Open the gaining end.
    Flip {
        /// The gaining side.
        side: Side,
    },
    /// Reopen the losing end.
    Lift {
        /// The losing side.
        side: Side,
    },
    /// Ask both ends who has authority.
    Observe,
    /// Take the old end down, then all bookkeeping.
    Contract,
    /// Take down everything that expand made.
    Remove,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A run begins.
    Run,
    /// The ends have said who has authority.
    Observed(Ownership),
    /// An effect was performed.
    Done(Effect),
    /// History is copied.
    Backfilled,
    /// An effect could not be performed, or the flow stopped. Nothing of it happened, unless the
    /// effect is one whose answer can be lost: then the ends are asked.
    Failed(Hold),
    /// Somebody asks for something.
    Asked(Ask),
}

/// What follows from an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state to be kept.
    pub state: State,
    /// What to do, in order.
    pub effects: Vec<Effect>,
}

/// Decides what follows. Pure: the same state and input always give the same decision.
///
/// # Errors
/// [`Code::PHASE_REFUSES`] for a request that this phase cannot grant, and
/// [`Code::OWNERSHIP_AMBIGUOUS`] for impossible answers of the ends.
#[deny(clippy::wildcard_enum_match_arm)]
pub fn decide(mode: Mode, state: &State, input: &Input) -> Result<Decision> {
    match input {
        Input::Run => Ok(run(state)),
        Input::Observed(ownership) => observed::observe(state, *ownership),
        Input::Done(effect) => Ok(done(mode, state, *effect)),
        Input::Backfilled => Ok(match state.phase {
            Phase::Backfill => to(state, Phase::Follow, Vec::new()),
            Phase::Declared
            | Phase::Expand
            | Phase::Follow
            | Phase::Turn { .. }
            | Phase::Reverse
            | Phase::Contract
            | Phase::Abort
            | Phase::Done
            | Phase::Aborted => stay(state),
        }),
        Input::Failed(hold) => Ok(failed(mode, state, hold)),
        Input::Asked(ask) => asked::asked(mode, state, ask),
    }
}

fn run(state: &State) -> Decision {
    match state.phase {
        Phase::Declared => to(state, Phase::Expand, vec![Effect::Expand]),
        Phase::Expand => to(state, Phase::Expand, vec![Effect::Expand]),
        Phase::Contract => to(state, Phase::Contract, vec![Effect::Contract]),
        Phase::Abort => to(state, Phase::Abort, vec![Effect::Remove]),
        Phase::Backfill | Phase::Follow | Phase::Reverse => to(state, state.phase, Vec::new()),
        Phase::Turn { to: side, step } => to(state, state.phase, vec![effect_of(side, step)]),
        Phase::Done | Phase::Aborted => stay(state),
    }
}

fn done(mode: Mode, state: &State, effect: Effect) -> Decision {
    match (state.phase, effect) {
        (Phase::Expand, Effect::Expand) => {
            let phase = if mode.rules().history != History::None {
                Phase::Backfill
            } else {
                Phase::Follow
            };
            to(state, phase, Vec::new())
        }
        (Phase::Contract, Effect::Contract) => to(state, Phase::Done, Vec::new()),
        (Phase::Abort, Effect::Remove) => to(state, Phase::Aborted, Vec::new()),
        (Phase::Turn { to: side, step }, effect) if effect == effect_of(side, step) => {
            turned(state, side, step)
        }
        _ => stay(state),
    }
}

/// The step after one that was performed.
fn turned(state: &State, side: Side, step: Step) -> Decision {
    let next = match step {
        Step::Judge => Step::Fence,
        Step::Fence => Step::Drain,
        Step::Drain => Step::Compare,
        Step::Compare => Step::Seal,
        Step::Seal => {
            let mut next = state.clone();
            next.epoch = state.epoch.next();
            let phase = Phase::Turn {
                to: side,
                step: Step::Flip,
            };
            return to(&next, phase, vec![Effect::Flip { side }]);
        }
        Step::Flip => return to(state, home(side), Vec::new()),
        Step::Lift => return to(state, home(side.other()), Vec::new()),
    };
    to(
        state,
        Phase::Turn {
            to: side,
            step: next,
        },
        vec![effect_of(side, next)],
    )
}

fn failed(mode: Mode, state: &State, hold: &Hold) -> Decision {
    let mut held = state.clone();
    held.held = Some(hold.clone());
    match state.phase {
        Phase::Turn { to: side, step } => match step {
            // No fence yet, or the flow broke before one: nothing to undo.
            Step::Judge if !mode.rules().turn.contains(&Rule::Writers) => {
                to(state, home(side.other()), Vec::new())
            }
            // Writers that had stopped by themselves may go on: what was said of them is void.
            Step::Judge | Step::Fence | Step::Drain | Step::Compare => {
                let phase = Phase::Turn {
                    to: side,
                    step: Step::Lift,
                };
                to(state, phase, vec![Effect::Lift { side: side.other() }])
            }
            // The answer may be lost: only the ends know.
            Step::Seal | Step::Flip | Step::Lift => to(state, state.phase, vec![Effect::Observe]),
        },
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Follow
        | Phase::Reverse
        | Phase::Contract
        | Phase::Abort => Decision {
            state: held,
            effects: Vec::new(),
        },
        Phase::Done | Phase::Aborted => stay(state),
    }
}

fn turn(state: &State, side: Side) -> Decision {
    let phase = Phase::Turn {
        to: side,
        step: Step::Judge,
    };
    to(state, phase, vec![Effect::Judge { to: side }])
}

/// The resting phase while a side has authority.
fn home(side: Side) -> Phase {
    match side {
        Side::Old => Phase::Follow,
        Side::New => Phase::Reverse,
    }
}

fn effect_of(side: Side, step: Step) -> Effect {
    let losing = side.other();
    match step {
        Step::Judge => Effect::Judge { to: side },
        Step::Fence => Effect::Fence { side: losing },
        Step::Drain => Effect::Drain { side: losing },
        Step::Compare => Effect::Compare { side: losing },
        Step::Seal => Effect::Seal { side: losing },
        Step::Flip => Effect::Flip { side },
        Step::Lift => Effect::Lift { side: losing },
    }
}

/// Moves to a phase; the flow that should run there is an effect of every move.
fn to(state: &State, phase: Phase, effects: Vec<Effect>) -> Decision {
    let next = State {
        phase,
        ..state.clone()
    };
    let mut all = Vec::new();
    if let Some(direction) = next.carries() {
        all.push(Effect::Carry { direction });
        all.push(Effect::Standby {
            side: direction.target(),
        });
    }
    all.extend(effects);
    Decision {
        state: next,
        effects: all,
    }
}

fn stay(state: &State) -> Decision {
    Decision {
        state: state.clone(),
        effects: Vec::new(),
    }
}

/// The error that only a human resolves.
#[must_use]
pub fn ambiguous() -> Error {
    Error::new(
        Kind::Ambiguous,
        Code::OWNERSHIP_AMBIGUOUS,
        "the ends give an impossible pair of answers about authority",
    )
    .detail("No order of our own steps leaves the ends like this. Nothing was written.")
    .hint("Find out which end the application writes to, and whether a file was restored.")
}

#[cfg(test)]
mod tests;
