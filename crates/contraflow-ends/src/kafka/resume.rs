//! Where a lane goes on: its checkpoint, and what the last copies in the topic itself say.
//!
//! Both are written by one transaction, so they agree unless one of them was lost or restored. A
//! checkpoint that lies before the last copy is corrected: what is there must not be written again.
//! One that lies behind records without a copy is not believed.
//!
//! The checkpoint was read behind a barrier, so it is the last one. Of the topic itself, in which
//! we write nothing that is not a copy, a broker may show less than is there, if it leads no longer
//! and has not heard of it: less never moves the place back, and what lacks is looked for again.

use std::collections::BTreeSet;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::LaneId;
use contraflow_core::record::PairId;
use contraflow_core::side::{Direction, Side};
use rdkafka::message::Message;

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::control::{self, Control, Known};
use super::envelope::Telling;
use super::excerpt::{Excerpt, Span};
use super::letters::Parked;
use super::place::TopicPlace;

/// How far before the end the last copy is looked for first, and how much further each time.
const BACK: i64 = 4;
const FURTHER: i64 = 16;
/// How long copies that lack are looked for again before they count as lost, and how often.
const MISSED_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// The topics of one pair at the claim of a lane. Whoever has another lane may be writing.
struct Lines<'l> {
    context: &'l Context,
    broker: &'l Broker,
    control: &'l Control,
    pair: PairId,
    direction: Direction,
    lane: LaneId,
    /// Where copies are written.
    target: Topic,
    /// What they are copies of, as it was when the change began.
    source: &'l Known,
    /// Those of the lane that stand.
    letters: &'l [Parked],
}

/// What the target holds: of each partition the offset at the source of the last copy, and records
/// that stand out of their turn behind it, by partition and offset.
struct Copied {
    last: Vec<Option<i64>>,
    apart: BTreeSet<(i32, i64)>,
}

/// The places where a lane goes on, by pair; `None` when it begins. Those of partitions that are
/// not its own are as its checkpoint says.
pub(super) fn places(
    context: &Context,
    control: &Control,
    (direction, lane): (Direction, LaneId),
    (checkpoint, letters): (Option<Vec<TopicPlace>>, &[Parked]),
) -> Result<Option<Vec<TopicPlace>>> {
    let broker = &context.broker;
    let sources = control.topics(direction.source()).unwrap_or_default();
    let (mut places, mut carried) = (Vec::new(), checkpoint.is_some());
    for ((pair, table), source) in context.role.pairs().zip(sources) {
        let Some(target) = broker.topic(&table.name)? else {
            return Ok(checkpoint);
        };
        let lines = Lines {
            context,
            broker,
            control,
            pair,
            direction,
            lane,
            target,
            source,
            letters,
        };
        let at = checkpoint.as_ref();
        let at = at.and_then(|all| all.get(usize::from(pair.0)));
        let (place, copied) = lines.goes_on(at)?;
        carried |= copied;
        places.push(place);
    }
    Ok(carried.then_some(places))
}

