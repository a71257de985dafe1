//! Claims a lane and runs the flow in a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contraflow_core::end::Range;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Rule;
use contraflow_core::phase::History;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId, Record};
use contraflow_core::side::Direction;

use crate::backfill::{self, Read, Size, Work};
use crate::context::Context;
use crate::flow::{Flow, Pace, Stepped, Stopped, Totals};
use crate::keying;
use crate::standby::Standby;
use crate::tasks::{Stop, TaskSet};
use crate::windows::Windows;

/// Pairs that are read at the same time.
const READERS: usize = 2;
/// Ranges read ahead of the flow.
const READ_AHEAD: usize = 2;
/// How long an idle flow waits before it asks the feed again.
const IDLE: Duration = Duration::from_millis(2);
/// How often lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same while the feed brings history: the flow waits for the answer.
const LOOK_EVERY_FEEDING: Duration = Duration::from_millis(500);
/// The first and the longest pause before a passing fault is tried again.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What a running worker says of itself.
#[derive(Debug, Default)]
pub struct Status {
    /// Everything up to here is durable in the target.
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
    /// Why the worker ended by itself.
    pub failure: Option<Error>,
    windows: Option<Arc<Windows>>,
}

/// A worker as its owner sees it.
pub struct Worker {
    /// Which way it carries.
    pub direction: Direction,
    shared: Arc<Shared>,
    tasks: TaskSet,
}

#[derive(Default)]
struct Shared {
    status: Mutex<Status>,
    changed: Condvar,
    recarries: Mutex<VecDeque<Recarry>>,
}

struct Recarry {
    pair: PairId,
    keys: Vec<Key>,
    done: SyncSender<()>,
}

