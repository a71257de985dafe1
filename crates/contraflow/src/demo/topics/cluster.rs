//! Plain clients of a Kafka, as any application has them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Partitions of every topic.
pub(super) const PARTITIONS: i32 = 6;
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// A Kafka by its `bootstrap.servers`.
#[derive(Clone)]
pub(super) struct Cluster(pub(super) String);

impl Cluster {
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.0);
        client
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }

    /// Makes a topic that must not be there yet.
    pub(super) fn make(&self, name: &str) -> anyhow::Result<()> {
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let topic = topic.set("retention.ms", "-1");
        let made = wait(self.admin()?.create_topics([&topic], &AdminOptions::new()));
        for result in made.context("the Kafka does not answer")? {
            if let Err((name, why)) = result {
                bail!("topic {name} cannot be made: {why}");
            }
        }
        Ok(())
    }

    /// Deletes a topic.
    pub(super) fn delete(&self, name: &str) -> anyhow::Result<()> {
        wait(self.admin()?.delete_topics(&[name], &AdminOptions::new()))?;
        Ok(())
    }

    /// A producer that writes each record once.
    pub(super) fn producer(&self) -> anyhow::Result<BaseProducer> {
        Ok(self.client().set("enable.idempotence", "true").create()?)
    }

    /// A consumer of a group that commits when it is told to.
    pub(super) fn consumer(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        let mut client = self.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed");
        Ok(client.create()?)
    }

    /// A reader of everything that a topic has, which says where each partition ends.
    pub(super) fn reader(&self, topic: &str) -> anyhow::Result<BaseConsumer> {
        let mut client = self.client();
        client
            .set("group.id", "auditor")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed");
        let reader: BaseConsumer = client.create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        reader.assign(&all)?;
        Ok(reader)
    }

    /// Whether a topic holds anything.
    pub(super) fn holds_any(&self, topic: &str) -> anyhow::Result<bool> {
        let asker: BaseConsumer = self.client().create()?;
        for partition in 0..PARTITIONS {
            let (start, end) = asker.fetch_watermarks(topic, partition, ANSWER_MAX)?;
            if end > start {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Hands a record over to a producer, however long it has no room for it.
pub(super) fn send(
    producer: &BaseProducer,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(ROOM_WAIT);
                record = back;
            }
            Err((error, _)) => bail!(error),
        }
    }
}

/// Waits until the broker has everything that was handed over.
pub(super) fn flush(producer: &BaseProducer) -> anyhow::Result<()> {
    Ok(producer.flush(ANSWER_MAX)?)
}

/// Waits for an answer that the client's own thread brings.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut task = Task::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
