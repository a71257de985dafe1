//! How long what trickles in is left to gather.
//!
//! A server that sends each change as it happens pays for every one: its sender is woken, and wakes
//! whoever reads. One that cannot send, because nobody reads, makes up for it in one go, which
//! costs a third. So nobody reads for a while, and then all there is.

use std::time::Duration;

/// How long somebody who has not been read is left alone to send what is behind: about what a
/// socket of the machine holds.
const AGAIN: Duration = Duration::from_millis(1);
/// A look that brings so little of what the first one after a rest has brought is the last.
const TAIL: u64 = 4;

/// The pause between two looks at a feed.
#[derive(Debug)]
pub(crate) struct Gather {
    rest: Duration,
    /// Events of the first look after a rest.
    first: Option<u64>,
}

impl Gather {
    /// Rests of this length.
    pub(crate) fn resting(rest: Duration) -> Gather {
        Gather { rest, first: None }
    }

    /// The pause after a look at so many events: a short one as long as looks bring what has
    /// gathered, then a rest. How many events that are depends on their size, and is not asked.
    pub(crate) fn after(&mut self, events: u64) -> Duration {
        let first = *self.first.get_or_insert(events);
        if events > 0 && events >= first / TAIL {
            return AGAIN;
        }
        self.first = None;
        self.rest
    }
}

#[cfg(test)]
mod tests;