impl Worker {
    /// Starts carrying in a direction; `history` says whether ranges are copied too.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(context: &Arc<Context>, direction: Direction, history: bool) -> Result<Worker> {
        let shared = Arc::new(Shared::default());
        let mut tasks = TaskSet::new(Stop::default());
        let (theirs, context) = (Arc::clone(&shared), Arc::clone(context));
        tasks.spawn(&format!("flow-{direction}"), move |stop| {
            work(&context, direction, history, &theirs, stop);
        })?;
        Ok(Worker {
            direction,
            shared,
            tasks,
        })
    }

    /// What it says of itself.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.shared.lock()
    }

    /// Where readers of rows announce themselves, once the flow has started.
    #[must_use]
    pub fn windows(&self) -> Option<Arc<Windows>> {
        self.status().windows.clone()
    }

    /// Whether it still carries with the flow that these windows belong to. A flow that failed and
    /// was started anew has others, and the earlier ones are told of nothing any more.
    #[must_use]
    pub fn carries_with(&self, windows: &Arc<Windows>) -> bool {
        let now = self.windows();
        now.is_some_and(|now| Arc::ptr_eq(&now, windows))
    }

    /// Waits until everything up to `goal` is durable in the target. False when time ran out or
    /// the worker ended.
    #[must_use]
    pub fn wait_applied(&self, context: &Context, goal: &Position, limit: Duration) -> bool {
        let source = &context.side(self.direction.source()).end;
        let deadline = context.clock.elapsed() + limit;
        let mut status = self.status();
        loop {
            if status
                .applied
                .as_ref()
                .is_some_and(|applied| source.reached(applied, goal))
            {
                return true;
            }
            let left = deadline.saturating_sub(context.clock.elapsed());
            if left.is_zero() || status.failure.is_some() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(status, left);
            status = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Carries keys again and waits until they are. False when time ran out or the worker ended.
    #[must_use]
    pub fn recarry(&self, pair: PairId, keys: Vec<Key>, limit: Duration) -> bool {
        let (done, carried) = sync_channel(1);
        let mut queue = self
            .shared
            .recarries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        queue.push_back(Recarry { pair, keys, done });
        drop(queue);
        carried.recv_timeout(limit).is_ok()
    }

    /// Stops after the step at hand and waits for it.
    pub fn stop(&mut self) {
        self.tasks.join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recarry(&self) -> Option<Recarry> {
        let recarries = self.recarries.lock();
        let mut recarries = recarries.unwrap_or_else(PoisonError::into_inner);
        recarries.pop_front()
    }

    fn publish(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Carries until asked to stop; passing faults are tried again, everything else ends the worker.
fn work(
    context: &Arc<Context>,
    direction: Direction,
    history: bool,
    shared: &Arc<Shared>,
    stop: &Stop,
) {
    let mut pause = BACKOFF_FIRST;
    while !stop.asked() {
        let mut progressed = false;
        match carry(context, direction, history, shared, stop, &mut progressed) {
            Ok(()) => return,
            Err(error) if error.kind == Kind::Transient => {
                shared.publish(|status| {
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
            Err(error) => return shared.publish(|status| status.failure = Some(error)),
        }
    }
}

fn carry(
    context: &Arc<Context>,
    direction: Direction,
    history: bool,
    shared: &Arc<Shared>,
    stop: &Stop,
    progressed: &mut bool,
) -> Result<()> {
    let mut flow = Flow::start(context, direction, Pace::Ahead)?;
    let size = Arc::new(Size::default());
    let mut copy = Copy::start(context, &flow, history, &size)?;
    let full = context.limits.copies_at_full_speed();
    let standby = Standby::start(context, direction, flow.fed(), full && !copy.is_done())?;
    shared.publish(|status| {
        status.windows = Some(Arc::clone(flow.windows()));
        status.applied = Some(flow.applied().clone());
        status.trying_again = None;
    });
    let mut asked: VecDeque<SyncSender<()>> = VecDeque::new();
    let mut looked = None;
    while !stop.asked() {
        // Not before the first step: until then the feed does not know what readers must wait for.
        if let Some(recarry) = looked.and_then(|_| shared.recarry()) {
            flow.recarry(recarry.pair, recarry.keys)?;
            asked.push_back(recarry.done);
        }
        let rows_before = flow.totals().rows;
        copy.offer_to(&mut flow, Duration::ZERO)?;
        let stepped = flow.step()?;
        *progressed = true;
        match &stepped {
            Stepped::Copied(range) => {
                copy.done(range);
                copy.give_back(flow.take_spent());
                size.learn(flow.totals().rows - rows_before, flow.held());
            }
            Stepped::Recarried if flow.waiting() == 0 => {
                for done in asked.drain(..) {
                    // The one who asked may have stopped waiting.
                    let _gone = done.send(());
                }
            }
            Stepped::Recarried | Stepped::Followed | Stepped::Idle => {}
        }
        standby.hurry(full && !copy.is_done());
        standby.is_silent()?;
        let now = context.clock.elapsed();
        let mut lag = None;
        if looked.is_none_or(|at| now.saturating_sub(at) >= rest_of(&flow, &stepped)) {
            lag = Some(flow.lag()?);
            looked = Some(now);
            if lag.is_some_and(|lag| lag <= context.allowed(Rule::Lag)) {
                caught_up(context, &flow, shared)?;
            }
        }
        shared.publish(|status| {
            status.applied = Some(flow.applied().clone());
            status.totals = flow.totals();
            status.stopped = flow.stopped();
            status.history_done = copy.is_done() && flow.fed().load(Ordering::Relaxed);
            status.lag_events = lag.or(status.lag_events);
        });
        if stepped == Stepped::Idle && !copy.offer_to(&mut flow, IDLE)? {
            copy.rest(stop);
        }
    }
    Ok(())
}

/// A feed that begins with history has brought it once it has caught up.
fn caught_up(context: &Arc<Context>, flow: &Flow, shared: &Shared) -> Result<()> {
    let fed = flow.fed().load(Ordering::Relaxed);
    if !fed && flow.direction() == Direction::Forward {
        let producers = keying::producers(context)?;
        shared.publish(|status| status.producers = producers);
    }
    flow.fed().store(true, Ordering::Relaxed);
    Ok(())
}

/// How long lag is not looked at again.
fn rest_of(flow: &Flow, stepped: &Stepped) -> Duration {
    match flow.fed().load(Ordering::Relaxed) || *stepped == Stepped::Idle {
        true => LOOK_EVERY,
        false => LOOK_EVERY_FEEDING,
    }
}

/// The readers of history, while there are any.
struct Copy {
    reads: Option<Receiver<Result<Read>>>,
    /// Rows that were carried go back to the readers, which allocated them: freeing the memory of
    /// another thread costs several times as much, and the flow is what everybody waits for.
    spent: Option<SyncSender<Vec<Record>>>,
    pairs_left: Vec<PairId>,
    /// Joined when dropped, after `reads`: a reader that waits to hand over is woken first.
    _readers: TaskSet,
}

impl Copy {
    fn start(context: &Arc<Context>, flow: &Flow, history: bool, size: &Arc<Size>) -> Result<Copy> {
        let ranges = context.mode.rules().history == History::Ranges;
        let is_left = |(pair, last): &(PairId, Option<Range>)| {
            let done = last.as_ref().is_some_and(|range| range.through.is_none());
            history && ranges && !done && context.pair(*pair).history.copies()
        };
        let mut left = flow.resumed_chunks().to_vec();
        left.retain(is_left);
        let pairs_left: Vec<PairId> = left.iter().map(|(pair, _)| *pair).collect();
        let mut readers = TaskSet::new(Stop::default());
        if pairs_left.is_empty() {
            return Ok(Copy {
                reads: None,
                spent: None,
                pairs_left,
                _readers: readers,
            });
        }
        let (out, reads) = sync_channel(READ_AHEAD);
        let (spent, given_back) = sync_channel(READ_AHEAD);
        let work = Arc::new(Work::new(left, Arc::clone(size), given_back));
        for n in 1..=pairs_left.len().min(READERS) {
            let (context, direction) = (Arc::clone(context), flow.direction());
            let (windows, work) = (Arc::clone(flow.windows()), Arc::clone(&work));
            let out = out.clone();
            readers.spawn(&format!("backfill-{n}"), move |stop| {
                let read = backfill::read(&context, direction, &windows, &work, &out, stop);
                if let Err(error) = read {
                    // The flow may have ended already; then nobody needs to know.
                    drop(out.send(Err(error)));
                }
            })?;
        }
        Ok(Copy {
            reads: Some(reads),
            spent: Some(spent),
            pairs_left,
            _readers: readers,
        })
    }

    /// Takes what was read, waiting for it at most this long. Says whether there was something.
    fn offer_to(&mut self, flow: &mut Flow, wait: Duration) -> Result<bool> {
        let Some(reads) = &self.reads else {
            return Ok(false);
        };
        if flow.waiting() >= READ_AHEAD {
            return Ok(false);
        }
        match reads.recv_timeout(wait) {
            Ok(read) => {
                let Read { window, rows } = read?;
                flow.offer(window, rows);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                self.reads = None;
                Ok(false)
            }
        }
    }

    fn give_back(&self, rows: Vec<Record>) {
        if let Some(spent) = &self.spent {
            // A reader that has no time or has ended leaves freeing them to us.
            drop(spent.try_send(rows));
        }
    }

    fn done(&mut self, range: &Range) {
        if range.through.is_none() {
            self.pairs_left.retain(|pair| *pair != range.pair);
        }
    }

    fn is_done(&self) -> bool {
        self.pairs_left.is_empty()
    }

    /// Waits a moment when there is no reader whose rows would be waited for.
    fn rest(&self, stop: &Stop) {
        if self.reads.is_none() && stop.wait(IDLE) {}
    }
}
