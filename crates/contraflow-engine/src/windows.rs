//! Which keys changed while a row was being read.
//!
//! Whoever reads rows to carry or to compare them later opens a window first. From then on the
//! flow records every key it receives a change of, together with what it has received, in one
//! critical section, before it applies the change: a change is either visible to the read (`since`
//! is at or after everything received before), or it is recorded. A row whose key was touched by a
//! batch that ends after `since` is dropped; the change carries a newer one.
//!
//! One transaction may touch millions of keys, so a touch is 16 bytes: 96 bits of the key's digest
//! and the batch. The keys themselves are kept for windows that ask for them, up to a bound; past
//! it the window has overflowed and says so.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contraflow_core::digest::row_digest;
use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, PairId};

/// Keys kept for windows that ask for them: about 20 MB of small keys.
const KEYS_MAX: usize = 200_000;
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
    /// Those of the open windows that want keys.
    wanting_keys: BTreeSet<(u32, u64)>,
    windows: u64,
    touched: Vec<Shard>,
    /// Where the batches end in the feed, in order.
    ends: VecDeque<(u32, Position)>,
    keys: HashMap<(PairId, Key), u32>,
    /// Windows opened before this batch do not know all their keys.
    overflowed: u32,
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
                wanting_keys: BTreeSet::new(),
                windows: 0,
                touched: shards(),
                ends: VecDeque::new(),
                keys: HashMap::new(),
                overflowed: 0,
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
        self.lock().open()
    }

    /// Opens a window for which the touched keys are kept too.
    #[must_use]
    pub fn open_with_keys(&self) -> Window {
        let mut state = self.lock();
        let window = state.open();
        state.wanting_keys.insert((window.tick, window.number));
        window
    }

    /// Records what a batch touches and that it was received. Called before anything of the batch
    /// is applied.
    pub fn receive(&self, events: &[Event], received: &Position) {
        let mut state = self.lock();
        if !state.open.is_empty() {
            state.tick = state.tick.saturating_add(1);
            let tick = state.tick;
            state.ends.push_back((tick, received.clone()));
            for event in events {
                let touch = touch(event.pair, &event.key);
                state.touched[shard(touch)].touched.insert(touch, tick);
                state.keep(event, tick);
            }
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

    /// Whether all keys touched since a window was opened are known so far.
    #[must_use]
    pub fn knows_keys(&self, window: &Window) -> bool {
        self.lock().knows_keys(window)
    }

    /// Keys touched since a window was opened with keys, each once; `None` when they were too many
    /// to be kept.
    #[must_use]
    pub fn touched_since(&self, window: &Window) -> Option<Vec<(PairId, Key)>> {
        let state = self.lock();
        if !state.knows_keys(window) {
            return None;
        }
        let since = state.keys.iter().filter(|(_, tick)| **tick > window.tick);
        Some(since.map(|(key, _)| key.clone()).collect())
    }

    /// Closes a window and forgets what no other window needs.
    pub fn close(&self, window: &Window) {
        let mut state = self.lock();
        let place = (window.tick, window.number);
        state.open.remove(&place);
        if state.wanting_keys.remove(&place) {
            let keep = state
                .wanting_keys
                .first()
                .map_or(u32::MAX, |(tick, _)| *tick);
            state.keys.retain(|_, tick| *tick > keep);
            state.keys.shrink_to_fit();
        }
        let Some((keep, _)) = state.open.first().copied() else {
            state.touched = shards();
            state.ends.clear();
            (state.tick, state.overflowed) = (0, 0);
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
    fn open(&mut self) -> Window {
        let (tick, number) = (self.tick, self.windows);
        self.windows += 1;
        self.open.insert((tick, number));
        Window {
            tick,
            number,
            received: self.received.clone(),
        }
    }

    fn knows_keys(&self, window: &Window) -> bool {
        let wants = self.wanting_keys.contains(&(window.tick, window.number));
        wants && window.tick >= self.overflowed
    }

    /// The batch that touched a key last.
    fn last(&self, pair: PairId, key: &Key) -> Option<u32> {
        if self.ends.is_empty() {
            return None;
        }
        let touch = touch(pair, key);
        self.touched[shard(touch)].touched.get(&touch).copied()
    }

    /// Keeps the key of an event while a window wants it that knows all keys before it.
    fn keep(&mut self, event: &Event, tick: u32) {
        let newest = self.wanting_keys.last().map(|(tick, _)| *tick);
        if newest.is_none_or(|newest| newest < self.overflowed) {
            return;
        }
        self.keys.insert((event.pair, event.key.clone()), tick);
        if self.keys.len() > KEYS_MAX {
            self.keys = HashMap::new();
            self.overflowed = tick;
        }
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
