//! Real rows of a side, to try the laws of a mapping on.

use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::end::{Feed, Most, Span, Start};
use contraflow_core::error::Result;
use contraflow_core::phase::Compared;
use contraflow_core::position::Position;
use contraflow_core::record::{Image, PairId};
use contraflow_core::side::Side;

use super::walk::nowhere;
use crate::context::Context;

/// How long a log that has nothing more to give is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Some rows of a side.
#[derive(Debug, Default)]
pub struct Sample {
    /// The first ones.
    pub rows: Vec<Image>,
    /// Whether there are no others.
    pub whole: bool,
}

impl Sample {
    /// Whether what holds for the rows says anything: none of them say something of an empty side
    /// only.
    #[must_use]
    pub fn shows_something(&self) -> bool {
        self.whole || !self.rows.is_empty()
    }
}

/// The first rows of a pair on a side.
///
/// # Errors
/// When the side cannot be read.
pub fn sample(context: &Context, side: Side, pair: PairId, most: Most) -> Result<Sample> {
    let bound = context.side(side);
    if context.mode.rules().compared == Compared::ByKey {
        let chunk = bound.scan()?.read(&Span::whole(pair), most, &nowhere())?;
        return Ok(Sample {
            rows: chunk.rows.into_iter().map(|(_, image)| image).collect(),
            whole: chunk.cut.is_none(),
        });
    }
    let mut feed = bound.feed()?;
    feed.open(&Start::Earliest)?;
    let reached = |at: &Position, goal: &Position| bound.end.reached(at, goal);
    let rows_max = usize::try_from(most.rows).unwrap_or(usize::MAX);
    first(feed.as_mut(), pair, rows_max, reached, &*context.clock)
}

/// The first rows of a pair in an open feed.
fn first(
    feed: &mut dyn Feed,
    pair: PairId,
    rows_max: usize,
    reached: impl Fn(&Position, &Position) -> bool,
    clock: &dyn Clock,
) -> Result<Sample> {
    let head = feed.head()?.0;
    let mut sample = Sample::default();
    let deadline = clock.elapsed() + PATIENCE;
    while sample.rows.len() < rows_max && clock.elapsed() < deadline {
        sample.whole = reached(&feed.received(), &head);
        if sample.whole {
            break;
        }
        let batch = feed.next(rows_max)?;
        let ours = batch.events.into_iter().filter(|event| event.pair == pair);
        sample.rows.extend(ours.filter_map(|event| event.image));
    }
    sample.rows.truncate(rows_max);
    Ok(sample)
}

#[cfg(test)]
mod tests;
