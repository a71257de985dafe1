//! How far a consumer has fetched: behind transaction markers too, of which it is handed nothing.
//!
//! The client says so in its statistics, and what it says is a place in the log that it has read up
//! to, not an end that some leader believed in: a leader that has just become one may know of less
//! than was told of its partition before. Statistics overtake the records that wait, so they count
//! once there was none after them.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use serde::Deserialize;

use super::client::Brief;
use super::native::{Intake, Record};

/// A consumer that knows how far it is.
pub(super) struct Reader {
    intake: Intake,
    said: Said,
}

/// What a consumer's client says of itself.
#[derive(Default)]
struct Said {
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

impl Reader {
    /// A consumer that says how far it is every so many milliseconds.
    pub(super) fn new(settings: &mut ClientConfig, said_every_ms: &str) -> KafkaResult<Reader> {
        settings.set("statistics.interval.ms", said_every_ms);
        Ok(Reader {
            intake: Intake::of(Brief(settings.create()?))?,
            said: Said::default(),
        })
    }

    /// What to assign partitions to.
    pub(super) fn consumer(&self) -> &BaseConsumer {
        self.intake.consumer()
    }

    /// The next records, at most so many; none when there was none for so long.
    pub(super) fn next(&mut self, most: usize, wait: Duration) -> KafkaResult<Vec<Record<'_>>> {
        // What is heard before the queue is found empty was fetched before.
        self.intake
            .listen(|statistics| self.said.hear(statistics))?;
        let found = self.intake.take(most, wait)?;
        if found.is_empty() {
            self.said.settle();
        }
        Ok(found)
    }

    /// Everything before this offset of a partition was handed out, as far as is known.
    pub(super) fn handed_out(&self, topic: &str, partition: i32) -> i64 {
        self.said.handed_out(topic, partition)
    }
}

impl Said {
    fn hear(&mut self, statistics: &[u8]) {
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

    fn handed_out(&self, topic: &str, partition: i32) -> i64 {
        let found = self.handed_out.get(topic);
        let found = found.and_then(|partitions| partitions.get(&partition));
        found.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
