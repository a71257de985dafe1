//! The steps of a turn: gates, fence, drain, compare, seal, flip.
//!
//! The losing end L is fenced for a bounded time, the flow drains to the fence, what changed since
//! the gates were judged is compared, L is sealed, and the gaining end G opens. The commit at G
//! alone decides. Each step is compare-and-set with the epoch in the end itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Letter, Most, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::{Evidence, Rule, Verdict, judge};
use contraflow_core::lease::Epoch;
use contraflow_core::mapping::check_laws;
use contraflow_core::phase::Compared;
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::side::{Direction, Side};

use crate::compare::{Audit, Beside, Comparer, Comparison, Stillness, sample};
use crate::context::Context;
use crate::keying;
use crate::tasks::Stop;
use crate::windows::{Touched, Windows};
use crate::worker::Worker;

/// Keys left to compare behind the fence at most: a few milliseconds of refused writers.
const TOUCHED_MAX: usize = 500;
/// How long the gates wait for what the flow is about to settle by itself: lag that the compare
/// before them has left, and letters that are due to be tried again.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How often is looked whether it has settled.
const SETTLE: Duration = Duration::from_millis(5);
/// Rows on which the laws of the mapping are tried.
const LAW_ROWS: Most = Most {
    rows: 200,
    bytes: 1 << 20,
};

/// A turn under way.
pub struct Turn {
    /// The losing side.
    losing: Side,
    /// Letters do not keep the gate closed.
    accept_loss: bool,
    /// The flow that the turn began beside.
    windows: Arc<Windows>,
    proof: Proof,
    fence: Option<(Position, Duration)>,
}

/// A compare of logs that goes on where the last one stopped: what was written cannot change. It
/// belongs to the flow that it ran beside, and ends when it has found something.
#[derive(Default)]
pub struct Kept(Option<(Arc<Windows>, Audit)>);

impl Kept {
    /// Compares what is there now, once the flow has had time to carry it, and says what was found
    /// so far.
    fn go_on(
        &mut self,
        context: &Context,
        worker: &Worker,
        stop: &Stop,
    ) -> Result<(Audit, Comparison)> {
        let compare = |audit: &mut Audit| {
            audit.wake()?;
            let head = audit.head()?;
            let goal = match worker.wait_applied(context, &head, SETTLE_MAX) {
                true => head,
                // What it has not carried by then is behind, not different.
                false => applied(worker)?,
            };
            audit.go_on(context, &goal, Stillness::Moving, stop)
        };
        if let Some((windows, mut audit)) = self.0.take()
            && worker.carries_with(&windows)
            && let Ok(found) = compare(&mut audit)
        {
            return Ok((audit, found));
        }
        // It is the first, or what the last one had not read yet is gone.
        let mut audit = Audit::open(context, worker.direction)?;
        let found = compare(&mut audit)?;
        Ok((audit, found))
    }

    fn keep(&mut self, context: &Context, worker: &Worker, mut audit: Audit) {
        let rests = audit.is_whole() && audit.rest(context).is_ok();
        let windows = worker.windows().filter(|_| rests);
        self.0 = windows.map(|windows| (windows, audit));
    }
}

/// What is left to be compared behind the fence.
enum Proof {
    /// The keys that were touched while the gates were judged, and are touched still.
    Keys(Touched),
    /// What the logs got since.
    Order(Option<Box<Audit>>),
}

impl Turn {
    /// A turn away from a side, beside the worker that carries from it.
    ///
    /// # Errors
    /// When the worker has not started yet.
    pub fn new(
        context: &Context,
        losing: Side,
        accept_loss: bool,
        worker: &Worker,
    ) -> Result<Turn> {
        let windows = worker.windows().ok_or_else(|| {
            Error::new(
                Kind::Transient,
                Code::TURN_FAILED,
                "the flow has not started yet",
            )
        })?;
        Ok(Turn {
            losing,
            accept_loss,
            proof: match context.mode.rules().compared {
                Compared::ByKey => Proof::Keys(windows.keep()),
                Compared::InOrder => Proof::Order(None),
            },
            windows,
            fence: None,
        })
    }

