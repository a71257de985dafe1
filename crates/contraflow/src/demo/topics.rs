//! The demo of topics: P1 writes, C1 and C2 read, and the change carries the phonebook from one
//! topic to another, first in JSON and then in Avro, on a real Kafka.
//!
//! Producers, consumers and the auditor are plain clients that know nothing of the change. They
//! share no code with the engine: they read and write both shapes themselves.

mod actors;
mod audit;
mod avro;
mod cluster;
mod people;
mod servers;
mod story;

use serde::Serialize;

pub use servers::{Servers, Wanted};
pub use story::tell;

/// What the demo has shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Proof {
    /// Version of this document.
    pub schema: &'static str,
    /// Changes that were played from their beginning to their end.
    pub changes: u64,
    /// Records that producers wrote.
    pub records: u64,
    /// How often the change was killed with SIGKILL.
    pub kills: u64,
    /// The longest time from the stop of the old producer until the new one could start, in ms.
    pub paused_ms_max: u64,
    /// Consumers that moved from the old topic to the new one.
    pub moved: u64,
    /// Audits, each of every record on both topics.
    pub audits: u64,
    /// Records that were missing, doubled, out of order or unequal, on topics or at consumers.
    pub divergence: u64,
}

impl Proof {
    /// Whether nothing diverged and everything was played.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.divergence == 0 && self.changes == 2 && self.audits == 6 && self.moved == 4
    }
}
