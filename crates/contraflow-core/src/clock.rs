//! Time comes in through this trait; nothing else in the product reads a clock.

use std::time::Duration;

/// A source of time. The real one lives in the binary, a simulated one in the testkit.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z. May jump; used for display and for deadlines that
    /// a database compares with its own clock.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment of this process. Never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits for the given time.
    fn sleep(&self, time: Duration);
}
