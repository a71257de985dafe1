//! What the lanes of a worker say, and what they are asked.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use contraflow_core::end::End;
use contraflow_core::error::Error;
use contraflow_core::lease::LaneId;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::Direction;

use crate::flow::{Stopped, Totals};
use crate::windows::Windows;

/// What a running worker says of itself: of all its lanes together.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Everything up to here is durable in the target; `None` until every lane has started.
    pub applied: Option<Position>,
    /// Events between the head and what was received; `None` while nobody knows.
    pub lag_events: Option<u64>,
    /// What was done since the worker started.
    pub totals: Totals,
    /// Ranges of history are all applied.
    pub history_done: bool,
    /// Partitions of logs that have stopped.
    pub stopped: Vec<Stopped>,
    /// How the producers of new logs must choose the partition of a key, once history is carried.
    pub producers: Vec<String>,
    /// A passing fault that is being tried again.
    pub trying_again: Option<String>,
    /// It has ended by itself, or a lane of it.
    pub failed: bool,
    /// The feed has brought its history, where it begins with that.
    pub(super) fed: bool,
    /// Letters that stand.
    pub(super) letters: u64,
}

impl Status {
    /// This lane and another one together.
    fn and(mut self, other: Status, source: &dyn End) -> Status {
        self.stopped.extend(other.stopped);
        self.producers.extend(other.producers);
        let applied = self.applied.zip(other.applied);
        Status {
            applied: applied.map(|(a, b)| source.furthest(&a, &b)),
            lag_events: self.lag_events.zip(other.lag_events).map(|(a, b)| a + b),
            totals: self.totals.and(other.totals),
            history_done: self.history_done && other.history_done,
            stopped: self.stopped,
            producers: self.producers,
            trying_again: self.trying_again.or(other.trying_again),
            failed: self.failed || other.failed,
            fed: self.fed && other.fed,
            letters: self.letters + other.letters,
        }
    }
}

/// What all lanes and their owner look at.
pub(super) struct Shared {
    /// The end that the feed is of.
    pub(super) source: Arc<dyn End>,
    pub(super) lanes: Mutex<Lanes>,
    pub(super) changed: Condvar,
}

pub(super) struct Lanes {
    /// Of each.
    pub(super) all: Vec<Status>,
    /// What each is asked to carry again.
    pub(super) recarries: Vec<VecDeque<Recarry>>,
    /// Why the first of them has ended by itself.
    pub(super) failure: Option<Error>,
    /// Where readers of rows announce themselves: to the first lane, for ends that rows are read of
    /// have one.
    pub(super) windows: Option<Arc<Windows>>,
}

/// One lane, and what its owner sees of it.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) direction: Direction,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Recarry {
    pub(super) pair: PairId,
    pub(super) keys: Vec<Key>,
    pub(super) done: SyncSender<()>,
}

impl Shared {
    /// Of so many lanes, of which none has started.
    pub(super) fn new(source: &Arc<dyn End>, count: u16) -> Shared {
        Shared {
            source: Arc::clone(source),
            lanes: Mutex::new(Lanes {
                all: vec![Status::default(); usize::from(count)],
                recarries: (0..count).map(|_| VecDeque::new()).collect(),
                failure: None,
                windows: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> Status {
        self.lock().together(&*self.source)
    }
}

impl Lanes {
    pub(super) fn together(&self, source: &dyn End) -> Status {
        let all = self.all.iter().cloned();
        all.reduce(|one, other| one.and(other, source))
            .unwrap_or_default()
    }
}

impl Lane {
    /// The lane that does what one of them does for all.
    pub(super) fn is_first(&self) -> bool {
        self.id == LaneId(0)
    }

    pub(super) fn recarry(&self) -> Option<Recarry> {
        let mut lanes = self.shared.lock();
        let mine = lanes.recarries.get_mut(usize::from(self.id.0))?;
        mine.pop_front()
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Status)) {
        if let Some(mine) = self.shared.lock().all.get_mut(usize::from(self.id.0)) {
            change(mine);
        }
        self.shared.changed.notify_all();
    }

    pub(super) fn fail(&self, error: Error) {
        self.shared.lock().failure.get_or_insert(error);
        self.publish(|status| status.failed = true);
    }
}
