//! How far a consumer has fetched: behind transaction markers too, of which it is handed nothing.
//!
//! The client says so in its statistics, and what it says is a place in the log that it has read up
//! to, not an end that some leader believed in: a leader that has just become one may know of less
//! than was told of its partition before. Statistics overtake records in the client's queue, so
//! they count once the queue was empty after them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use serde::Deserialize;

/// A consumer that knows how far it is.
pub(super) type Reader = BaseConsumer<Fetched>;

/// What a consumer's client says of itself.
#[derive(Default)]
pub(super) struct Fetched {
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// How often.
    times: u64,
    /// The next offset of partitions that it may not have handed out yet, and of those that it has.
    fetched: HashMap<String, HashMap<i32, i64>>,
    handed_out: HashMap<String, HashMap<i32, i64>>,
}

/// The part of the statistics that matters here.
#[derive(Deserialize)]
struct Statistics {
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    next_offset: i64,
}

impl Fetched {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything before this offset of a partition was handed out, as far as is known.
    pub(super) fn handed_out(&self, topic: &str, partition: i32) -> i64 {
        let said = self.said();
        let found = said.handed_out.get(topic);
        let found = found.and_then(|partitions| partitions.get(&partition));
        found.copied().unwrap_or(0)
    }
}

impl Said {
    fn hear(&mut self, statistics: &[u8]) {
        self.times += 1;
        // What cannot be read says nothing; then the end is never reached, which is noticed.
        let Ok(heard) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        for (topic, TopicStatistics { partitions }) in heard.topics {
            let fetched = self.fetched.entry(topic).or_default();
            for statistics in partitions.into_values() {
                // No offset at all is written as a negative one.
                if statistics.next_offset >= 0 {
                    fetched.insert(statistics.partition, statistics.next_offset);
                }
            }
        }
    }

    /// The queue was empty: whatever was fetched before has been handed out.
    fn settle(&mut self) {
        self.handed_out.clone_from(&self.fetched);
    }
}

impl ClientContext for Fetched {
    fn stats_raw(&self, statistics: &[u8]) {
        self.said().hear(statistics);
    }
}

impl ConsumerContext for Fetched {}

/// The next record; `None` when there was none for so long.
pub(super) fn poll(reader: &Reader, wait: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    loop {
        let before = reader.context().said().times;
        if let Some(found) = reader.poll(wait) {
            return Some(found);
        }
        let mut said = reader.context().said();
        if said.times == before {
            said.settle();
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
