//! A probe that cuts a run off at its n-th named point.

use std::sync::{Mutex, PoisonError};

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::probe::{Point, Probe};

/// What the trap does when it closes.
type Hook = Box<dyn FnMut() + Send>;

/// Counts points and fails at a chosen one, or does something else there.
#[derive(Default)]
pub struct Trap {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Points to let pass before the cut; `None` lets all pass.
    passes: Option<u64>,
    hook: Option<(Point, Hook)>,
}

impl Trap {
    /// Cuts the run off after `passes` more points.
    pub fn arm(&self, passes: u64) {
        self.lock().passes = Some(passes);
    }

    /// Lets everything pass again.
    pub fn disarm(&self) {
        let mut state = self.lock();
        state.passes = None;
        state.hook = None;
    }

    /// Does something once, at the next time that `point` is reached.
    pub fn at_next(&self, point: Point, hook: impl FnMut() + Send + 'static) {
        self.lock().hook = Some((point, Box::new(hook)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Trap {
    fn at(&self, point: Point) -> Result<()> {
        let mut state = self.lock();
        if state.hook.as_ref().is_some_and(|(at, _)| *at == point) {
            let hook = state.hook.take();
            // The hook may run a flow of its own, which passes points of its own.
            drop(state);
            if let Some((_, mut hook)) = hook {
                hook();
            }
            state = self.lock();
        }
        match state.passes {
            Some(0) => {
                state.passes = None;
                Err(Error::new(
                    Kind::Transient,
                    Code::INTERNAL,
                    format!("cut off at `{}`", point.0),
                ))
            }
            Some(left) => {
                state.passes = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
