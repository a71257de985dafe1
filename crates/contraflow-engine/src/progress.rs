//! How far and how fast, as one value for every display.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::Stopped;

/// The window over which rates are measured: long enough to be steady, short enough to notice.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// A change's progress at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Seconds since the run's process started.
    pub at_s: u64,
    /// The direction of the running flow, if any.
    pub direction: Option<String>,
    /// Rows of history carried so far, by earlier runs too.
    pub rows: u64,
    /// Rows of history in all, estimated.
    pub rows_estimated: u64,
    /// Bytes of history carried, about.
    pub bytes: u64,
    /// Rows of history per second, over the last seconds.
    pub rows_per_s: u64,
    /// Bytes of history per second, over the last seconds.
    pub bytes_per_s: u64,
    /// Events carried since this run started.
    pub events: u64,
    /// Events per second, over the last seconds.
    pub events_per_s: u64,
    /// Events behind; `None` when nobody knows.
    pub lag_events: Option<u64>,
    /// Seconds until history is copied, by the current rate; `None` when there is no rate yet.
    pub eta_s: Option<u64>,
    /// Partitions of logs that have stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<Stopped>,
    /// How the producers of new logs must choose the partition of a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<String>,
    /// A passing fault that is being tried again.
    pub trying_again: Option<String>,
}

/// Measures rates from totals.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<(Duration, u64, u64, u64)>,
}

impl Meter {
    /// Adds totals of rows, bytes and events at a moment.
    pub fn add(&mut self, now: Duration, rows: u64, bytes: u64, events: u64) {
        if self
            .samples
            .back()
            .is_some_and(|last| rows < last.1 || events < last.3)
        {
            self.samples.clear();
        }
        self.samples.push_back((now, rows, bytes, events));
        while self
            .samples
            .front()
            .is_some_and(|(at, ..)| now.saturating_sub(*at) > RATE_WINDOW && self.samples.len() > 2)
        {
            self.samples.pop_front();
        }
    }

    /// Rows, bytes and events per second.
    #[must_use]
    pub fn rates(&self) -> (u64, u64, u64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0, 0, 0);
        };
        let ms = last.0.saturating_sub(first.0).as_millis();
        let rate = |from: u64, to: u64| {
            let per_s = u128::from(to - from) * 1_000 / ms.max(1);
            u64::try_from(per_s).unwrap_or(u64::MAX)
        };
        (
            rate(first.1, last.1),
            rate(first.2, last.2),
            rate(first.3, last.3),
        )
    }
}