    fn direction(&self) -> Direction {
        self.losing.direction()
    }

    /// Finds out everything the gates ask, and judges. Little is left then of what was touched
    /// meanwhile: it is compared behind the fence.
    ///
    /// # Errors
    /// When an end cannot be read.
    pub fn judge(
        &mut self,
        context: &Context,
        epoch: Epoch,
        worker: &Worker,
        kept: &mut Kept,
        stop: &Stop,
    ) -> Result<(Vec<Evidence>, Vec<Verdict>)> {
        let direction = self.direction();
        // What does not wait for writers comes first: it is known by the time that they pause.
        let mut evidence = vec![
            laws(context, epoch, direction)?,
            keys(context, epoch, direction)?,
        ];
        let comparison = match &mut self.proof {
            Proof::Keys(touched) => {
                let beside = Beside {
                    worker,
                    touched,
                    stop,
                };
                let comparer = Comparer::open(context, direction)?;
                let mut comparer = comparer.accepting_loss(self.accept_loss).before_fence();
                let mut comparison = comparer.full(beside)?;
                evidence.extend(gather(context, epoch, direction, worker)?);
                if comparison.is_clean() {
                    comparer.shrink(TOUCHED_MAX, beside, &mut comparison)?;
                }
                comparison
            }
            Proof::Order(audit) => {
                let audit = audit.insert(Box::new(kept.go_on(context, worker, stop)?.0));
                // Nobody writes any more when the gate of the writers opens: little is left then.
                let mut gathered = gather(context, epoch, direction, worker)?;
                audit.wake()?;
                if !worker.drains(context, &audit.head()?) {
                    let lag = gathered.iter_mut().filter(|found| found.rule == Rule::Lag);
                    lag.for_each(|lag| lag.proven = false);
                }
                evidence.extend(gathered);
                let goal = applied(worker)?;
                audit.go_on(context, &goal, Stillness::Moving, stop)?
            }
        };
        self.same_flow(worker)?;
        evidence.push(evidence_of(context, epoch, direction, &comparison));
        let verdicts = judge(
            context.mode.rules().turn,
            &evidence,
            epoch,
            direction,
            |rule| {
                if rule == Rule::Letters && self.accept_loss {
                    u64::MAX
                } else {
                    context.allowed(rule)
                }
            },
        );
        context.probe.at(Point::TURN_JUDGED)?;
        Ok((evidence, verdicts))
    }

    /// Ends a turn that did not come to its flip: the next one compares what is new.
    pub fn give_up(self, context: &Context, worker: &Worker, kept: &mut Kept) {
        if let Proof::Order(Some(audit)) = self.proof {
            kept.keep(context, worker, *audit);
        }
    }

    /// Fails when the flow was started anew since the turn began: what it touched is not known.
    fn same_flow(&self, worker: &Worker) -> Result<()> {
        if worker.carries_with(&self.windows) {
            return Ok(());
        }
        Err(failed(
            "the flow was started anew while the turn was on its way",
        ))
    }

    /// Fences the losing end.
    ///
    /// # Errors
    /// When it is not open in this epoch.
    pub fn fence(&mut self, context: &Context, epoch: Epoch) -> Result<()> {
        context.probe.at(Point::FENCE_BEFORE)?;
        let limit = context.limits.fence_max;
        let deadline = context.clock.elapsed() + limit;
        let position = context.side(self.losing).switch()?.fence(epoch, limit)?;
        self.fence = Some((position, deadline));
        context.probe.at(Point::FENCE_AFTER)
    }

