//! The broker of these tests, and plain clients of it.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use contraflow_testkit::kafka::{Kafka, wait};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::live::process::until;

pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// One broker for all tests of this process.
pub(super) fn shared() -> &'static Kafka {
    static SHARED: OnceLock<(TempDir, Kafka)> = OnceLock::new();
    let (_, broker) = SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Kafka::start(folder.path());
        (folder, broker)
    });
    broker
}

pub(super) fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    client(servers).create().expect("a client")
}

/// Makes a topic with settings.
pub(super) fn make(servers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    make_on(
        servers,
        name,
        (partitions, TopicReplication::Fixed(1)),
        settings,
    );
}

/// As [`make`], on these brokers.
pub(super) fn make_on(
    servers: &str,
    name: &str,
    (partitions, brokers): (i32, TopicReplication<'_>),
    settings: &[(&str, &str)],
) {
    // The records of these tests are years old.
    let topic = NewTopic::new(name, partitions, brokers);
    let mut topic = topic.set("retention.ms", "-1");
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let made = wait(admin(servers).create_topics([&topic], &AdminOptions::new()));
    let made = made.expect("an answer");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    // A topic that was made is not served at once.
    let asker: BaseConsumer = client(servers).create().expect("a client");
    for partition in 0..partitions {
        until("a new partition is served", || {
            asker.fetch_watermarks(name, partition, LIMIT).is_ok()
        });
    }
}

/// Deletes a topic.
pub(super) fn delete(servers: &str, name: &str) {
    let gone = wait(admin(servers).delete_topics(&[name], &AdminOptions::new()));
    assert!(gone.expect("an answer").iter().all(Result::is_ok));
}

/// Gives a topic these settings and no others, and waits until the broker goes by them.
pub(super) fn alter(servers: &str, name: &str, settings: &[(&str, &str)]) {
    let topic = AlterConfig::new(ResourceSpecifier::Topic(name)).set("retention.ms", "-1");
    let altered = settings
        .iter()
        .fold(topic, |topic, (name, value)| topic.set(name, value));
    let (admin, options) = (admin(servers), AdminOptions::new());
    let done = wait(admin.alter_configs([&altered], &options));
    assert!(done.expect("an answer").iter().all(Result::is_ok));
    until("the broker has heard of it", || {
        let topic = ResourceSpecifier::Topic(name);
        let told = wait(admin.describe_configs([&topic], &options)).expect("an answer");
        let all = &told[0].as_ref().expect("the topic").entries;
        let own = all
            .iter()
            .filter(|entry| matches!(entry.source, ConfigSource::DynamicTopic))
            .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
        own.collect::<HashMap<_, _>>() == altered.entries
    });
}

/// Makes a topic have more partitions.
pub(super) fn widen(servers: &str, name: &str, partitions: usize) {
    let wider = NewPartitions::new(name, partitions);
    let made = wait(admin(servers).create_partitions([&wider], &AdminOptions::new()));
    assert!(made.expect("an answer").iter().all(Result::is_ok));
}

/// Deletes the records of a partition before an offset, as retention does.
pub(super) fn forget(servers: &str, topic: &str, partition: i32, before: i64) {
    forget_before(servers, topic, partition, rdkafka::Offset::Offset(before));
}

/// Deletes all records of a partition, as retention does.
pub(super) fn forget_all(servers: &str, topic: &str, partition: i32) {
    forget_before(servers, topic, partition, rdkafka::Offset::End);
}

fn forget_before(servers: &str, topic: &str, partition: i32, before: rdkafka::Offset) {
    let mut offsets = rdkafka::TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, partition, before)
        .expect("a place");
    let gone = wait(admin(servers).delete_records(&offsets, &AdminOptions::new()));
    gone.expect("an answer");
}

/// A record that a producer writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) partition: i32,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

pub(super) fn producer(servers: &str, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = client(servers);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().expect("a producer")
}

/// Hands a record over to a producer.
pub(super) fn send(producer: &BaseProducer, topic: &str, written: &Written) {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(written.partition);
    record.timestamp = Some(written.timestamp);
    record.key = written.key.as_deref();
    record.payload = written.value.as_deref();
    if !written.headers.is_empty() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &written.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        record.headers = Some(headers);
    }
    let sent = producer
        .send(record)
        .map_err(|(error, _): (KafkaError, _)| error);
    sent.expect("room in the queue");
}

/// Writes records and waits until the broker has them.
pub(super) fn write(servers: &str, topic: &str, all: &[Written]) {
    let producer = producer(servers, &[("enable.idempotence", "true")]);
    for written in all {
        send(&producer, topic, written);
    }
    producer.flush(LIMIT).expect("they are written");
}
