use std::sync::atomic::{AtomicU64, Ordering};

use contraflow_core::record::Batch;

use super::*;

/// A log whose head lies at 2, and that hands out nothing.
struct Slow {
    at: u8,
}

impl Feed for Slow {
    fn open(&mut self, _start: &Start) -> Result<()> {
        Ok(())
    }

    fn next(&mut self, _events_max: usize) -> Result<Batch> {
        Ok(Batch {
            events: Vec::new(),
            unreadable: Vec::new(),
            through: self.received(),
            seen: self.received(),
        })
    }

    fn received(&self) -> Position {
        Position::new([self.at])
    }

    fn confirm(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        Ok((Position::new([2]), 1))
    }
}

/// Time that goes on whenever somebody looks.
#[derive(Default)]
struct Hurried(AtomicU64);

impl Clock for Hurried {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep(&self, _time: Duration) {}
}

fn sampled(at: u8) -> Sample {
    let clock = Hurried::default();
    let reached = |at: &Position, goal: &Position| at == goal;
    first(&mut Slow { at }, PairId(0), 10, reached, &clock).expect("a sample")
}

/// A gate of laws that were tried on nothing is no proof, unless there was nothing.
#[test]
fn no_rows_say_something_of_an_empty_log_only() {
    assert!(sampled(2).shows_something());
    assert!(!sampled(1).shows_something());
}