    /// Waits until the flow has applied everything up to the fence, letters included.
    ///
    /// # Errors
    /// When the fence ends first, or a letter was born.
    pub fn drain(&mut self, context: &Context, worker: &Worker) -> Result<()> {
        let (fence, deadline) = self.fenced()?;
        let left = deadline.saturating_sub(context.clock.elapsed());
        if !worker.wait_applied(context, fence, left) {
            return Err(failed("the flow did not drain before the fence ended"));
        }
        self.same_flow(worker)?;
        let (_, deadline) = self.fenced()?;
        loop {
            let letters = letters(context, self.direction())?;
            if letters == 0 || self.accept_loss {
                return context.probe.at(Point::DRAINED);
            }
            // A conflict of two rows settles by itself once the flow is idle; half of the fence
            // is left for the compare and the seal.
            let left = deadline.saturating_sub(context.clock.elapsed());
            if left < context.limits.fence_max / 2 {
                return Err(failed(&format!(
                    "{letters} letters were born while draining"
                )));
            }
            context.clock.sleep(SETTLE);
        }
    }

    /// Compares what was touched since the gates were judged. Nothing can change any more.
    ///
    /// # Errors
    /// When something differs.
    pub fn compare(
        &mut self,
        context: &Context,
        worker: &Worker,
        stop: &Stop,
    ) -> Result<Comparison> {
        self.same_flow(worker)?;
        let goal = self.fenced()?.0.clone();
        let direction = self.direction();
        let result = match &mut self.proof {
            Proof::Keys(touched) => {
                let mut result = Comparison::default();
                let touched = touched.take().ok_or_else(|| {
                    failed(
                        "more keys changed right before the fence than can be compared behind it",
                    )
                })?;
                Comparer::open(context, direction)?
                    .accepting_loss(self.accept_loss)
                    .settled(&touched, &mut result)?;
                result
            }
            Proof::Order(audit) => {
                let audit = audit
                    .as_mut()
                    .ok_or_else(|| failed("its gates were not judged"))?;
                audit.go_on(context, &goal, Stillness::Settled, stop)?
            }
        };
        if !result.is_clean() {
            let what = format!("{} of {} keys differ", result.diverged, result.narrowed);
            return Err(failed(&format!("the final compare is not clean: {what}")));
        }
        context.probe.at(Point::COMPARED)?;
        Ok(result)
    }

    /// Makes the fence permanent. The flow has stopped.
    ///
    /// # Errors
    /// [`Code::FENCE_EXPIRED`] when the fence has ended.
    pub fn seal(&mut self, context: &Context, epoch: Epoch) -> Result<()> {
        let (fence, until) = self.fenced()?;
        let gaining = context.side(self.losing.other());
        let head = match &self.proof {
            Proof::Keys(_) => {
                let mut feed = gaining.feed()?;
                feed.open(&Start::Earliest)?;
                feed.head()?.0
            }
            // Whatever lies behind it is nobody's copy: the way back carries it.
            Proof::Order(Some(audit)) => audit.compared(),
            Proof::Order(None) => return Err(failed("its logs were not compared")),
        };
        let mut losing = context.side(self.losing).switch()?;
        let left = until.saturating_sub(context.clock.elapsed());
        // What was fenced gives out no more numbers.
        let numbers = losing.sequences()?;
        gaining.switch()?.prepare(epoch.next(), &numbers, left)?;
        context.probe.at(Point::SEAL_BEFORE)?;
        losing.seal(epoch, fence, &head)?;
        context.probe.at(Point::SEAL_AFTER)
    }

    fn fenced(&self) -> Result<(&Position, Duration)> {
        let fence = self
            .fence
            .as_ref()
            .ok_or_else(|| failed("there is no fence"))?;
        Ok((&fence.0, fence.1))
    }
}

/// Opens the gaining end under the epoch that the seal claimed.
///
/// # Errors
/// When it is not closed in the epoch before.
pub fn flip(context: &Context, gaining: Side, epoch: Epoch) -> Result<()> {
    let sequences = context.side(gaining.other()).switch()?.sequences()?;
    context.side(gaining).switch()?.flip(epoch, &sequences)?;
    context.probe.at(Point::FLIP_AFTER)
}

