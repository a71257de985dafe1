//! How much is taken from the stream at a time. A batch costs its target a transaction, and a
//! sender whose every message is waited for costs the application: so whatever is on its way is
//! left to gather, for as long as nobody waits for less.

use std::time::Duration;

use contraflow_core::error::Result;

use super::super::changes::unreadable;
use super::super::folded::Folded;
use super::super::place::Place;
use super::LogFeed;

/// Bytes of changes after which a batch ends.
const BATCH_BYTES: usize = 4 << 20;
/// How long an empty feed waits for something to arrive.
const WAIT: Duration = Duration::from_millis(1);
/// How long what follows is left to gather: not so long that the socket is full.
const NAP: Duration = Duration::from_micros(300);
/// How long the middle of a transaction is waited for: the server has all of it.
const WAIT_INSIDE: Duration = Duration::from_millis(500);
/// The same for the next transaction of a server that is far behind.
const WAIT_BEHIND: Duration = Duration::from_millis(10);
/// A server is far behind if it sends what was committed so long ago: one batch more or less does
/// not matter to anybody then.
const BEHIND_US: i64 = 250_000;
/// For how long a batch gathers at most, once there is something in it.
const GATHER_MAX: Duration = Duration::from_millis(100);
/// A look that brings so little of what the first one has brought is the last.
const TAIL: usize = 4;

/// A batch under way.
#[derive(Default)]
struct Under {
    /// The place it reaches, if it has got anywhere that somebody waits for.
    reached: Option<Place>,
    /// Since when there is something in it.
    since: Option<Duration>,
    /// Changes that the first look has brought, and those that were there at the last nap.
    first: Option<usize>,
    before: usize,
}

impl Under {
    /// Whether more of the same is coming: it has not stopped since the last look.
    fn goes_on(&mut self, changes: usize) -> bool {
        let came = changes - std::mem::replace(&mut self.before, changes);
        came > 0 && came >= *self.first.get_or_insert(came) / TAIL
    }
}

impl LogFeed {
    /// Takes messages until the batch is full or nothing more is on its way. Says the place it
    /// reaches, if it has got anywhere that somebody waits for.
    pub(super) fn gather(
        &mut self,
        events_max: usize,
        folded: &mut Folded,
    ) -> Result<Option<Place>> {
        let mut under = Under::default();
        self.awaited = false;
        while folded.changes < events_max && folded.bytes < BATCH_BYTES {
            let wait = match (&self.inside, under.reached) {
                (Some(_), _) => WAIT_INSIDE,
                (None, None) => WAIT,
                (None, Some(_)) if self.is_far_behind() => WAIT_BEHIND,
                (None, Some(_)) => Duration::ZERO,
            };
            let Some(wire) = self.wire.as_ref() else {
                break;
            };
            if wire.is_drained()? && !self.waits_for_more(&mut under, folded.changes) {
                break;
            }
            if !self.take(wait, folded, &mut under)? {
                break;
            }
        }
        Ok(under.reached)
    }

    /// Lets what follows gather. False when what has come is to be handed out as it is.
    fn waits_for_more(&self, under: &mut Under, changes: usize) -> bool {
        let clock = &self.context.clock;
        if self.inside.is_none() {
            if under.reached.is_none() {
                return true;
            }
            let now = clock.elapsed();
            let long = now.saturating_sub(*under.since.get_or_insert(now)) >= GATHER_MAX;
            if self.awaited || long || !(under.goes_on(changes) || self.is_far_behind()) {
                return false;
            }
        }
        clock.sleep(NAP);
        true
    }

    fn is_far_behind(&self) -> bool {
        self.behind_us > BEHIND_US
    }

    /// Takes the next message. False when none came in time.
    fn take(&mut self, wait: Duration, folded: &mut Folded, under: &mut Under) -> Result<bool> {
        let Some(wire) = self.wire.as_mut() else {
            return Ok(false);
        };
        let Some(body) = wire.receive(wait)? else {
            if self.inside.is_some() {
                self.report(true)?;
            }
            self.is_heard()?;
            return Ok(false);
        };
        self.owed = None;
        match body.first() {
            Some(b'k') if body.len() == 18 => {
                let end = u64::from_be_bytes(body[1..9].try_into().expect("eight bytes"));
                let asks = body[17] == 1;
                if self.inside.is_none() {
                    self.looked = self.looked.max(end);
                    self.passed_again(end);
                }
                if asks {
                    self.report(false)?;
                }
            }
            Some(b'w') if body.len() > 25 => {
                self.sent_us = i64::from_be_bytes(body[17..25].try_into().expect("eight bytes"));
                let body = body[25..].to_vec();
                if let Some(place) = self.message(&body, folded)? {
                    under.reached = Some(place);
                }
            }
            _ => return Err(unreadable()),
        }
        Ok(true)
    }
}
