//! The auditor: reads both topics from their oldest record on, by a client of its own, and knows
//! what each record must be.

use std::time::Duration;

use anyhow::bail;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::actors::{Read, Topic, key, timestamp};
use super::cluster::PARTITIONS;
use super::people::{Person, Shape};

const NEXT_MAX: Duration = Duration::from_secs(30);

/// How many records of a topic differ from what must stand there: each number up to `all` once, in
/// its partition, in order, with its key and its time, as its producer wrote it. Those from `new`
/// on were written to the new topic.
pub(super) fn audit(topic: &Topic, new: u64, all: u64) -> anyhow::Result<u64> {
    let reader = topic.cluster.reader(&topic.name)?;
    let (mut read, mut open) = (Read::nothing(), PARTITIONS);
    while open > 0 {
        match reader.poll(NEXT_MAX) {
            None => bail!("{} cannot be read to its end", topic.name),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => bail!(error),
            Some(Ok(found)) => {
                let payload = found.payload().unwrap_or_default();
                let person = topic.form.read(topic.shape, payload).ok();
                let is_right = person.as_ref().is_some_and(|person| {
                    let by = if person.id < new {
                        Shape::Old
                    } else {
                        Shape::New
                    };
                    let wanted = Person::written(person.id, by).shown(topic.shape);
                    *person == wanted && envelope_is_right(&found, person.id)
                });
                read.take(found.partition(), person.as_ref(), is_right);
            }
        }
    }
    Ok(read.differ + all.abs_diff(read.records))
}

fn envelope_is_right(found: &BorrowedMessage<'_>, n: u64) -> bool {
    found.key() == Some(key(n).as_bytes()) && found.timestamp().to_millis() == Some(timestamp(n))
}
