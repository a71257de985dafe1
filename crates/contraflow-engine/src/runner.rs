//! The only driver of phases: takes requests, decides, records intent, performs, records result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::Remove;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Verdict;
use contraflow_core::lease::{Epoch, Gate, Ownership, Standing, ownership};
use contraflow_core::ledger::{Entry, Ledger, RunnerMark};
use contraflow_core::phase::{Decision, Effect, Hold, Input, State, decide};
use contraflow_core::probe::Point;
use contraflow_core::side::Side;

use crate::context::Context;
use crate::lookout::Lookout;
use crate::progress::{Meter, Progress};
use crate::tasks::{Stop, TaskSet};
use crate::turn::{self, Kept, Turn};
use crate::worker::Worker;

pub use answers::refused;

use claim::take_run;
use words::{describe, say};

mod answers;
mod claim;
pub mod requests;
mod sealed;
mod words;

/// A ledger shared with the thread that gives signs of life.
pub type SharedLedger = Arc<Mutex<Box<dyn Ledger>>>;

/// Signs of life per second, and for how long one lasts.
const BEAT_EVERY: Duration = Duration::from_secs(1);
const BEAT_LASTS_MS: u64 = 5_000;
/// How long the runner waits when there is nothing to do.
const REST: Duration = Duration::from_millis(20);
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Tries of an effect that meets a passing fault, and the pause between them.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the change is over.
    Over,
    /// When this request is answered.
    Answered(u64),
}

/// Who is asked whether a process still lives.
pub type IsAlive = fn(process: &RunnerMark) -> bool;

/// What a runner tells the one who watches.
pub trait Watcher {
    /// A line of history was written.
    fn noted(&mut self, entry: &Entry);
    /// Progress was measured.
    fn progressed(&mut self, state: &State, progress: &Progress);
}

/// Runs one change.
pub struct Runner<'w> {
    context: Arc<Context>,
    ledger: SharedLedger,
    ledger_id: String,
    mark: RunnerMark,
    is_alive: IsAlive,
    state: State,
    version: u64,
    worker: Option<Worker>,
    turn: Option<Turn>,
    /// How far the logs were compared, for the next compare.
    kept: Kept,
    /// Who looks at the readers of the old end, where it knows them.
    lookout: Option<Lookout>,
    effects: VecDeque<Effect>,
    last_failure: Option<Error>,
    /// What the ledger could not be told during a turn: it is told when it answers again.
    unsaved: Option<Entry>,
    /// How often the ends refused in a row to finish a turn.
    refusals: u32,
    verdicts: Vec<Verdict>,
    meter: Meter,
    reported: Duration,
    /// Whether the last report said how far the worker is behind.
    reported_lag: bool,
    rows_estimated: u64,
    /// Rows of history that earlier runs carried.
    rows_before: u64,
    stop: Stop,
    watcher: &'w mut dyn Watcher,
}

