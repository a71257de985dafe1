//! Records without a counterpart in its place: letters, records that were, and lost ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contraflow_core::error::Result;
use contraflow_core::log::Place;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;

use super::{Audit, EVENTS, Kind, PATIENCE, PAUSE, found, place};
use crate::compare::Comparison;
use crate::compare::walk::stopped;
use crate::context::Context;
use crate::tasks::Stop;

/// How often letters are looked at while records are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long what a transaction wrote to one topic may be seen before what it wrote to another.
const SEEN_LATE: Duration = Duration::from_secs(3);

/// Letters of both directions that stand.
#[derive(Default)]
pub(super) struct Letters {
    all: BTreeSet<(PairId, Place)>,
    looked: Option<Duration>,
}

impl Letters {
    /// Whether one names a record.
    pub(super) fn name(&self, pair: PairId, at: Place) -> bool {
        self.all.contains(&(pair, at))
    }

    fn look(&mut self, context: &Context) -> Result<()> {
        self.all.clear();
        for side in Side::BOTH {
            for stored in context.side(side).apply()?.letters()? {
                let letter = stored.letter;
                let at = Place::of(&letter.source_key);
                self.all.extend(at.map(|at| (letter.pair, at)));
            }
        }
        self.looked = Some(context.clock.elapsed());
        Ok(())
    }
}

/// What a side of one partition has that the other one does not have in its place.
#[derive(Default)]
pub(super) struct Unmatched {
    all: Vec<Alone>,
    /// What stands out of its turn, by side.
    replayed: [BTreeMap<Place, Option<u128>>; 2],
}

struct Alone {
    side: Side,
    at: Place,
    digest: Option<u128>,
    kind: Kind,
}

impl Unmatched {
    /// The other side lacks a record of this one.
    pub(super) fn lacks(&mut self, side: Side, at: Place, digest: Option<u128>, kind: Kind) {
        self.all.push(Alone {
            side,
            at,
            digest,
            kind,
        });
    }

    /// A record of a side cannot be read.
    pub(super) fn unreadable(&mut self, side: Side, at: Place, reason: String) {
        self.lacks(side, at, None, Kind::Unmappable(reason));
    }

    /// A side has a record out of its turn.
    pub(super) fn replayed(&mut self, side: Side, at: Place, digest: Option<u128>) {
        self.replayed[place(side)].insert(at, digest);
    }

    /// Whether a record is neither a letter nor was one, as far as is known.
    fn is_open(&self, stands: impl Fn(Place) -> bool) -> bool {
        let mut all = self.all.iter();
        all.any(|alone| !stands(alone.at) && self.counterpart(alone).is_none())
    }

    fn counterpart(&self, alone: &Alone) -> Option<&Option<u128>> {
        self.replayed[place(alone.side.other())].get(&alone.at)
    }

    /// What the records without a counterpart are.
    pub(super) fn judge(
        &self,
        pair: PairId,
        authority: Side,
        (stands, owed): (&impl Fn(PairId, Place) -> bool, &impl Fn(Place) -> bool),
        result: &mut Comparison,
    ) {
        let mut met = BTreeSet::new();
        for alone in &self.all {
            if alone.side == authority && !owed(alone.at) {
                continue;
            }
            if stands(pair, alone.at) {
                result.parked += 1;
                continue;
            }
            match self.counterpart(alone) {
                Some(digest) => {
                    met.insert(alone.at);
                    result.compared += 1;
                    if *digest != alone.digest || digest.is_none() {
                        result.find(found(pair, alone.at, Kind::Different(Vec::new())));
                    }
                }
                None => result.find(found(pair, alone.at, alone.kind.clone())),
            }
        }
        let replayed = self.replayed.iter().flat_map(BTreeMap::keys);
        for at in replayed.filter(|at| !met.contains(at)) {
            result.find(found(pair, *at, Kind::Extra));
        }
    }
}

impl Audit {
    /// Leaves letters behind that nothing follows, so that nobody waits for their counterparts.
    pub(super) fn leave_parked(&mut self, context: &Context) -> Result<()> {
        let now = context.clock.elapsed();
        let recent = |looked: Duration| now.saturating_sub(looked) < LOOK_EVERY;
        if self.letters.looked.is_some_and(recent) {
            return Ok(());
        }
        self.letters.look(context)?;
        for ((pair, ..), lane) in &mut self.lanes {
            for side in Side::BOTH {
                let waiting = &mut lane.waiting[place(side)];
                let is_letter = |front: &super::Entry| {
                    let replayed = &lane.unmatched.replayed[place(side.other())];
                    self.letters.name(*pair, front.place) || replayed.contains_key(&front.place)
                };
                while waiting.front().is_some_and(is_letter)
                    && let Some(front) = waiting.pop_front()
                {
                    let kind = match side == self.direction.source() {
                        true => Kind::Missing,
                        false => Kind::Extra,
                    };
                    lane.unmatched.all.push(Alone {
                        side,
                        at: front.place,
                        digest: front.digest,
                        kind,
                    });
                }
            }
            lane.settle(*pair, self.direction, &mut self.result);
        }
        Ok(())
    }

    /// Reads on for records that are letters no more, and have been carried out of their turn. What
    /// one transaction wrote does not become visible everywhere at once: a record that is neither
    /// there nor a letter is looked for again before it counts as missing.
    pub(super) fn look_for_replays(&mut self, context: &Context, stop: &Stop) -> Result<()> {
        if !self.is_in_doubt() {
            return Ok(());
        }
        let since = context.clock.elapsed();
        loop {
            // Letters first: one that is gone by then was carried before what is read now.
            self.letters.look(context)?;
            if !self.is_in_doubt() {
                return Ok(());
            }
            self.read_mirror(context, stop)?;
            let waited = context.clock.elapsed().saturating_sub(since);
            if !self.is_in_doubt() || waited >= SEEN_LATE {
                return Ok(());
            }
            stopped(stop)?;
            context.clock.sleep(LOOK_EVERY);
        }
    }

    /// Whether the mirror lacks a record that is not known to be a letter, or to have been one.
    fn is_in_doubt(&self) -> bool {
        let source = place(self.direction.source());
        self.lanes.iter().any(|((pair, ..), lane)| {
            let stands = |at| self.letters.name(*pair, at);
            let mut overtaken = lane.unseen[source].awaited();
            lane.unmatched.is_open(stands) || overtaken.any(|at| !stands(at))
        })
    }

    /// Reads the mirror to where it ends now.
    fn read_mirror(&mut self, context: &Context, stop: &Stop) -> Result<()> {
        let target = self.direction.target();
        let head = self.mirror.head()?.0;
        let mut since = context.clock.elapsed();
        while !context
            .side(target)
            .end
            .reached(&self.mirror.received(), &head)
        {
            stopped(stop)?;
            let batch = self.mirror.next(EVENTS)?;
            let now = context.clock.elapsed();
            if self.take(context, target, batch)? > 0 {
                since = now;
            } else if now.saturating_sub(since) >= PATIENCE {
                break;
            } else {
                context.clock.sleep(PAUSE);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
