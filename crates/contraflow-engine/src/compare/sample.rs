//! Real rows of a side, to try the laws of a mapping on.

use std::time::Duration;

use contraflow_core::end::{Most, Span, Start};
use contraflow_core::error::Result;
use contraflow_core::phase::Compared;
use contraflow_core::record::{Image, PairId};
use contraflow_core::side::Side;

use super::walk::nowhere;
use crate::context::Context;

/// How long a log that has nothing more to give is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The first rows of a pair on a side.
///
/// # Errors
/// When the side cannot be read.
pub fn sample(context: &Context, side: Side, pair: PairId, most: Most) -> Result<Vec<Image>> {
    let bound = context.side(side);
    if context.mode.rules().compared == Compared::ByKey {
        let chunk = bound.scan()?.read(&Span::whole(pair), most, &nowhere())?;
        return Ok(chunk.rows.into_iter().map(|(_, image)| image).collect());
    }
    let mut feed = bound.feed()?;
    feed.open(&Start::Earliest)?;
    let head = feed.head()?.0;
    let rows_max = usize::try_from(most.rows).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    let deadline = context.clock.elapsed() + PATIENCE;
    while rows.len() < rows_max
        && !bound.end.reached(&feed.received(), &head)
        && context.clock.elapsed() < deadline
    {
        let batch = feed.next(rows_max)?;
        let ours = batch.events.into_iter().filter(|event| event.pair == pair);
        rows.extend(ours.filter_map(|event| event.image));
    }
    rows.truncate(rows_max);
    Ok(rows)
}
