//! Which keys changed while a row was being read.
//!
//! Whoever reads rows to carry them later opens a window first. From then on the flow records
//! every key it receives a change of, together with what it has received, in one critical
//! section: a change is either visible to the read (`since` is at or after everything received
//! before), or it is recorded. A row whose key was touched after `since` is dropped; the change
//! carries a newer one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, PairId};

/// Open windows and touched keys of one flow.
#[derive(Debug)]
pub struct Windows {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    received: Position,
    /// Counts touches; a window remembers the count at which it was opened.
    ticks: u64,
    open: BTreeSet<(u64, u64)>,
    windows: u64,
    touched: HashMap<(PairId, Key), (u64, Position)>,
    /// Touches in order, for forgetting them.
    order: VecDeque<(u64, PairId, Key)>,
}

/// An open window.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    tick: u64,
    number: u64,
    /// What the flow had received when the window was opened.
    pub received: Position,
}

impl Windows {
    /// No window, nothing touched.
    #[must_use]
    pub fn new(received: Position) -> Windows {
        Windows {
            state: Mutex::new(State {
                received,
                ticks: 0,
                open: BTreeSet::new(),
                windows: 0,
                touched: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// Opens a window: from now on touches are kept until it is closed.
    #[must_use]
    pub fn open(&self) -> Window {
        let mut state = self.lock();
        let (tick, number) = (state.ticks, state.windows);
        state.windows += 1;
        state.open.insert((tick, number));
        Window {
            tick,
            number,
            received: state.received.clone(),
        }
    }

    /// Records what a batch touches and that it was received. Called before anything of the batch
    /// is applied.
    pub fn receive(&self, events: &[Event], received: &Position) {
        let mut state = self.lock();
        if !state.open.is_empty() {
            for event in events {
                state.ticks += 1;
                let tick = state.ticks;
                let key = (event.pair, event.key.clone());
                state.order.push_back((tick, key.0, key.1.clone()));
                state.touched.insert(key, (tick, event.position.clone()));
            }
        }
        state.received = received.clone();
    }

    /// Whether nothing was touched while any window of now was open.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.lock().touched.is_empty()
    }

    /// Where the last touch of a key lies in the feed, if it was touched while any window of now
    /// was open.
    #[must_use]
    pub fn touched(&self, pair: PairId, key: &Key) -> Option<Position> {
        let state = self.lock();
        if state.touched.is_empty() {
            return None;
        }
        state
            .touched
            .get(&(pair, key.clone()))
            .map(|(_, position)| position.clone())
    }

    /// Keys touched since a window was opened, each once.
    #[must_use]
    pub fn touched_since(&self, window: &Window) -> Vec<(PairId, Key)> {
        let state = self.lock();
        let since = state
            .touched
            .iter()
            .filter(|(_, (tick, _))| *tick > window.tick);
        since.map(|(key, _)| key.clone()).collect()
    }

    /// Closes a window and forgets what no other window needs.
    pub fn close(&self, window: &Window) {
        let mut state = self.lock();
        state.open.remove(&(window.tick, window.number));
        let keep = state.open.first().map_or(u64::MAX, |(tick, _)| *tick);
        while state
            .order
            .front()
            .is_some_and(|(tick, _, _)| *tick <= keep)
        {
            let Some((tick, pair, key)) = state.order.pop_front() else {
                break;
            };
            let key = (pair, key);
            if state
                .touched
                .get(&key)
                .is_some_and(|(last, _)| *last == tick)
            {
                state.touched.remove(&key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
