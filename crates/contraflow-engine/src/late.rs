//! What was written to the end that lost authority, by writers that it could not refuse: each
//! record is carried to the other end once, or given up by name.

use std::collections::HashSet;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{LeftOut, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::Place;
use contraflow_core::position::Position;
use contraflow_core::record::{Event, Origin, PairId};
use contraflow_core::side::Direction;

use crate::context::Context;
use crate::flow::{Mapper, unmappable};
use crate::tasks::Stop;

/// Late writes go on in the direction that has ended.
const DIRECTION: Direction = Direction::Forward;
/// Events read at once.
const EVENTS: usize = 4_000;
/// How long a log that has nothing more to give is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause when it has nothing now.
const PAUSE: Duration = Duration::from_millis(2);
/// What gives up whatever stands.
const ALL: &str = "all";

/// What to do about one that cannot be carried.
const LEAVE_OUT: &str =
    "`contraflow repair --late --give-up TOPIC:PARTITION:OFFSET` leaves it out.";

/// What became of late writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) carried: u64,
    pub(crate) given_up: u64,
}

/// Settles everything that was written late until now.
///
/// # Errors
/// When one that is to be given up is not there, before anything is done; when one does not map:
/// what was settled before it stays so.
pub(crate) fn settle(context: &Context, give_up: &[String], stop: &Stop) -> Result<Settled> {
    let mut late = context.side(DIRECTION.target()).late()?;
    let from = late.claim()?;
    let left_out = find(context, give_up, &from, stop)?;
    let mut settled = Settled::default();
    walk(context, &from, &left_out, stop, |events, through| {
        let (gone, kept): (Vec<Event>, Vec<Event>) = events
            .into_iter()
            .partition(|event| name(event).is_some_and(|(pair, at)| left_out.names(pair, at)));
        let mut mapper = Mapper::new(context, DIRECTION, kept.len());
        for event in kept {
            mapper.event(event)?;
        }
        if let Some(letter) = mapper.letters.first() {
            return Err(unmappable(letter).hint(LEAVE_OUT));
        }
        let places: Vec<_> = gone.iter().filter_map(name).collect();
        if mapper.records.is_empty() && places.is_empty() {
            return Ok(());
        }
        if let Some(letter) = late.settle(&mapper.records, &places, through)?.first() {
            return Err(unmappable(letter).hint(LEAVE_OUT));
        }
        settled.carried += mapper.records.len() as u64;
        settled.given_up += places.len() as u64;
        Ok(())
    })?;
    Ok(settled)
}

/// What names stand for, all of which must be there.
fn find(context: &Context, names: &[String], from: &Position, stop: &Stop) -> Result<LeftOut> {
    if names.iter().any(|name| name == ALL) {
        return Ok(LeftOut::All);
    }
    let these: HashSet<_> = names
        .iter()
        .map(|text| parse(context, text).ok_or_else(|| unknown(text)))
        .collect::<Result<_>>()?;
    let mut left = these.clone();
    if !left.is_empty() {
        walk(context, from, &LeftOut::All, stop, |events, _| {
            for found in events.iter().filter_map(name) {
                left.remove(&found);
            }
            Ok(())
        })?;
    }
    let Some((pair, place)) = left.into_iter().next() else {
        return Ok(LeftOut::These(these));
    };
    let (
        topic,
        Place {
            partition, offset, ..
        },
    ) = (&context.pair(pair).old, place);
    Err(unknown(&format!("{topic}:{partition}:{offset}")))
}

fn name(event: &Event) -> Option<(PairId, Place)> {
    Some((event.pair, Place::of(&event.key)?))
}

/// A record by its name: log, partition and offset.
fn parse(context: &Context, text: &str) -> Option<(PairId, Place)> {
    let (rest, offset) = text.rsplit_once(':')?;
    let (log, partition) = rest.rsplit_once(':')?;
    let mut pairs = context.pair_ids();
    let pair = pairs.find(|pair| context.pair(*pair).old == log)?;
    let place = Place::late(partition.parse().ok()?, offset.parse().ok()?);
    Some((pair, place))
}

/// Hands over what writers wrote between a position and the end that the log has now.
fn walk(
    context: &Context,
    from: &Position,
    left_out: &LeftOut,
    stop: &Stop,
    mut take: impl FnMut(Vec<Event>, &Position) -> Result<()>,
) -> Result<()> {
    let source = context.side(DIRECTION.source());
    let mut feed = source.feed()?;
    feed.open(&Start::NotBefore(Some(from.clone())))?;
    feed.leave_out(left_out);
    let head = feed.head()?.0;
    let mut since = context.clock.elapsed();
    while !source.end.reached(&feed.received(), &head) {
        let before = feed.received();
        let batch = feed.next(EVENTS).map_err(|error| match error.kind {
            Kind::Hold => error.hint(LEAVE_OUT),
            _ => error,
        })?;
        if batch.through == before {
            if stop.asked() || context.clock.elapsed().saturating_sub(since) >= PATIENCE {
                return Err(unread());
            }
            context.clock.sleep(PAUSE);
            continue;
        }
        since = context.clock.elapsed();
        if let Some(letter) = batch.unreadable.first() {
            return Err(unmappable(letter).hint(LEAVE_OUT));
        }
        let mut events = batch.events;
        events.retain(|event| event.origin == Origin::Application);
        take(events, &batch.through)?;
    }
    Ok(())
}

fn unread() -> Error {
    let message = "the log of the end that lost authority was not read to its end";
    Error::new(Kind::Transient, Code::WAIT_TIMED_OUT, message).hint("Ask again.")
}

fn unknown(name: &str) -> Error {
    let message = format!("no late record `{name}` stands");
    Error::new(Kind::Precondition, Code::LETTER_UNKNOWN, message)
        .hint("`contraflow status` names them: log, partition and offset; `all` means all.")
}