impl<'w> Runner<'w> {
    /// Takes the run of a change and asks both ends who has authority.
    ///
    /// # Errors
    /// [`Code::ALREADY_RUNNING`] when another living process has the run;
    /// [`Code::OWNERSHIP_AMBIGUOUS`], [`Code::CARRIED_ELSEWHERE`] and [`Code::MAPPING_CHANGED`]
    /// when the ends do not agree with this process.
    pub fn start(
        context: Arc<Context>,
        ledger: SharedLedger,
        mark: RunnerMark,
        is_alive: IsAlive,
        stop: Stop,
        watcher: &'w mut dyn Watcher,
    ) -> Result<Runner<'w>> {
        take_run(&context, &ledger, &mark, is_alive)?;
        let saved = lock(&ledger).load()?;
        let (state, version) = match saved {
            Some(saved) => (saved.state, saved.version),
            None => (State::declared(), 0),
        };
        let ledger_id = lock(&ledger).id().to_owned();
        let rows_estimated = rows_estimated(&context);
        let mut runner = Runner {
            reported: context.clock.elapsed(),
            reported_lag: false,
            context,
            ledger,
            ledger_id,
            mark,
            is_alive,
            state,
            version,
            worker: None,
            turn: None,
            kept: Kept::default(),
            lookout: None,
            effects: VecDeque::new(),
            last_failure: None,
            unsaved: None,
            refusals: 0,
            verdicts: Vec::new(),
            meter: Meter::default(),
            rows_estimated,
            rows_before: 0,
            stop,
            watcher,
        };
        runner.observe()?;
        Ok(runner)
    }

    /// Runs until the condition is met or somebody asks to stop.
    ///
    /// # Errors
    /// When another process took over, or the ends are ambiguous.
    pub fn run(mut self, until: Until) -> Result<State> {
        let lost = Stop::default();
        let mut beats = TaskSet::new(Stop::default());
        self.start_beats(&mut beats, &lost)?;
        self.lookout = Lookout::start(&self.context, &self.ledger)?;
        let ended = self.run_until(until, &lost);
        self.worker = None;
        self.lookout = None;
        beats.join();
        lock(&self.ledger).leave(&self.mark.run)?;
        ended.map(|()| self.state)
    }

    fn run_until(&mut self, until: Until, lost: &Stop) -> Result<()> {
        if self.context.pairs.is_empty() && !self.state.phase.is_end() {
            return Err(without_pairs(&self.state));
        }
        loop {
            if lost.asked() {
                return Err(contraflow_core::end::fenced("the run was taken over"));
            }
            self.align_worker()?;
            if let Some(effect) = self.effects.pop_front() {
                self.perform(effect)?;
                continue;
            }
            if !self.is_saved()? {
                continue;
            }
            self.look_at_worker()?;
            if self.effects.is_empty() && !self.state.phase.is_turn() {
                self.answer_when_rested()?;
                self.take_requests()?;
            }
            self.report()?;
            let over = match until {
                Until::Over => self.state.phase.is_over(),
                Until::Answered(_) if self.state.phase.is_turn() => false,
                Until::Answered(id) => lock(&self.ledger).answered(id)?.is_some(),
            };
            if self.effects.is_empty() && (over || self.stop.asked() && !self.state.phase.is_turn())
            {
                return Ok(());
            }
            if self.effects.is_empty() && !self.stop.asked() && self.stop.wait(REST) {
                continue;
            }
        }
    }

    fn start_beats(&self, beats: &mut TaskSet, lost: &Stop) -> Result<()> {
        let (ledger, mut mark) = (Arc::clone(&self.ledger), self.mark.clone());
        let (context, lost) = (Arc::clone(&self.context), lost.clone());
        beats.spawn("beats", move |stop| {
            while !stop.wait(BEAT_EVERY) {
                mark.beat_ms = context.clock.unix_ms();
                let stale = mark.beat_ms.saturating_sub(BEAT_LASTS_MS);
                match lock(&ledger).beat(&mark, stale, None) {
                    Ok(holder) if holder.run == mark.run => {}
                    // A ledger that cannot be written for a while does not end the run: the ends
                    // fence it when another process takes over.
                    Err(_) => {}
                    Ok(_) => return lost.ask(),
                }
            }
        })
    }

    /// Starts, stops or turns the worker so that it does what the state says.
    fn align_worker(&mut self) -> Result<()> {
        let wanted = self.state.carries();
        if let Some(worker) = &mut self.worker
            && wanted != Some(worker.direction)
        {
            worker.stop();
            self.worker = None;
        }
        if let (None, Some(direction)) = (&self.worker, wanted) {
            let history = self.state.phase.copies_history();
            self.rows_before = if history {
                rows_there(&self.context)?
            } else {
                0
            };
            self.worker = Some(Worker::start(&self.context, direction, history)?);
            self.meter = Meter::default();
            self.reported_lag = false;
        }
        Ok(())
    }

    fn look_at_worker(&mut self) -> Result<()> {
        let Some(worker) = &self.worker else {
            return Ok(());
        };
        if let Some(failure) = worker.take_failure() {
            self.worker = None;
            return self.fail(failure);
        }
        let status = worker.status();
        let copied = status.history_done && self.state.phase.copies_history();
        if copied && status.applied.is_some() {
            // What is said of it is there by the time anybody sees that it is over.
            self.report_now(self.context.clock.elapsed())?;
            self.input(&Input::Backfilled, "history is copied")?;
        }
        Ok(())
    }

    /// Feeds an input to the machine, keeps the state, queues the effects.
    fn input(&mut self, input: &Input, text: &str) -> Result<()> {
        let decision = decide(self.context.mode, &self.state, input)?;
        self.keep(decision, "result", text)
    }

    fn keep(&mut self, decision: Decision, kind: &str, text: &str) -> Result<()> {
        let Decision { state, effects } = decision;
        if state != self.state || self.version == 0 {
            let entry = self.entry(kind, text);
            let mapping = &self.context.mapping;
            let kept = lock(&self.ledger).commit(self.version, &state, mapping, &entry);
            match kept {
                Ok(version) => {
                    self.version = version;
                    self.unsaved = None;
                }
                // The ends outrank the ledger: a turn goes on without it, and is told later.
                Err(error) if self.may_do_without(&error) => self.unsaved = Some(entry.clone()),
                Err(error) => return Err(error),
            }
            self.state = state;
            self.watcher.noted(&entry);
            self.context.probe.at(Point::LEDGER_RESULT)?;
        }
        let discrete =
            |effect: &Effect| !matches!(effect, Effect::Carry { .. } | Effect::Standby { .. });
        self.effects.extend(effects.into_iter().filter(discrete));
        Ok(())
    }

    fn note(&mut self, kind: &str, text: &str) -> Result<()> {
        let entry = self.entry(kind, text);
        let noted = lock(&self.ledger).record(&entry);
        self.watcher.noted(&entry);
        noted.or_else(|error| {
            if self.may_do_without(&error) {
                Ok(())
            } else {
                Err(error)
            }
        })
    }

    fn entry(&self, kind: &str, text: &str) -> Entry {
        let at_ms = self.context.clock.unix_ms();
        Entry {
            at_ms,
            kind: kind.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Turns a failure into what the machine does about it. Being overtaken and ambiguity end the
    /// process.
    fn fail(&mut self, failure: Error) -> Result<()> {
        if matches!(
            failure.kind,
            Kind::Fenced | Kind::Ambiguous | Kind::Internal
        ) {
            return Err(failure);
        }
        if !self.state.phase.is_turn() {
            self.turn = None;
        }
        let reason = reason(&failure);
        let text = format!("{}: {reason}", failure.code);
        let hold = Hold {
            code: Some(failure.code.0),
            reason,
            hint: failure.hint.clone(),
        };
        self.last_failure = Some(failure);
        self.effects.clear();
        let decision = decide(self.context.mode, &self.state, &Input::Failed(hold))?;
        self.keep(decision, "failed", &text)
    }

    fn perform(&mut self, effect: Effect) -> Result<()> {
        self.note("intent", &describe(effect))?;
        self.context.probe.at(Point::LEDGER_INTENT)?;
        let mut tries = 0;
        let outcome = loop {
            let outcome = self.act(effect);
            tries += 1;
            let again = matches!(&outcome, Err(error) if error.kind == Kind::Transient);
            if !again || tries == TRIES || self.state.phase.is_turn() || self.stop.wait(TRY_PAUSE) {
                break outcome;
            }
            if let Err(passing) = &outcome {
                self.note("waits", &reason(passing))?;
            }
        };
        match outcome {
            Ok(()) if effect == Effect::Observe => Ok(()),
            Ok(()) if matches!(effect, Effect::Seal { .. }) => self.flip_at_once(),
            Ok(()) => {
                self.refusals = 0;
                self.input(&Input::Done(effect), &format!("done: {}", describe(effect)))
            }
            Err(failure) => self.refused_by_ends(effect, failure),
        }
    }

    fn act(&mut self, effect: Effect) -> Result<()> {
        let context = Arc::clone(&self.context);
        let epoch = self.state.epoch;
        match effect {
            Effect::Carry { .. } | Effect::Standby { .. } => Ok(()),
            Effect::Expand => self.expand(),
            Effect::Judge { to } => self.judge_turn(to),
            Effect::Fence { .. } => self.turn()?.fence(&context, epoch),
            Effect::Drain { .. } => {
                let mut turn = self.turn.take().ok_or_else(no_turn)?;
                let drained = match &self.worker {
                    Some(worker) => turn.drain(&context, worker),
                    None => Err(no_turn()),
                };
                self.turn = Some(turn);
                drained
            }
            Effect::Compare { .. } => {
                let worker = self.worker.as_ref().ok_or_else(no_turn)?;
                let turn = self.turn.as_mut().ok_or_else(no_turn)?;
                turn.compare(&context, worker, &self.stop).map(|_| ())
            }
            Effect::Seal { .. } => self.turn()?.seal(&context, epoch),
            Effect::Flip { side } => {
                self.turn = None;
                turn::flip(&context, side, epoch)
            }
            Effect::Lift { side } => {
                if let (Some(turn), Some(worker)) = (self.turn.take(), &self.worker) {
                    turn.give_up(&context, worker, &mut self.kept);
                }
                context.side(side).switch()?.lift(epoch)
            }
            Effect::Observe => self.observe(),
            Effect::Contract => {
                context.old.structure()?.remove(Remove::Tables)?;
                context.probe.at(Point::CONTRACT_SIDE)?;
                context.new.structure()?.remove(Remove::Bookkeeping)?;
                context.probe.at(Point::CONTRACT_AFTER)
            }
            Effect::Remove => {
                context.new.structure()?.remove(Remove::Created)?;
                context.probe.at(Point::ABORT_SIDE)?;
                context.old.structure()?.remove(Remove::Bookkeeping)
            }
        }
    }

    fn turn(&mut self) -> Result<&mut Turn> {
        self.turn.as_mut().ok_or_else(no_turn)
    }

    /// Creates what the change needs: the mirror first, closed, then the authority, open.
    fn expand(&mut self) -> Result<()> {
        for (side, gate) in [(Side::New, Gate::Closed), (Side::Old, Gate::Open)] {
            let standing = Standing {
                gate,
                epoch: Epoch::FIRST,
                ledger: self.ledger_id.clone(),
                mapping: self.context.mapping.clone(),
            };
            self.context.side(side).structure()?.expand(&standing)?;
        }
        Ok(())
    }

    /// Asks both ends who has authority and follows what they say.
    fn observe(&mut self) -> Result<()> {
        let old = self.context.old.switch()?.standing()?;
        let new = self.context.new.switch()?.standing()?;
        for (side, standing) in [(Side::Old, &old), (Side::New, &new)] {
            if let Some(standing) = standing {
                self.is_ours(side, standing)?;
            }
        }
        let owner = ownership(old.as_ref(), new.as_ref());
        if owner == Ownership::Ambiguous {
            return Err(contraflow_core::phase::ambiguous());
        }
        let input = Input::Observed(owner);
        let decision = decide(self.context.mode, &self.state, &input)?;
        self.keep(
            decision,
            "observed",
            &format!("the ends say: {}", say(owner)),
        )
    }

    fn is_ours(&self, side: Side, standing: &Standing) -> Result<()> {
        if standing.ledger != self.ledger_id {
            let message = format!("the {side} end carries this change under another ledger");
            return Err(
                Error::new(Kind::Precondition, Code::CARRIED_ELSEWHERE, message)
                    .at(side)
                    .detail(
                        "A ledger was deleted, or the change was started from another checkout.",
                    )
                    .hint("`contraflow adopt` takes the change over; the other process is fenced."),
            );
        }
        if standing.mapping != self.context.mapping {
            let message = "the mapping differs from the one the change was started with";
            return Err(
                Error::new(Kind::Precondition, Code::MAPPING_CHANGED, message)
                    .at(side)
                    .detail(
                        "Rows written so far were mapped by the earlier one. Nothing was written.",
                    )
                    .hint("Restore the change file, or `contraflow abort` and run anew."),
            );
        }
        Ok(())
    }

    fn report(&mut self) -> Result<()> {
        let now = self.context.clock.elapsed();
        let lag = self
            .worker
            .as_ref()
            .and_then(|worker| worker.status().lag_events);
        let news = lag.is_some() && !self.reported_lag;
        if !news && now.saturating_sub(self.reported) < REPORT_EVERY {
            return Ok(());
        }
        self.report_now(now)
    }

    fn report_now(&mut self, now: Duration) -> Result<()> {
        self.reported = now;
        let progress = self.progress(now);
        self.reported_lag = progress.lag_events.is_some();
        let text = serde_json::to_string(&progress).unwrap_or_default();
        let reported = lock(&self.ledger).report(&text);
        if let Err(error) = reported
            && !self.may_do_without(&error)
        {
            return Err(error);
        }
        self.watcher.progressed(&self.state, &progress);
        Ok(())
    }

    fn progress(&mut self, now: Duration) -> Progress {
        let Some(worker) = &self.worker else {
            return Progress::default();
        };
        let status = worker.status();
        let totals = status.totals;
        self.meter
            .add(now, totals.rows, totals.bytes, totals.events);
        let (rows_per_s, bytes_per_s, events_per_s) = self.meter.rates();
        let rows = self.rows_before + totals.rows;
        let left = self.rows_estimated.saturating_sub(rows);
        let eta_s = (rows_per_s > 0 && !status.history_done).then(|| left / rows_per_s);
        Progress {
            at_s: now.as_secs(),
            direction: Some(worker.direction.to_string()),
            rows,
            rows_estimated: self.rows_estimated,
            bytes: totals.bytes,
            rows_per_s,
            bytes_per_s,
            events: totals.events,
            events_per_s,
            lag_events: status.lag_events,
            eta_s,
            stopped: status.stopped.clone(),
            producers: status.producers.clone(),
            trying_again: status.trying_again.clone(),
        }
    }
}

/// Rows that the new tables hold: what earlier runs carried.
fn rows_there(context: &Context) -> Result<u64> {
    let mut structure = context.new.structure()?;
    context.pair_ids().map(|pair| structure.count(pair)).sum()
}

fn rows_estimated(context: &Context) -> u64 {
    let estimate = |pair: &crate::context::Pair| {
        context
            .old
            .end
            .inspect(&pair.old, &[])
            .ok()
            .flatten()
            .map_or(0, |i| i.rows_estimated)
    };
    context.pairs.iter().map(estimate).sum()
}

/// A context without pairs finishes a contract or an abort; it must not carry anything.
/// What went wrong, in one line.
fn reason(failure: &Error) -> String {
    match &failure.detail {
        Some(detail) => format!("{failure}. {}", detail.trim_end_matches('.')),
        None => failure.to_string(),
    }
}

fn without_pairs(state: &State) -> Error {
    let message = format!(
        "the ends say that the change is in phase {}",
        state.phase.name()
    );
    Error::new(Kind::Precondition, Code::PHASE_REFUSES, message)
        .detail("The ledger said otherwise; it has been corrected.")
        .hint("`contraflow run` goes on from there.")
}

fn no_turn() -> Error {
    Error::new(
        Kind::Transient,
        Code::TURN_FAILED,
        "the turn was cut off and starts again",
    )
}

fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Box<dyn Ledger>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
