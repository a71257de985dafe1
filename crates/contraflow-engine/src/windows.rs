//! Which keys changed while a row was being read.
//!
//! Whoever reads rows to carry or to compare them later opens a window first. From then on the
//! flow records every key it receives a change of, together with what it has received, in one
//! critical section, before it applies the change: a change is either visible to the read (`since`
//! is at or after everything received before), or it is recorded. A row whose key was touched by a
//! batch that ends after `since` is dropped; the change carries a newer one.
//!
//! One transaction may touch millions of keys, so a touch is 16 bytes: 96 bits of the key's digest
//! and the batch. A window is open while one range or one set of keys is read. What has to know
//! the keys themselves, and for longer, has them kept: see [`Touched`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contraflow_core::digest::row_digest;
use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, PairId};

use touched::Kept;
pub use touched::Touched;

mod touched;

/// Touches of a shard below which forgetting is not worth a sweep.
const SWEEP_MIN: usize = 256;
/// Parts of the touches: a table that grows holds its old self too, one part at a time.
const SHARDS: usize = 64;

/// Open windows and touched keys of one flow.
#[derive(Debug)]
pub struct Windows {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    received: Position,
    /// Counts batches; a window remembers the count at which it was opened.
    tick: u32,
    open: BTreeSet<(u32, u64)>,
    /// Counts what was opened and kept: each has a number of its own.
    numbers: u64,
    touched: Vec<Shard>,
    /// Where the batches end in the feed, in order.
    ends: VecDeque<(u32, Position)>,
    kept: BTreeMap<u64, Kept>,
}

#[derive(Debug, Default)]
struct Shard {
    touched: HashMap<Touch, u32>,
    /// Touches at which the next sweep is due, so that sweeps cost a constant per touch.
    sweep_at: usize,
}

/// The digest of a pair and key, cut to 96 bits: two of a billion keys meet once in 10^10 times.
type Touch = [u32; 3];

/// An open window.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    tick: u32,
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
                tick: 0,
                open: BTreeSet::new(),
                numbers: 0,
                touched: shards(),
                ends: VecDeque::new(),
                kept: BTreeMap::new(),
            }),
        }
    }

    /// What the flow has received by now: whoever reads the source must see all of it.
    #[must_use]
    pub fn received(&self) -> Position {
        self.lock().received.clone()
    }

    /// Opens a window: from now on touches are kept until it is closed.
    #[must_use]
    pub fn open(&self) -> Window {
        let mut state = self.lock();
        let (tick, number) = (state.tick, state.number());
        state.open.insert((tick, number));
        Window {
            tick,
            number,
            received: state.received.clone(),
        }
    }

    /// Whether somebody reads or compares rows, and waits for what the flow receives.
    #[must_use]
    pub fn are_waited_for(&self) -> bool {
        let state = self.lock();
        !state.open.is_empty() || !state.kept.is_empty()
    }

    /// From now on the keys that are touched are kept themselves, until it is dropped.
    #[must_use]
    pub fn keep(self: &Arc<Self>) -> Touched {
        let mut state = self.lock();
        let number = state.number();
        state.kept.insert(number, Kept::default());
        drop(state);
        Touched::new(Arc::clone(self), number)
    }

    /// Records what a batch touches and that it was received. Called before anything of the batch
    /// is applied.
    pub fn receive(&self, events: &[Event], received: &Position) {
        let mut state = self.lock();
        if !state.open.is_empty() && !events.is_empty() {
            state.tick = state.tick.saturating_add(1);
            let tick = state.tick;
            state.ends.push_back((tick, received.clone()));
            for event in events {
                let touch = touch(event.pair, &event.key);
                state.touched[shard(touch)].touched.insert(touch, tick);
            }
        }
        for kept in state.kept.values_mut() {
            kept.receive(events);
        }
        state.received = received.clone();
    }

    /// Whether a key was touched since a window was opened.
    #[must_use]
    pub fn touched(&self, window: &Window, pair: PairId, key: &Key) -> bool {
        let state = self.lock();
        let last = state.last(pair, key);
        last.is_some_and(|last| last > window.tick)
    }

    /// Where the batch that touched a key last ends in the feed, if it was touched while any window
    /// of now was open.
    #[must_use]
    pub fn last_touch(&self, pair: PairId, key: &Key) -> Option<Position> {
        let state = self.lock();
        let last = state.last(pair, key)?;
        let place = state.ends.binary_search_by_key(&last, |(tick, _)| *tick);
        place.ok().map(|place| state.ends[place].1.clone())
    }

    /// Closes a window and forgets what no other window needs.
    pub fn close(&self, window: &Window) {
        let mut state = self.lock();
        state.open.remove(&(window.tick, window.number));
        let Some((keep, _)) = state.open.first().copied() else {
            state.touched = shards();
            state.ends.clear();
            state.tick = 0;
            return;
        };
        while state.ends.front().is_some_and(|(tick, _)| *tick <= keep) {
            state.ends.pop_front();
        }
        for shard in &mut state.touched {
            if shard.touched.len() >= shard.sweep_at.max(SWEEP_MIN) {
                shard.touched.retain(|_, tick| *tick > keep);
                shard.touched.shrink_to_fit();
                shard.sweep_at = 2 * shard.touched.len();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The batch that touched a key last.
    fn last(&self, pair: PairId, key: &Key) -> Option<u32> {
        if self.ends.is_empty() {
            return None;
        }
        let touch = touch(pair, key);
        self.touched[shard(touch)].touched.get(&touch).copied()
    }
}

fn shards() -> Vec<Shard> {
    (0..SHARDS).map(|_| Shard::default()).collect()
}

fn shard(touch: Touch) -> usize {
    touch[0] as usize % SHARDS
}

fn touch(pair: PairId, key: &Key) -> Touch {
    let digest = row_digest(&key.0).wrapping_add(u128::from(pair.0) << 64 | u128::from(pair.0));
    let part = |shift: u32| u32::try_from(digest >> shift & u128::from(u32::MAX));
    [0, 32, 64].map(|shift| part(shift).unwrap_or_default())
}

#[cfg(test)]
mod tests;
