//! Keys that wait for their newer record, where they are more than there is room for: a share of
//! them is told apart while the logs are read, and the logs are read again for each of the others.
//!
//! What was found of a share reaches as far as the logs were read for it, or further: who goes on
//! from before takes the same records in the same order again, and comes to the same.

use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::side::Side;

use super::Audit;
use crate::context::Context;
use crate::tasks::Stop;

impl Audit {
    /// Leaves keys for another reading when there are more than there is room for. Says whether it
    /// did.
    pub(super) fn narrow(&mut self) -> bool {
        let before = self.share;
        while self.waiting_keys() > self.room && self.share.half() != self.share {
            self.share = self.share.half();
            for lane in self.lanes.values_mut() {
                lane.share = self.share;
                lane.unseen
                    .iter_mut()
                    .for_each(|unseen| unseen.keep(self.share));
            }
        }
        self.share != before
    }

    fn waiting_keys(&self) -> usize {
        let unseen = self.lanes.values().flat_map(|lane| &lane.unseen);
        unseen.map(super::Unseen::count).sum()
    }

    /// Reads both logs again for the keys that were left. Says whether all of them are told apart
    /// now, and none had to be left again.
    pub(super) fn read_again(
        &mut self,
        context: &Context,
        goal: &Position,
        stop: &Stop,
    ) -> Result<bool> {
        self.look_for_all_deleted(context, stop)?;
        self.rest(context)?;
        while let Some(share) = self.share.rest() {
            let mut again = Audit::open(context, self.direction)?;
            (again.share, again.room) = (share, self.room);
            let read = again.read(context, goal, stop)?;
            if !read || !again.look_for_all_deleted(context, stop)? {
                break;
            }
            self.adopt(again);
            if self.narrow() {
                break;
            }
        }
        self.wake()?;
        Ok(self.share.rest().is_none())
    }

    fn look_for_all_deleted(&mut self, context: &Context, stop: &Stop) -> Result<bool> {
        let old = self.look_for_deleted(context, Side::Old, stop)?;
        Ok(self.look_for_deleted(context, Side::New, stop)? && old)
    }

    /// Takes over what was found of the share behind this one.
    fn adopt(&mut self, again: Audit) {
        self.share = self.share.with(again.share);
        for lane in self.lanes.values_mut() {
            lane.share = self.share;
        }
        for (line, lane) in again.lanes {
            // Of a partition that nothing was read of before, all is still to come.
            if let Some(ours) = self.lanes.get_mut(&line) {
                for (ours, theirs) in ours.unseen.iter_mut().zip(lane.unseen) {
                    ours.adopt(theirs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