impl Lines<'_> {
    /// Where the pair goes on, and whether there are copies.
    fn goes_on(&self, checkpoint: Option<&TopicPlace>) -> Result<(TopicPlace, bool)> {
        let source = self.broker.topic(&self.source.topic)?;
        let source = source.filter(|source| source.id == self.source.id);
        let starts = match &source {
            Some(source) => self.broker.starts(source)?,
            None => vec![0; self.source.partitions],
        };
        let mut place = checkpoint.cloned().unwrap_or_else(|| TopicPlace {
            topic: self.source.topic.clone(),
            id: self.source.id,
            next: starts.clone(),
        });
        let clock = &self.context.clock;
        let deadline = clock.elapsed() + MISSED_MAX;
        let copies = loop {
            let copied = self.last_copies()?;
            let checked = match (&source, checkpoint) {
                (Some(source), Some(_)) => self.is_not_ahead(source, &starts, &place, &copied),
                (None, _) | (_, None) => Ok(()),
            };
            match checked {
                Ok(()) => break copied.last,
                Err(error)
                    if error.code == Code::CHECKPOINT_AHEAD && clock.elapsed() < deadline =>
                {
                    clock.sleep(LOOK);
                    self.broker.look_again(&self.target)?;
                }
                Err(error) => return Err(error),
            }
        };
        for (next, copy) in place.next.iter_mut().zip(&copies) {
            *next = copy.map_or(*next, |copy| copy + 1).max(*next);
        }
        Ok((place, copies.iter().any(Option::is_some)))
    }

    /// Records of the pair that stand as letters, by partition and offset.
    fn parked(&self) -> impl Iterator<Item = (i32, i64)> {
        let mine = self.letters.iter();
        let mine = mine.filter(|parked| parked.stored.direction == self.direction);
        let at = mine.filter_map(Parked::at);
        let at = at.filter(|(pair, _)| *pair == self.pair);
        at.map(|(_, place)| (place.partition, place.offset))
    }

    /// Whether the lane carries a partition.
    fn is_ours(&self, partition: usize) -> bool {
        let lane = |partition| control::lane(self.pair, partition);
        i32::try_from(partition).is_ok_and(|partition| lane(partition) == self.lane)
    }

    fn telling(&self, side: Side) -> Telling {
        Telling::of(side, self.context, self.pair, Some(self.control))
    }

    /// Before these offsets of the target there is no copy.
    fn lowest(&self) -> Result<Vec<i64>> {
        let mut lowest = self.broker.starts(&self.target)?;
        let flip = self.control.flip.as_ref();
        let flip = flip.filter(|_| self.direction == Direction::Reverse);
        let ended = flip.and_then(|flip| flip.old_ends.get(usize::from(self.pair.0)));
        for (lowest, ended) in lowest.iter_mut().zip(ended.iter().flat_map(|at| &at.next)) {
            *lowest = (*lowest).max(*ended);
        }
        Ok(lowest)
    }

    /// The last copy in each partition of the target that stands in its turn.
    fn last_copies(&self) -> Result<Copied> {
        let ends = self.broker.ends(&self.target, Visible::Committed)?;
        let lowest = self.lowest()?;
        let telling = self.telling(self.direction.target());
        let mut found = vec![None; ends.len()];
        let mut apart = BTreeSet::new();
        let mut back = BACK;
        loop {
            let mut spans = Vec::new();
            for (partition, (end, lowest)) in ends.iter().zip(&lowest).enumerate() {
                let earlier = back / FURTHER;
                let from = (end - back).max(*lowest);
                // All of it was looked at when the step before went as far.
                let new = back == BACK || end - earlier > *lowest;
                let open = found[partition].is_none() && self.is_ours(partition);
                if open && from < *end && new {
                    spans.push(Span {
                        partition,
                        from,
                        to: *end,
                    });
                }
            }
            if spans.is_empty() {
                return Ok(Copied { last: found, apart });
            }
            Excerpt::new(self.context, &self.target.name)?.at(&spans, |partition, message| {
                let source = telling.read(message).source;
                match source.filter(|source| !source.late) {
                    Some(source) if source.replayed => {
                        apart.insert((source.partition, source.offset));
                    }
                    Some(source) => found[partition] = Some(source.offset),
                    None => {}
                }
                true
            })?;
            back = back.saturating_mul(FURTHER);
        }
    }

    /// Fails when a record between the last copy and the place was not copied.
    fn is_not_ahead(
        &self,
        source: &Topic,
        starts: &[i64],
        place: &TopicPlace,
        copied: &Copied,
    ) -> Result<()> {
        let Copied { last, apart } = copied;
        let parked: BTreeSet<(i32, i64)> = self.parked().collect();
        if self.broker.compacts(&self.target.name)? {
            // A copy may have been cleaned away since.
            return Ok(());
        }
        let forgotten = self.broker.starts(&self.target)?;
        let lowest = self.lowest()?;
        let flip = self.control.flip.as_ref();
        let begins = flip.and_then(|flip| flip.new_starts.get(usize::from(self.pair.0)));
        let mut spans = Vec::new();
        let ours = place.next.iter().enumerate();
        for (partition, next) in ours.filter(|(partition, _)| self.is_ours(*partition)) {
            let copy = last.get(partition).copied().flatten();
            if copy.is_none()
                && forgotten[partition] > 0
                && forgotten[partition] >= lowest[partition]
            {
                // Whether there was one cannot be seen any more.
                continue;
            }
            let begins = begins.filter(|_| self.direction == Direction::Reverse);
            let begins = begins.and_then(|at| at.next.get(partition)).copied();
            let from = copy.map_or(0, |copy| copy + 1);
            let from = from.max(starts[partition]).max(begins.unwrap_or(0));
            if from < *next {
                spans.push(Span {
                    partition,
                    from,
                    to: *next,
                });
            }
        }
        let telling = self.telling(self.direction.source());
        let mut gap = None;
        Excerpt::new(self.context, &source.name)?.at(&spans, |partition, message| {
            let headers = telling.read(message);
            let number = message.partition();
            let at = telling.place(number, message.offset(), headers.source.as_ref());
            let which = (number, message.offset());
            let kept = apart.contains(&which) || parked.contains(&which);
            let owed = headers.source.is_none() && !at.is_late() && !kept;
            if owed && message.offset() < place.next[partition] {
                gap.get_or_insert((partition, message.offset()));
            }
            !owed
        })?;
        gap.map_or(Ok(()), |(partition, offset)| {
            Err(self.ahead(partition, place.next[partition], offset))
        })
    }

    fn ahead(&self, partition: usize, next: i64, offset: i64) -> Error {
        let (source, target) = (&self.source.topic, &self.target.name);
        let message = format!(
            "the checkpoint of partition {partition} of `{source}` is {next}, and `{target}` has \
             no copy of record {offset}"
        );
        Error::new(Kind::Hold, Code::CHECKPOINT_AHEAD, message)
            .at(self.direction.target())
            .detail("Both are written by one transaction: one of the two was lost or restored.")
            .hint("Restore the topic; before the cutover, `contraflow abort` and a new one.")
    }
}
