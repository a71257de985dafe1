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
use contraflow_core::lease::LaneId;
use contraflow_core::side::Direction;

use crate::context::Context;
use crate::gather::Gather;
use crate::tasks::{Stop, TaskSet};

/// Between looks, while nothing is behind.
const REST: Duration = Duration::from_millis(100);
/// How many times as long as a look it rests while the feed brings history: who copies is waited
/// for, and what this looks at stays where it is.
const RESTS: u32 = 9;

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
    _looker: TaskSet,
}

impl Standby {
    /// Begins behind what the opposite flow has carried and an earlier look has seen. Mostly rests
    /// until the flow is `fed`.
    ///
    /// # Errors
    /// When the feed has lost its place, or the system has no thread left.
    pub(crate) fn start(
        context: &Arc<Context>,
        direction: Direction,
        fed: &Arc<AtomicBool>,
    ) -> Result<Standby> {
        let mut feed = context.side(direction.target()).feed()?;
        let opposite = direction.opposite();
        let checkpoint = context
            .side(direction.source())
            .apply()?
            .checkpoint(LaneId(0), opposite)?;
        feed.open(&Start::NotBefore(checkpoint))?;
        let (out, faults) = sync_channel(1);
        let mut looker = TaskSet::new(Stop::default());
        let (context, fed) = (Arc::clone(context), Arc::clone(fed));
        looker.spawn("standby", move |stop| {
            if let Err(error) = look(&context, direction, feed.as_mut(), &fed, stop) {
                // The flow may be gone.
                drop(out.send(error));
            }
        })?;
        Ok(Standby {
            faults,
            _looker: looker,
        })
    }

    /// Says what was found.
    ///
    /// # Errors
    /// A hold when somebody else writes the mirror; whatever went wrong with the feed.
    pub(crate) fn is_silent(&self) -> Result<()> {
        self.faults.try_recv().map_or(Ok(()), Err)
    }
}

fn look(
    context: &Context,
    direction: Direction,
    feed: &mut dyn Feed,
    fed: &AtomicBool,
    stop: &Stop,
) -> Result<()> {
    let mut gather = Gather::resting(REST);
    while !stop.asked() {
        let began = context.clock.elapsed();
        let seen = feed.watch(direction)?;
        if seen.foreign > 0 {
            return Err(written(context, direction, &seen));
        }
        feed.confirm(&seen.through)?;
        let mut rest = gather.after(seen.events);
        if !fed.load(Ordering::Relaxed) {
            rest = rest.max(context.clock.elapsed().saturating_sub(began) * RESTS);
        }
        if stop.wait(rest) {
            return Ok(());
        }
    }
    Ok(())
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
