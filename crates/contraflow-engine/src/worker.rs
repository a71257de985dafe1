//! Claims the lanes of a direction and runs a flow for each, in threads of their own.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::LaneId;
use contraflow_core::phase::History;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::Direction;

use crate::context::Context;
use crate::tasks::{Stop, TaskSet};
use crate::windows::Windows;

mod carrier;
mod copy;
mod lanes;

use carrier::Carrier;
pub use lanes::Status;
use lanes::{Lane, Recarry, Shared};

/// How long an idle flow waits before it asks the feed again.
const IDLE: Duration = Duration::from_millis(2);
/// The first and the longest pause before a passing fault is tried again.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A worker as its owner sees it.
pub struct Worker {
    /// Which way it carries.
    pub direction: Direction,
    context: Arc<Context>,
    shared: Arc<Shared>,
    tasks: TaskSet,
}

impl Worker {
    /// Starts carrying in a direction; `history` says whether ranges are copied too.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(context: &Arc<Context>, direction: Direction, history: bool) -> Result<Worker> {
        let count = context.side(direction.target()).end.lanes();
        let source = &context.side(direction.source()).end;
        let fed = context.mode.rules().history != History::Feed;
        let shared = Arc::new(Shared::new(source, count, fed));
        let mut tasks = TaskSet::new(Stop::default());
        for id in (0..count).map(LaneId) {
            let lane = Lane {
                id,
                direction,
                shared: Arc::clone(&shared),
            };
            let context = Arc::clone(context);
            tasks.spawn(&format!("flow-{direction}-{}", id.0), move |stop| {
                work(&context, &lane, history, stop);
            })?;
        }
        Ok(Worker {
            direction,
            context: Arc::clone(context),
            shared,
            tasks,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Why it has ended by itself, once.
    #[must_use]
    pub fn take_failure(&self) -> Option<Error> {
        self.shared.lock().failure.take()
    }

    /// Where readers of rows announce themselves, once the flow has started.
    #[must_use]
    pub fn windows(&self) -> Option<Arc<Windows>> {
        self.shared.lock().windows.clone()
    }

    /// Whether it still carries with the flow that these windows belong to. A flow that failed and
    /// was started anew has others, and the earlier ones are told of nothing any more. Of several
    /// lanes it says so of the first: what they carry is compared in the logs themselves.
    #[must_use]
    pub fn carries_with(&self, windows: &Arc<Windows>) -> bool {
        let now = self.windows();
        now.is_some_and(|now| Arc::ptr_eq(&now, windows))
    }

    /// Waits until everything up to `goal` is durable in the target. False when time ran out or
    /// the worker ended.
    #[must_use]
    pub fn wait_applied(&self, context: &Context, goal: &Position, limit: Duration) -> bool {
        let source = &self.shared.source;
        let deadline = context.clock.elapsed() + limit;
        let mut lanes = self.shared.lock();
        loop {
            let Status {
                applied, failed, ..
            } = lanes.together(&**source);
            if applied.is_some_and(|applied| source.reached(&applied, goal)) {
                return true;
            }
            let left = deadline.saturating_sub(context.clock.elapsed());
            if left.is_zero() || failed {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(lanes, left);
            lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether a log is carried to its head in the time that a fence would leave for it: a lane
    /// that waits for its broker does not say how far it is behind. One that has stopped is not
    /// waited for.
    #[must_use]
    pub fn drains(&self, context: &Context, head: &Position) -> bool {
        let limit = match self.status().stopped.is_empty() {
            true => context.limits.fence_max,
            false => Duration::ZERO,
        };
        self.wait_applied(context, head, limit)
    }

    /// Carries keys again and waits until they are. False when time ran out or the worker ended.
    #[must_use]
    pub fn recarry(&self, pair: PairId, keys: Vec<Key>, limit: Duration) -> bool {
        let target = &self.context.side(self.direction.target()).end;
        let mut of_lanes: BTreeMap<LaneId, Vec<Key>> = BTreeMap::new();
        for key in keys {
            of_lanes
                .entry(target.lane(pair, &key))
                .or_default()
                .push(key);
        }
        let deadline = self.context.clock.elapsed() + limit;
        let ask = |(lane, keys): (LaneId, Vec<Key>)| {
            let (done, carried) = sync_channel(1);
            let mut lanes = self.shared.lock();
            // A lane that has ended answers nobody: what it is asked is dropped with the answer.
            let at = usize::from(lane.0);
            if lanes.all.get(at).is_some_and(|lane| !lane.failed)
                && let Some(queue) = lanes.recarries.get_mut(at)
            {
                queue.push_back(Recarry { pair, keys, done });
            }
            carried
        };
        let asked: Vec<Receiver<()>> = of_lanes.into_iter().map(ask).collect();
        asked.into_iter().all(|carried| {
            let left = deadline.saturating_sub(self.context.clock.elapsed());
            carried.recv_timeout(left).is_ok()
        })
    }

    /// Stops after the step at hand and waits for it.
    pub fn stop(&mut self) {
        self.tasks.join();
    }
}

/// Carries until asked to stop; passing faults are tried again, everything else ends the lane.
fn work(context: &Arc<Context>, lane: &Lane, history: bool, stop: &Stop) {
    let _told = Told(lane);
    let mut pause = BACKOFF_FIRST;
    while !stop.asked() {
        let mut progressed = false;
        match carry(context, lane, history, stop, &mut progressed) {
            Ok(()) => return,
            Err(error) if error.kind == Kind::Transient => {
                lane.publish(|status| {
                    status.lag_events = None;
                    status.trying_again = Some(error.to_string());
                });
                pause = if progressed {
                    BACKOFF_FIRST
                } else {
                    (pause * 2).min(BACKOFF_MAX)
                };
                if stop.wait(pause) {
                    return;
                }
            }
            Err(error) => return lane.fail(error),
        }
    }
}

/// A lane whose thread panics has failed, and its owner must hear of it.
struct Told<'l>(&'l Lane);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = format!("the thread of lane {} has ended by a panic", self.0.id.0);
            self.0
                .fail(Error::new(Kind::Internal, Code::INTERNAL, message));
        }
    }
}

fn carry(
    context: &Arc<Context>,
    lane: &Lane,
    history: bool,
    stop: &Stop,
    progressed: &mut bool,
) -> Result<()> {
    let mut carrier = Carrier::start(context, lane, history)?;
    while !stop.asked() {
        carrier.step(stop)?;
        *progressed = true;
    }
    Ok(())
}
