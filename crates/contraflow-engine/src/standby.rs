//! The mirror's own feed: it must stay silent but for our echo, and the end must not keep its log
//! for us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start, Watched};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Rule;
use contraflow_core::side::Direction;

use crate::context::Context;
use crate::gather::Gather;
use crate::tasks::{Stop, TaskSet};

/// Between looks, while nothing is behind.
const REST: Duration = Duration::from_millis(100);
/// How many times as long as a look it rests while the feed brings history: who copies is waited
/// for, and what this looks at stays where it is.
const RESTS: u32 = 19;
/// For how long it rests while ranges are copied at full speed. Who copies is waited for here too,
/// and the end keeps its log for no longer.
const REST_OF_COPY: Duration = Duration::from_secs(4);
/// How long somebody who has nothing to show now is left alone, while there must be more.
const MOMENT: Duration = Duration::from_millis(1);

/// How long somebody is looked for who wrote as well, and how many records are named at most.
const NAMING_MAX: Duration = Duration::from_secs(2);
const NAMED_MAX: usize = 20;

/// What to do about writes that came before the flip: nothing carries them, and what is carried
/// would lie behind them.
const EARLY: &str = "Stop that producer. `contraflow abort`, make the new topic anew, and \
                     `contraflow run`.";
/// What to do about writes that came after it.
const LATE: &str = "Stop that producer, then `contraflow repair --late` carries them to the end \
                    with authority, or gives them up with `--give-up`.";

/// Somebody who looks at the mirror's feed, in a thread of its own, until this is dropped.
pub(crate) struct Standby {
    faults: Receiver<Error>,
    hurried: Arc<AtomicBool>,
    _looker: TaskSet,
}

impl Standby {
    /// Begins behind what the opposite flow has carried and an earlier look has seen. Mostly rests
    /// until the flow is `fed`, and while it copies as for [`Standby::hurry`].
    ///
    /// # Errors
    /// When the feed has lost its place, or the system has no thread left.
    pub(crate) fn start(
        context: &Arc<Context>,
        direction: Direction,
        fed: &Arc<AtomicBool>,
        copies: bool,
    ) -> Result<Standby> {
        let mut feed = context.side(direction.target()).feed()?;
        let opposite = direction.opposite();
        let checkpoint = context
            .side(direction.source())
            .apply()?
            .checkpoint(opposite)?;
        feed.open(&Start::NotBefore(checkpoint))?;
        let (out, faults) = sync_channel(1);
        let mut looker = TaskSet::new(Stop::default());
        let hurried = Arc::new(AtomicBool::new(copies));
        let mut eyes = Eyes {
            context: Arc::clone(context),
            direction,
            feed,
            fed: Arc::clone(fed),
            hurried: Arc::clone(&hurried),
        };
        looker.spawn("standby", move |stop| {
            if let Err(error) = eyes.look(stop) {
                // The flow may be gone.
                drop(out.send(error));
            }
        })?;
        Ok(Standby {
            faults,
            hurried,
            _looker: looker,
        })
    }

    /// Leaves the ends to a copy at full speed, or no longer: looks now and then at all that has
    /// gathered.
    pub(crate) fn hurry(&self, copies: bool) {
        self.hurried.store(copies, Ordering::Relaxed);
    }

    /// Says what was found.
    ///
    /// # Errors
    /// A hold when somebody else writes the mirror; whatever went wrong with the feed.
    pub(crate) fn is_silent(&self) -> Result<()> {
        self.faults.try_recv().map_or(Ok(()), Err)
    }
}

/// The thread's side.
struct Eyes {
    context: Arc<Context>,
    direction: Direction,
    feed: Box<dyn Feed>,
    fed: Arc<AtomicBool>,
    hurried: Arc<AtomicBool>,
}

impl Eyes {
    fn look(&mut self, stop: &Stop) -> Result<()> {
        let mut gather = Gather::resting(REST);
        while !stop.asked() {
            if self.hurried.load(Ordering::Relaxed) {
                self.rest_of_copy(stop);
                self.look_to_the_end(stop)?;
                continue;
            }
            let began = self.context.clock.elapsed();
            let mut rest = gather.after(self.look_once()?.events);
            if !self.fed.load(Ordering::Relaxed) {
                rest = rest.max(self.context.clock.elapsed().saturating_sub(began) * RESTS);
            }
            if stop.wait(rest) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn look_once(&mut self) -> Result<Watched> {
        let seen = self.feed.watch(self.direction)?;
        if seen.foreign > 0 {
            let seen = self.all_of_them(seen)?;
            return Err(written(&self.context, self.direction, &seen));
        }
        self.feed.confirm(&seen.through)?;
        Ok(seen)
    }

    /// What others have written by now, once some of it was seen: nobody looks while the change is
    /// held, and whoever mends it is to know of all.
    fn all_of_them(&mut self, mut seen: Watched) -> Result<Watched> {
        let (end, _) = self.feed.head()?;
        let side = Arc::clone(&self.context.side(self.direction.target()).end);
        let since = self.context.clock.elapsed();
        while !side.reached(&seen.through, &end)
            && self.context.clock.elapsed().saturating_sub(since) < NAMING_MAX
        {
            let more = self.feed.watch(self.direction)?;
            if more.events == 0 {
                self.context.clock.sleep(MOMENT);
            }
            seen.foreign += more.foreign;
            seen.named.extend(more.named);
            seen.named.truncate(NAMED_MAX);
            seen.through = more.through;
        }
        Ok(seen)
    }

    /// Looks at everything up to where the log ends now: more may come as fast as it is looked at.
    fn look_to_the_end(&mut self, stop: &Stop) -> Result<()> {
        let (end, _) = self.feed.head()?;
        let side = Arc::clone(&self.context.side(self.direction.target()).end);
        while self.hurried.load(Ordering::Relaxed) && !stop.asked() {
            let seen = self.look_once()?;
            // A sender may need a moment for what comes next.
            if side.reached(&seen.through, &end) || seen.events == 0 && stop.wait(MOMENT) {
                break;
            }
        }
        Ok(())
    }

    /// Rests for as long as the copy goes on, within the bound.
    fn rest_of_copy(&self, stop: &Stop) {
        let began = self.context.clock.elapsed();
        let rested = || self.context.clock.elapsed().saturating_sub(began);
        while self.hurried.load(Ordering::Relaxed) && rested() < REST_OF_COPY {
            if stop.wait(REST) {
                return;
            }
        }
    }
}

fn written(context: &Context, direction: Direction, seen: &Watched) -> Error {
    let side = direction.target();
    let message = format!("{} writes on the {side} end are not ours", seen.foreign);
    let error = Error::new(Kind::Hold, Code::ROGUE_WRITE, message).at(side);
    if context.mode.rules().turn.contains(&Rule::Writers) {
        // Nobody could refuse them.
        return error.detail(named(seen)).hint(match direction {
            Direction::Forward => EARLY,
            Direction::Reverse => LATE,
        });
    }
    error
        .detail(format!(
            "`{}` is the mirror; its guard was removed or bypassed.",
            context.side(side).end.address()
        ))
        .hint("Stop that writer, then `contraflow verify` and `contraflow repair`.")
}

/// The names of what was seen, as far as there are any.
fn named(seen: &Watched) -> String {
    let mut names = seen.named.join(", ");
    let more = seen.foreign.saturating_sub(seen.named.len() as u64);
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    format!("{names}.")
}
