//! Which of some keys a log holds a record of.

use std::collections::{BTreeMap, HashSet};

use contraflow_core::end::Start;
use contraflow_core::error::Result;
use contraflow_core::log::Place;
use contraflow_core::side::Side;

use super::{EVENTS, Line, PATIENCE, PAUSE, entry};
use crate::compare::walk::stopped;
use crate::context::Context;
use crate::tasks::Stop;

/// Digests of keys by partition.
pub(super) type Keys = BTreeMap<Line, HashSet<u128>>;

/// Reads a side from its oldest record to its end; `None` when it does not get there.
pub(super) fn held(
    context: &Context,
    side: Side,
    wanted: &Keys,
    stop: &Stop,
) -> Result<Option<Keys>> {
    let mut feed = context.side(side).feed()?;
    feed.open(&Start::Earliest)?;
    let goal = feed.head()?.0;
    let mut found = Keys::new();
    let mut since = context.clock.elapsed();
    while !context.side(side).end.reached(&feed.received(), &goal) {
        stopped(stop)?;
        let events = feed.next(EVENTS)?.events;
        let now = context.clock.elapsed();
        if !events.is_empty() {
            since = now;
        } else if now.saturating_sub(since) >= PATIENCE {
            return Ok(None);
        } else {
            context.clock.sleep(PAUSE);
        }
        for event in events {
            let Some(at) = Place::of(&event.key) else {
                continue;
            };
            let lines = [false, true].map(|late| (event.pair, at.partition, late));
            let Some(key) = entry(context, side, at, event)?.key else {
                continue;
            };
            for line in lines {
                if wanted.get(&line).is_some_and(|keys| keys.contains(&key)) {
                    found.entry(line).or_default().insert(key);
                }
            }
        }
    }
    Ok(Some(found))
}
