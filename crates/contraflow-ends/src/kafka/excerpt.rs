//! A few records of some partitions, read once.

use std::collections::HashMap;
use std::time::Duration;

use contraflow_core::error::Result;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::client::{self, failure, unreachable};
use super::fetched::Reader;
use super::native::Record;

/// How long reading them may take.
const READ_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// How often the client says how far it has read.
const SAID_EVERY_MS: &str = "5";

/// Offsets of a partition, the last one not among them.
pub(super) struct Span {
    pub(super) partition: usize,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Somebody who reads a few records of a topic.
pub(super) struct Excerpt<'e> {
    context: &'e Context,
    topic: &'e str,
    reader: Reader,
}

impl<'e> Excerpt<'e> {
    pub(super) fn new(context: &'e Context, topic: &'e str) -> Result<Excerpt<'e>> {
        let mut settings = client::consumer(&context.cluster, "contraflow");
        settings.set("fetch.wait.max.ms", "5");
        let reader = Reader::new(&mut settings, SAID_EVERY_MS);
        Ok(Excerpt {
            context,
            topic,
            reader: reader.map_err(|error| failure("making a client", error))?,
        })
    }

    /// Hands the committed records of these spans to `take`, each partition in its order, until
    /// `take` has seen enough of it. Up to the end of a span everything is read, whoever leads the
    /// partition meanwhile.
    pub(super) fn at(
        mut self,
        spans: &[Span],
        mut take: impl FnMut(usize, &Record<'_>) -> bool,
    ) -> Result<()> {
        let topic = self.topic;
        let fail = |error| failure(&format!("reading topic `{topic}`"), error);
        let mut from = TopicPartitionList::new();
        let mut open: HashMap<i32, &Span> = HashMap::new();
        for span in spans {
            let partition = i32::try_from(span.partition).unwrap_or(i32::MAX);
            let offset = Offset::Offset(span.from);
            let added = from.add_partition_offset(topic, partition, offset);
            added.map_err(fail)?;
            open.insert(partition, span);
        }
        self.reader.consumer().assign(&from).map_err(fail)?;
        let deadline = self.context.clock.elapsed() + READ_MAX;
        while !open.is_empty() {
            if self.context.clock.elapsed() >= deadline {
                let message = format!("topic `{topic}` cannot be read to its end");
                return Err(unreachable(&message));
            }
            let found = self.reader.next(usize::MAX, POLL).map_err(fail)?;
            let (nothing, mut done) = (found.is_empty(), TopicPartitionList::new());
            for message in found {
                let partition = message.partition();
                let Some(span) = open.get(&partition) else {
                    continue;
                };
                let within = message.offset() < span.to;
                if !within || !take(span.partition, &message) || message.offset() + 1 == span.to {
                    open.remove(&partition);
                    done.add_partition(topic, partition);
                }
            }
            if nothing {
                let reader = &self.reader;
                open.retain(|partition, span| reader.handed_out(topic, *partition) < span.to);
            }
            if done.count() > 0 {
                self.reader.consumer().pause(&done).map_err(fail)?;
            }
        }
        Ok(())
    }
}
