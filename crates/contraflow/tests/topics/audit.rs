//! What both topics hold, read by a plain consumer and compared by plain means.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::broker::{self, LIMIT, Written};

/// The headers that the program adds begin so.
const OURS: &str = "contraflow-";

/// A record as a reader of committed records sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Without the headers of the program.
    pub(super) record: Written,
    /// The headers of the program: none on records of producers.
    pub(super) ours: Vec<(String, Option<Vec<u8>>)>,
}

/// Everything that is committed in a topic, by partition.
pub(super) fn read(servers: &str, topic: &str) -> Vec<Vec<Seen>> {
    let with_offsets = read_with_offsets(servers, topic).into_iter();
    let plain = |all: Vec<(i64, Seen)>| all.into_iter().map(|(_, seen)| seen).collect();
    with_offsets.map(plain).collect()
}

/// Partition, offset and time of everything that is committed in a topic.
pub(super) fn places(servers: &str, topic: &str) -> Vec<(i32, i64, i64)> {
    let all = read_with_offsets(servers, topic).into_iter().flatten();
    let place = |(offset, seen): (i64, Seen)| {
        let Written {
            partition,
            timestamp,
            ..
        } = seen.record;
        (partition, offset, timestamp)
    };
    all.map(place).collect()
}

fn read_with_offsets(servers: &str, topic: &str) -> Vec<Vec<(i64, Seen)>> {
    let consumer: BaseConsumer = broker::client(servers)
        .set("group.id", "auditor")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer");
    let metadata = consumer
        .fetch_metadata(Some(topic), LIMIT)
        .expect("an answer");
    let partitions = metadata.topics()[0].partitions().len();
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        let partition = i32::try_from(partition).expect("few");
        from.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a place");
    }
    consumer.assign(&from).expect("partitions");
    let (mut seen, mut open) = (vec![Vec::new(); partitions], partitions);
    while open > 0 {
        match consumer.poll(LIMIT).expect("an answer in time") {
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
            Ok(message) => {
                let (mut headers, mut ours) = (Vec::new(), Vec::new());
                for header in message.headers().into_iter().flat_map(Headers::iter) {
                    let value = header.value.map(<[u8]>::to_vec);
                    let list = match header.key.starts_with(OURS) {
                        true => &mut ours,
                        false => &mut headers,
                    };
                    list.push((header.key.to_owned(), value));
                }
                let record = Written {
                    partition: message.partition(),
                    timestamp: message.timestamp().to_millis().unwrap_or(-1),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers,
                };
                let partition = usize::try_from(message.partition()).expect("from 0");
                seen[partition].push((message.offset(), Seen { record, ours }));
            }
        }
    }
    seen
}

/// Records in the order in which they were written, by partition.
pub(super) fn by_partition(partitions: usize, all: &[Written]) -> Vec<Vec<Written>> {
    let mut ordered = vec![Vec::new(); partitions];
    for written in all {
        let partition = usize::try_from(written.partition).expect("from 0");
        ordered[partition].push(written.clone());
    }
    ordered
}

/// A topic holds exactly these records in this order, each written by whom it should be.
pub(super) fn holds(
    servers: &str,
    topic: &str,
    expected: &[(Vec<Written>, bool)],
    partitions: usize,
) {
    let found = read(servers, topic);
    assert_eq!(found.len(), partitions);
    let order = |(all, carried): &(Vec<Written>, bool)| (by_partition(partitions, all), *carried);
    let ordered: Vec<_> = expected.iter().map(order).collect();
    for (partition, found) in found.iter().enumerate() {
        let mut wanted = Vec::new();
        for (all, carried) in &ordered {
            for record in &all[partition] {
                wanted.push((record, *carried));
            }
        }
        assert_eq!(found.len(), wanted.len(), "{topic}, partition {partition}");
        for (n, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let found = (&found.record, !found.ours.is_empty());
            assert_eq!(found, *wanted, "{topic}, partition {partition}, record {n}");
        }
    }
}

/// The names of all topics.
pub(super) fn topics(servers: &str) -> Vec<String> {
    let consumer: BaseConsumer = broker::client(servers).create().expect("a client");
    let metadata = consumer.fetch_metadata(None, LIMIT).expect("an answer");
    let topics = metadata.topics().iter();
    topics.map(|topic| topic.name().to_owned()).collect()
}
