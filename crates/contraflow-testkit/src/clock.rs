//! Time that a test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contraflow_core::clock::Clock;

/// Where simulated time begins: 2026-01-01T00:00:00Z.
const BEGINS_MS: u64 = 1_767_225_600_000;

/// A clock that stands still until it is moved. Sleeping moves it.
#[derive(Debug, Default)]
pub struct SimClock(AtomicU64);

impl SimClock {
    /// Moves time on.
    pub fn advance(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        BEGINS_MS + self.0.load(Ordering::SeqCst) / 1_000
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}
