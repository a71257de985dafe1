//! Both logs at the same pace. Each hands out its partitions in an order of its own, so one is
//! ahead in some of them and the other one in others, and what waits would grow with the logs. When
//! much does, only the partitions are read in which a side is most behind, until the first of them
//! is even, and then others.

use std::collections::BTreeSet;
use std::time::Duration;

use contraflow_core::end::{Feed, Part, Start};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;

use super::super::walk::stopped;
use super::{Audit, EVENTS, PAUSE, place};
use crate::context::Context;
use crate::tasks::Stop;

/// Records that wait for their counterpart at most while both sides have more: a tenth of a
/// kilobyte each.
pub(super) const AHEAD_MAX: usize = 100_000;
/// How long a side that is behind may hand out nothing before it counts as having no more.
const SILENCE: Duration = Duration::from_millis(500);

impl Audit {
    /// Sees to it that not too many records wait, unless their counterparts are not there.
    pub(super) fn keep_apace(&mut self, context: &Context, stop: &Stop) -> Result<()> {
        if self.ahead() <= self.ahead_max.max(2 * self.unmet) {
            return Ok(());
        }
        self.rest(context)?;
        let enough = self.ahead() / 4;
        while self.ahead() > enough {
            let side = self.behind();
            if !self.catch_up(context, side, stop)? {
                break;
            }
        }
        for lane in self.lanes.values_mut() {
            for waiting in &mut lane.waiting {
                waiting.shrink_to(2 * waiting.len());
            }
        }
        self.unmet = self.ahead();
        self.wake()
    }

    /// How many records wait.
    fn ahead(&self) -> usize {
        Side::BOTH.map(|side| self.ahead_of(side)).iter().sum()
    }

    /// How many wait for this side.
    fn ahead_of(&self, side: Side) -> usize {
        self.deficits(side).map(|(_, deficit)| deficit).sum()
    }

    /// The side that more records wait for.
    fn behind(&self) -> Side {
        match self.ahead_of(Side::Old) > self.ahead_of(Side::New) {
            true => Side::Old,
            false => Side::New,
        }
    }

    /// How many records of each partition wait for this side. What was written late has an order of
    /// its own.
    fn deficits(&self, side: Side) -> impl Iterator<Item = ((PairId, i32), usize)> {
        let lanes = self.lanes.iter().filter(|((.., late), _)| !late);
        lanes.map(move |((pair, partition, _), lane)| {
            let waiting = &lane.waiting[place(side.other())];
            ((*pair, *partition), waiting.len())
        })
    }

    /// Reads the partitions in which a side is most behind, until the first of them is even. Says
    /// whether there was something.
    fn catch_up(&mut self, context: &Context, side: Side, stop: &Stop) -> Result<bool> {
        let most = self.deficits(side).map(|(_, deficit)| deficit).max();
        let most = most.unwrap_or_default();
        let far = self.deficits(side);
        let far = far.filter(|(_, deficit)| 2 * deficit >= most);
        let these: BTreeSet<(PairId, i32)> = far.map(|(at, _)| at).collect();
        let (feed, rests) = self.resting(side);
        let from = rests.clone();
        feed.keep_to(Part::Partitions(these.clone()));
        feed.open(&Start::After(from))?;
        let read = self.read_only(context, side, &these, stop);
        let (feed, rests) = self.resting(side);
        *rests = feed.received();
        *feed = context.side(side).feed()?;
        read
    }

    /// Reads these partitions of a side, which keeps to them.
    fn read_only(
        &mut self,
        context: &Context,
        side: Side,
        these: &BTreeSet<(PairId, i32)>,
        stop: &Stop,
    ) -> Result<bool> {
        let (mut came_at, mut any) = (context.clock.elapsed(), false);
        loop {
            stopped(stop)?;
            let left = self.deficits(side).filter(|(at, _)| these.contains(at));
            let silent = context.clock.elapsed().saturating_sub(came_at) >= SILENCE;
            if silent || left.map(|(_, deficit)| deficit).min() == Some(0) {
                return Ok(any);
            }
            let batch = self.resting(side).0.next(EVENTS)?;
            if self.take(context, side, batch)? > 0 {
                (came_at, any) = (context.clock.elapsed(), true);
            } else {
                context.clock.sleep(PAUSE);
            }
        }
    }

    /// The feed of a side, and how far it was read before it rested.
    fn resting(&mut self, side: Side) -> (&mut Box<dyn Feed>, &mut Position) {
        let rests = self
            .rests
            .get_or_insert_with(|| Box::new([self.authority.received(), self.mirror.received()]));
        let [authority, mirror] = &mut **rests;
        match side == self.direction.source() {
            true => (&mut self.authority, authority),
            false => (&mut self.mirror, mirror),
        }
    }
}

#[cfg(test)]
mod tests;