/// Everything a gate asks that needs no compare, once the flow has settled or had time to.
///
/// # Errors
/// When an end cannot be read.
pub fn gather(
    context: &Context,
    epoch: Epoch,
    direction: Direction,
    worker: &Worker,
) -> Result<Vec<Evidence>> {
    let at_ms = context.clock.unix_ms();
    let found = |rule, count: Option<u64>, sample| Evidence {
        rule,
        epoch,
        direction,
        at_ms,
        count: count.unwrap_or(0),
        sample,
        proven: count.is_some(),
        who: Vec::new(),
    };
    settle(context, direction, worker)?;
    let lag = worker.status().lag_events;
    let violations = foreign_key_violations(context, direction)?;
    let letters = letters(context, direction)? + worker.status().stopped.len() as u64;
    let quiet = context.limits.writers_quiet;
    let writers = context.side(direction.source()).switch()?.writers(quiet)?;
    Ok(vec![
        found(Rule::Letters, Some(letters), letters),
        found(Rule::Lag, lag, 0),
        found(Rule::ForeignKeys, Some(violations), 0),
        found(Rule::Writers, writers, 0),
    ])
}

/// A full compare beside a running worker; of logs, what the kept one has not compared yet.
///
/// # Errors
/// When an end cannot be read, or the compare is no longer wanted.
pub fn whole(
    context: &Context,
    worker: &Worker,
    kept: &mut Kept,
    stop: &Stop,
) -> Result<Comparison> {
    match context.mode.rules().compared {
        Compared::ByKey => {
            let windows = worker
                .windows()
                .ok_or_else(|| failed("no flow is running"))?;
            let touched = windows.keep();
            Comparer::open(context, worker.direction)?.full(Beside {
                worker,
                touched: &touched,
                stop,
            })
        }
        Compared::InOrder => {
            let (audit, found) = kept.go_on(context, worker, stop)?;
            kept.keep(context, worker, audit);
            Ok(found)
        }
    }
}

/// Everything up to here was carried.
fn applied(worker: &Worker) -> Result<Position> {
    let applied = worker.status().applied.clone();
    applied.ok_or_else(|| failed("the flow has not started yet"))
}

/// The evidence in a compare.
#[must_use]
pub fn evidence_of(
    context: &Context,
    epoch: Epoch,
    direction: Direction,
    comparison: &Comparison,
) -> Evidence {
    Evidence {
        rule: Rule::Compare,
        epoch,
        direction,
        at_ms: context.clock.unix_ms(),
        count: comparison.diverged,
        sample: comparison.compared,
        proven: comparison.unproven == 0,
        who: Vec::new(),
    }
}

/// Tries the laws of all mappings on real rows of the authority.
fn laws(context: &Context, epoch: Epoch, direction: Direction) -> Result<Evidence> {
    let (mut broken, mut tried, mut proven) = (0, 0, true);
    for pair in context.pair_ids() {
        let sample = sample(context, direction.source(), pair, LAW_ROWS)?;
        proven &= sample.shows_something();
        let rows = sample.rows;
        tried += rows.len() as u64;
        let samples: [&[Image]; 2] = match direction {
            Direction::Forward => [&rows, &[]],
            Direction::Reverse => [&[], &rows],
        };
        let report = check_laws(&context.pair(pair).mapping, samples, epoch.0);
        let (keys_broken, keys) = keying::laws(context, pair)?;
        broken += u64::from(!report.holds()) + keys_broken;
        tried += keys;
    }
    Ok(Evidence {
        rule: Rule::Laws,
        epoch,
        direction,
        at_ms: context.clock.unix_ms(),
        count: broken,
        sample: tried,
        proven,
        who: Vec::new(),
    })
}

/// Looks whether keys stay in their partition, where records have keys.
fn keys(context: &Context, epoch: Epoch, direction: Direction) -> Result<Evidence> {
    let (count, sample) = keying::moved(context)?;
    Ok(Evidence {
        rule: Rule::Keys,
        epoch,
        direction,
        at_ms: context.clock.unix_ms(),
        count,
        sample,
        proven: true,
        who: Vec::new(),
    })
}

