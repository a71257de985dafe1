//! What the server hears of us while it sends: how far we are, and what it need not keep.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::error::Result;

use super::super::{connection, visible};
use super::LogFeed;

/// How often the server is told at most what was confirmed: each word of ours wakes it up.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often the server is told where we are, well within its `wal_sender_timeout`.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// An answer is waited for so many times as long as elsewhere: a server that decodes a large
/// transaction has no time to answer.
const SILENCES_MAX: u32 = 2;
/// How often an idle feed asks how far the server has looked.
const ASK_EVERY: Duration = Duration::from_millis(50);

impl LogFeed {
    /// Tells the server where we are when it is time, or when it asks.
    pub(super) fn report(&mut self, answer: bool) -> Result<()> {
        let oldest = self.context.shared.unproven.oldest();
        let flushed = oldest.map_or(self.confirmed, |oldest| self.confirmed.min(oldest));
        let received = self.received.lsn.max(self.looked);
        if let Some(wire) = &mut self.wire {
            wire.report(received, flushed, answer)?;
        }
        self.reported = self.context.clock.elapsed();
        if answer {
            self.owed.get_or_insert(self.reported);
        }
        Ok(())
    }

    /// Tells the server what was confirmed, as far as every session sees it, when it is time.
    pub(super) fn tell(&mut self) -> Result<()> {
        let (told, at) = self.told;
        let now = self.context.clock.elapsed();
        if told == self.confirmed || now.saturating_sub(at) < TELL_EVERY {
            return Ok(());
        }
        self.told = (self.confirmed, now);
        let shared = Arc::clone(&self.context.shared);
        if shared.unproven.oldest().is_some() {
            let seen = visible::snapshot(self.client()?)?;
            shared.unproven.prune(&seen);
        }
        // A stream that was lost is opened again by the next read, which says why if it cannot.
        if self.wire.is_some() && self.report(false).is_err() {
            self.wire = None;
        }
        Ok(())
    }

    /// Gives up a server that has said nothing for long although it was asked: the connection may
    /// be gone without either side knowing.
    pub(super) fn is_heard(&self) -> Result<()> {
        let now = self.context.clock.elapsed();
        let silence_max = self.context.target.silence_max() * SILENCES_MAX;
        match self.owed {
            Some(since) if now.saturating_sub(since) > silence_max => {
                Err(connection::lost("the server has not answered for long"))
            }
            _ => Ok(()),
        }
    }

    /// Tells the server where we are, and asks a quiet one how far it has looked.
    pub(super) fn keep_in_touch(&mut self, nothing_came: bool) -> Result<()> {
        self.tell()?;
        let now = self.context.clock.elapsed();
        let is_quiet = nothing_came && self.inside.is_none();
        if is_quiet && now.saturating_sub(self.asked) >= ASK_EVERY {
            self.asked = now;
            return self.report(true);
        }
        if now.saturating_sub(self.reported) >= REPORT_EVERY {
            return self.report(false);
        }
        Ok(())
    }
}
