//! Share groups: their members take single records, and the brokers keep which of them are done in
//! a topic of their own. The client knows nothing of such groups, so that topic is read.

use std::collections::HashMap;

use contraflow_core::error::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::Broker;
use super::client::{self, failure, unreachable};
use super::native::TopicId;

/// Where brokers keep the state of share groups.
pub(super) const STATE: &str = "__share_group_state";

/// The topics of which a share group has a state, by the group's name.
pub(super) type Shares = HashMap<String, Vec<TopicId>>;

/// Reads the state of all share groups.
pub(super) fn read(context: &Context, broker: &Broker) -> Result<Shares> {
    let Some(topic) = broker.topic(STATE)? else {
        return Ok(Shares::new());
    };
    let fail = |error| failure(&format!("reading `{STATE}`"), error);
    let mut settings = client::consumer(&context.cluster, "contraflow");
    settings.set("enable.partition.eof", "true");
    let consumer: BaseConsumer = settings.create().map_err(fail)?;
    let mut from = TopicPartitionList::new();
    for partition in 0..i32::try_from(topic.partitions).unwrap_or(i32::MAX) {
        let added = from.add_partition_offset(STATE, partition, Offset::Beginning);
        added.map_err(fail)?;
    }
    consumer.assign(&from).map_err(fail)?;
    // The newest record of each key counts: the topic is compacted.
    let mut found = HashMap::new();
    let mut open = topic.partitions;
    while open > 0 {
        match client::poll(&consumer) {
            None => return Err(unreachable(&format!("`{STATE}` cannot be read to its end"))),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(fail(error)),
            Some(Ok(message)) => {
                if let Some(share) = message.key().and_then(key) {
                    found.insert(share, message.payload().is_some());
                }
            }
        }
    }
    let mut shares = Shares::new();
    let there = found.into_iter().filter(|(_, there)| *there);
    for ((group, topic, _), _) in there {
        let topics = shares.entry(group).or_default();
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok(shares)
}

/// Group, topic and partition in the key of a record: the kind of record, the group's name with
/// its length, the topic's id, the partition.
fn key(bytes: &[u8]) -> Option<(String, TopicId, i32)> {
    let (_kind, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let (group, rest) = rest.split_at_checked(length)?;
    let (topic, rest) = rest.split_first_chunk()?;
    let partition = rest.first_chunk()?;
    Some((
        String::from_utf8(group.to_vec()).ok()?,
        TopicId(*topic),
        i32::from_be_bytes(*partition),
    ))
}
