//! The broker of these tests, and clients of it that share nothing with the driver.

use std::sync::OnceLock;
use std::time::Duration;

use contraflow_testkit::kafka::Kafka;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

pub(super) const LIMIT: Duration = Duration::from_secs(30);

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

pub(super) fn transactional(id: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", shared().servers())
        .set("transactional.id", id)
        .create()
        .expect("a producer")
}

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).payload(value);
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("room");
}

/// What a reader of committed records sees in a partition.
pub(super) fn committed(topic: &str, partition: i32) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", shared().servers())
        .set("group.id", "auditor")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, partition, Offset::Beginning)
        .expect("a place");
    consumer.assign(&from).expect("a partition");
    let mut seen = Vec::new();
    loop {
        match consumer.poll(LIMIT).expect("an answer in time") {
            Ok(message) => {
                let value = message.payload_view::<str>().expect("a value");
                seen.push(value.expect("text").to_owned());
            }
            Err(KafkaError::PartitionEOF(_)) => return seen,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The broker that the script serves has transactions: a producer whose id was taken can commit
/// nothing any more, and nobody sees what it wrote.
#[test]
fn a_zombie_is_fenced() {
    let topic = "a-zombie-is-fenced";
    super::topic(topic, 1);
    let zombie = transactional(topic);
    zombie.init_transactions(LIMIT).expect("an id");
    zombie.begin_transaction().expect("a transaction");
    send(&zombie, topic, "of the zombie");
    zombie.flush(LIMIT).expect("it is written");
    let heir = transactional(topic);
    heir.init_transactions(LIMIT).expect("the same id");
    heir.begin_transaction().expect("a transaction");
    send(&heir, topic, "of the heir");
    heir.commit_transaction(LIMIT).expect("committed");
    let fenced = zombie
        .commit_transaction(LIMIT)
        .expect_err("it was overtaken");
    let code = match fenced {
        KafkaError::Transaction(error) => error.code(),
        other => panic!("{other}"),
    };
    let codes = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced];
    assert!(codes.contains(&code), "{code}");
    assert_eq!(committed(topic, 0), ["of the heir"]);
}