/// Letters of a direction that stand.
///
/// # Errors
/// When the mirror cannot be read.
pub fn letters(context: &Context, direction: Direction) -> Result<u64> {
    let letters = context.side(direction.target()).apply()?.letters()?;
    Ok(letters
        .iter()
        .filter(|letter| letter.direction == direction)
        .count() as u64)
}

/// Rows that were given up knowingly.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    here: HashSet<(PairId, Key)>,
    at_mirror: HashSet<(PairId, Key)>,
}

impl GivenUp {
    /// Whether a letter of the direction at hand names this key of the authority.
    pub(crate) fn names(&self, pair: PairId, key: &Key) -> bool {
        self.here.contains(&(pair, key.clone()))
    }

    /// Whether a letter that stood when the authority was gained names this key of the mirror. The
    /// mirror lost the authority in spite of it, so the row it still has was given up.
    pub(crate) fn names_at_mirror(&self, pair: PairId, key: &Key) -> bool {
        self.at_mirror.contains(&(pair, key.clone()))
    }
}

/// What letters give up: those of the direction at hand if that is accepted now, and those of the
/// opposite one, for which it was accepted at the flip.
///
/// # Errors
/// When an end cannot be read.
pub(crate) fn given_up(
    context: &Context,
    direction: Direction,
    accept_loss: bool,
) -> Result<GivenUp> {
    let named = |direction: Direction| -> Result<HashSet<(PairId, Key)>> {
        let letters = context.side(direction.target()).apply()?.letters()?;
        let mine = letters.into_iter().filter(|l| l.direction == direction);
        Ok(mine.map(|l| (l.letter.pair, l.letter.source_key)).collect())
    };
    Ok(GivenUp {
        here: if accept_loss {
            named(direction)?
        } else {
            HashSet::new()
        },
        at_mirror: named(direction.opposite())?,
    })
}

/// Letters of a direction that the flow tries again by itself.
///
/// # Errors
/// When the mirror cannot be read.
pub(crate) fn retried(context: &Context, direction: Direction) -> Result<Vec<Letter>> {
    let letters = context.side(direction.target()).apply()?.letters()?;
    Ok(letters
        .into_iter()
        .filter(|stored| stored.direction == direction && stored.letter.retry_after.is_some())
        .map(|stored| stored.letter)
        .collect())
}

/// Rows of the mirror that point at nothing, while the flow goes on: between two batches of one
/// transaction a row may point at one that is about to come, so those count that stay.
fn foreign_key_violations(context: &Context, direction: Direction) -> Result<u64> {
    let mut structure = context.side(direction.target()).structure()?;
    let deadline = context.clock.elapsed() + SETTLE_MAX;
    loop {
        let violations = structure.foreign_key_violations()?;
        if violations == 0 || context.clock.elapsed() >= deadline {
            return Ok(violations);
        }
        context.clock.sleep(SETTLE);
    }
}

/// Waits until the flow has caught up and has tried again what only waited for another row.
fn settle(context: &Context, direction: Direction, worker: &Worker) -> Result<()> {
    let deadline = context.clock.elapsed() + SETTLE_MAX;
    let behind = || {
        let status = worker.status();
        let lag = status.lag_events;
        !status.failed && lag.is_none_or(|lag| lag > context.allowed(Rule::Lag))
    };
    while context.clock.elapsed() < deadline
        && (behind() || !retried(context, direction)?.is_empty())
    {
        context.clock.sleep(SETTLE);
    }
    Ok(())
}

fn failed(why: &str) -> Error {
    Error::new(
        Kind::Transient,
        Code::TURN_FAILED,
        format!("the turn failed: {why}"),
    )
    .detail("Authority stayed where it was; writers go on there.")
    .hint("`contraflow status` shows the gates; ask again when they are open.")
}
