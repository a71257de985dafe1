//! The end of a turn: while both ends refuse writers nothing waits for the ledger, and nothing is
//! given up.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::phase::{Effect, Input, Phase, Step, decide};

use super::words::describe;
use super::{Runner, lock};

/// The first and the longest pause before the ends are asked again.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often the ends are asked after somebody asked to stop, before a turn is left unfinished.
const REFUSALS_MAX: u32 = 5;

impl Runner<'_> {
    /// Opens the gaining end right after the seal: until it is open nobody can write, so the
    /// ledger, which may be busy for long, is told afterwards.
    pub(super) fn flip_at_once(&mut self) -> Result<()> {
        let Phase::Turn { to, .. } = self.state.phase else {
            return Ok(());
        };
        let sealed = Effect::Seal { side: to.other() };
        let decision = decide(self.context.mode, &self.state, &Input::Done(sealed))?;
        // Only in memory. A run that is killed here is told by the ends.
        self.state = decision.state;
        let flip = Effect::Flip { side: to };
        match self.act(flip) {
            Ok(()) => {
                self.refusals = 0;
                let text = format!("done: {}, {}", describe(sealed), describe(flip));
                self.input(&Input::Done(flip), &text)
            }
            Err(failure) => self.refused_by_ends(flip, failure),
        }
    }

    /// An effect failed. One that ends a turn is tried until it succeeds, ever more slowly.
    pub(super) fn refused_by_ends(&mut self, effect: Effect, failure: Error) -> Result<()> {
        let why = failure.to_string();
        self.fail(failure)?;
        let Phase::Turn { to, step } = self.state.phase else {
            return Ok(());
        };
        let ends_turn = match effect {
            Effect::Flip { .. } | Effect::Lift { .. } | Effect::Observe => true,
            Effect::Expand
            | Effect::Carry { .. }
            | Effect::Standby { .. }
            | Effect::Judge { .. }
            | Effect::Fence { .. }
            | Effect::Drain { .. }
            | Effect::Compare { .. }
            | Effect::Seal { .. }
            | Effect::Contract
            | Effect::Remove => false,
        };
        if !ends_turn {
            return Ok(());
        }
        let pause = PAUSE_FIRST * 2_u32.pow(self.refusals.min(4));
        self.refusals += 1;
        if self.stop.wait(pause.min(PAUSE_MAX)) && self.refusals >= REFUSALS_MAX {
            let losing = to.other();
            let message = match step {
                Step::Lift => format!("stopped while the {losing} end is fenced"),
                Step::Judge
                | Step::Fence
                | Step::Drain
                | Step::Compare
                | Step::Seal
                | Step::Flip => {
                    format!("stopped while the {losing} end is sealed and the {to} end is not open")
                }
            };
            return Err(Error::new(Kind::Transient, Code::TURN_FAILED, message)
                .detail(format!("Finishing the turn failed: {why}."))
                .hint("`contraflow run` finishes the turn."));
        }
        Ok(())
    }

    /// Whether a turn goes on although the ledger failed: the ends know who has authority, and
    /// writers must not be refused for longer because of it.
    pub(super) fn may_do_without(&self, error: &Error) -> bool {
        error.code == Code::LEDGER_FAILED && self.state.phase.is_turn()
    }

    /// Tells the ledger what it could not be told during a turn. False while it still fails.
    pub(super) fn is_saved(&mut self) -> Result<bool> {
        let Some(entry) = &self.unsaved else {
            return Ok(true);
        };
        let mapping = &self.context.mapping;
        let kept = lock(&self.ledger).commit(self.version, &self.state, mapping, entry);
        match kept {
            Ok(version) => {
                self.version = version;
                self.unsaved = None;
                Ok(true)
            }
            Err(error) if error.code == Code::LEDGER_FAILED => {
                if self.stop.wait(PAUSE_FIRST) {
                    return Err(error);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
