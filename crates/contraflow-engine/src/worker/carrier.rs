//! One lane that carries, until it is asked to stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Rule;
use contraflow_core::phase::History;
use contraflow_core::side::Direction;

use super::IDLE;
use super::copy::Copy;
use super::lanes::Lane;
use crate::backfill::Size;
use crate::context::Context;
use crate::flow::{Flow, Pace, Stepped};
use crate::keying;
use crate::standby::Standby;
use crate::tasks::Stop;

/// How often lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same while the feed brings history: the flow waits for the answer.
const LOOK_EVERY_FEEDING: Duration = Duration::from_millis(500);

/// A lane that was claimed.
pub(super) struct Carrier<'w> {
    context: &'w Context,
    lane: &'w Lane,
    flow: Flow,
    /// History that is read in ranges.
    copy: Copy,
    /// How large they are.
    size: Arc<Size>,
    /// Whether it copies at full speed.
    full: bool,
    /// Who looks at the mirror's feed: the first lane has it.
    standby: Option<Standby>,
    /// Those who wait until keys were carried again.
    asked: VecDeque<SyncSender<()>>,
    /// When lag was looked at last.
    looked: Option<Duration>,
    /// Nobody waits any more to be told how producers must choose partitions: the first lane says
    /// so once all have brought history.
    told: bool,
}

impl Carrier<'_> {
    /// Claims the lane, and says where it goes on.
    ///
    /// # Errors
    /// As for [`Flow::start`] and [`Standby::start`].
    pub(super) fn start<'w>(
        context: &'w Arc<Context>,
        lane: &'w Lane,
        history: bool,
    ) -> Result<Carrier<'w>> {
        let flow = Flow::start(context, lane.direction, lane.id, Pace::Ahead)?;
        let size = Arc::new(Size::default());
        let copy = Copy::start(context, &flow, history, &size)?;
        let full = context.limits.copies_at_full_speed();
        let mut standby = None;
        if lane.is_first() {
            let hurries = full && !copy.is_done();
            let looks = Standby::start(context, lane.direction, flow.fed(), hurries)?;
            standby = Some(looks);
            lane.shared.lock().windows = Some(Arc::clone(flow.windows()));
        }
        lane.publish(|status| {
            status.applied = Some(flow.applied().clone());
            status.trying_again = None;
        });
        Ok(Carrier {
            context,
            lane,
            flow,
            copy,
            size,
            full,
            standby,
            asked: VecDeque::new(),
            looked: None,
            told: !lane.is_first() || context.mode.rules().history != History::Feed,
        })
    }

    /// Carries one batch, one range or one set of keys, or waits a moment.
    ///
    /// # Errors
    /// As for [`Flow::step`]; a hold when somebody else writes the mirror or too much cannot be
    /// carried.
    pub(super) fn step(&mut self, stop: &Stop) -> Result<()> {
        // Not before the first step: until then the feed does not know what readers must wait for.
        if let Some(recarry) = self.looked.and_then(|_| self.lane.recarry()) {
            self.flow.recarry(recarry.pair, recarry.keys)?;
            self.asked.push_back(recarry.done);
        }
        let rows_before = self.flow.totals().rows;
        self.copy.offer_to(&mut self.flow, Duration::ZERO)?;
        let stepped = self.flow.step()?;
        match &stepped {
            Stepped::Copied(range) => {
                self.copy.done(range);
                self.copy.give_back(self.flow.take_spent());
                let rows = self.flow.totals().rows - rows_before;
                self.size.learn(rows, self.flow.held());
            }
            Stepped::Recarried if self.flow.waiting() == 0 => {
                for done in self.asked.drain(..) {
                    // The one who asked may have stopped waiting.
                    let _gone = done.send(());
                }
            }
            Stepped::Recarried | Stepped::Followed | Stepped::Idle => {}
        }
        if let Some(standby) = &self.standby {
            standby.hurry(self.full && !self.copy.is_done());
            standby.is_silent()?;
        }
        let lag = self.look(&stepped)?;
        self.publish(lag);
        if lag.is_some() {
            self.look_at_all()?;
        }
        if stepped == Stepped::Idle && !self.copy.offer_to(&mut self.flow, IDLE)? {
            self.copy.rest(stop);
        }
        Ok(())
    }

    /// Now and then looks how far it is behind.
    fn look(&mut self, stepped: &Stepped) -> Result<Option<u64>> {
        let fed = self.flow.fed().load(Ordering::Relaxed);
        let rest = match fed || *stepped == Stepped::Idle {
            true => LOOK_EVERY,
            false => LOOK_EVERY_FEEDING,
        };
        let now = self.context.clock.elapsed();
        let rests = |at: Duration| now.saturating_sub(at) < rest;
        if self.looked.is_some_and(rests) {
            return Ok(None);
        }
        let lag = self.flow.lag()?;
        self.looked = Some(now);
        if lag <= self.context.allowed(Rule::Lag) {
            self.flow.fed().store(true, Ordering::Relaxed);
        }
        Ok(Some(lag))
    }

    fn publish(&self, lag: Option<u64>) {
        let flow = &self.flow;
        self.lane.publish(|status| {
            status.applied = Some(flow.applied().clone());
            status.totals = flow.totals();
            status.stopped = flow.stopped();
            status.fed = flow.fed().load(Ordering::Relaxed);
            status.history_done = self.copy.is_done() && status.fed && self.told;
            status.lag_events = lag.or(status.lag_events);
            status.letters = flow.letters();
        });
    }

    /// Looks at what all lanes come to.
    fn look_at_all(&mut self) -> Result<()> {
        let all = self.lane.shared.status();
        let limit = self.context.limits.letters_max;
        if all.letters > limit {
            return Err(too_many(all.letters, limit));
        }
        if !self.told && all.fed {
            if self.lane.direction == Direction::Forward {
                let producers = keying::producers(self.context)?;
                self.lane.publish(|status| status.producers = producers);
            }
            self.told = true;
        }
        Ok(())
    }
}

fn too_many(standing: u64, limit: u64) -> Error {
    let message = format!("{standing} letters stand");
    Error::new(Kind::Hold, Code::LETTERS_LIMIT, message)
        .detail(format!(
            "The change is held at more than {limit}: the mapping does not fit."
        ))
        .hint("`contraflow letters list` names fields and reasons.")
}
