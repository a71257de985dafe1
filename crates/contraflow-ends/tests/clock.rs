//! The clock of tests that talk to servers.

use std::time::{Duration, Instant, SystemTime};

use contraflow_core::clock::Clock;

/// Time as it is.
pub(crate) struct Real(Instant);

impl Real {
    #[expect(clippy::disallowed_methods, reason = "a server is tried in real time")]
    pub(crate) fn start() -> Real {
        Real(Instant::now())
    }
}

impl Clock for Real {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::park_timeout(time);
    }
}
