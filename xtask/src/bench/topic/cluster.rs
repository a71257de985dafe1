//! A broker and a registry of a benchmark's own, and plain clients of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contraflow_core::change::secret::Secret;
use contraflow_ends::registry::{Part, Registry as Client, Settings, Source, subject};
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::kafka::{Kafka, wait};
use contraflow_testkit::registry::Registry;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::people::Digest;

/// Partitions of every topic.
pub(super) const PARTITIONS: i32 = 12;
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How often is looked whether a topic that was made is served, and the pause between.
const KNOWN_TRIES: u32 = 500;
const KNOWN_LOOK: Duration = Duration::from_millis(20);
/// How long the next record of a topic that has more may take.
const NEXT_MAX: Duration = Duration::from_secs(30);

/// A broker, and a registry where payloads need one. Both end with this value.
pub(super) struct Cluster {
    registry: Option<Registry>,
    kafka: Kafka,
    /// Goes when both have ended.
    folder: TempDir,
}

impl Cluster {
    /// Starts a broker.
    pub(super) fn start() -> Result<Cluster> {
        let folder = TempDir::with_prefix("contraflow-bench-")?;
        let kafka = Kafka::start(&folder.path().join("kafka"));
        Ok(Cluster {
            registry: None,
            kafka,
            folder,
        })
    }

    /// Starts a broker and a registry.
    pub(super) fn start_with_registry() -> Result<Cluster> {
        let mut cluster = Cluster::start()?;
        let folder = cluster.folder.path().join("registry");
        cluster.registry = Some(Registry::start(&folder));
        Ok(cluster)
    }

    pub(super) fn servers(&self) -> String {
        self.kafka.servers()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the registry is, if there is one.
    pub(super) fn registry(&self) -> Option<String> {
        self.registry.as_ref().map(Registry::url)
    }

    /// The number of a schema for the values of a topic, registered unless it is already.
    pub(super) fn schema(&self, topic: &str, text: &str) -> Result<u32> {
        let url = self.registry().context("there is no registry")?;
        let settings = Settings {
            url: Secret::new(url.clone(), url),
            user_info: None,
            ca: None,
        };
        let client = Client::new(&settings, Arc::new(SimClock::default()))?;
        let id = client.register(&subject(topic, Part::Value), &Source::new(text))?;
        Ok(id.0)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.servers());
        client
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }

    /// Makes a topic that forgets nothing.
    pub(super) fn make(&self, name: &str) -> Result<()> {
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let topic = topic.set("retention.ms", "-1");
        let made = wait(self.admin()?.create_topics([&topic], &AdminOptions::new()))?;
        ensure!(made.iter().all(Result::is_ok), "`{name}` is not made");
        let asker = self.asker()?;
        for _ in 0..KNOWN_TRIES {
            if end(&asker, name).is_ok() {
                return Ok(());
            }
            // Nothing comes of it: this client reads nothing.
            drop(asker.poll(KNOWN_LOOK));
        }
        bail!("`{name}` is not served")
    }

    /// Deletes topics.
    pub(super) fn delete(&self, names: &[&str]) -> Result<()> {
        let gone = wait(self.admin()?.delete_topics(names, &AdminOptions::new()))?;
        ensure!(gone.iter().all(Result::is_ok), "{names:?} stay");
        Ok(())
    }

    /// An ordinary producer.
    pub(super) fn producer(&self) -> Result<BaseProducer> {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4");
        Ok(client.create()?)
    }

    /// A reader of what is committed, from these places on.
    fn reader(&self, from: &TopicPartitionList) -> Result<BaseConsumer> {
        let mut client = self.client();
        client
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "50");
        let reader: BaseConsumer = client.create()?;
        reader.assign(from)?;
        Ok(reader)
    }

    /// A reader of what is committed to a topic after this call.
    pub(super) fn reader_from_now(&self, topic: &str) -> Result<BaseConsumer> {
        let asker = self.asker()?;
        let mut from = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, end) = asker.fetch_watermarks(topic, partition, ANSWER_MAX)?;
            from.add_partition_offset(topic, partition, Offset::Offset(end))?;
        }
        self.reader(&from)
    }

    /// Somebody who asks where topics end and reads nothing.
    pub(super) fn asker(&self) -> Result<BaseConsumer> {
        Ok(self
            .client()
            .set("group.id", "bench")
            .set("isolation.level", "read_committed")
            .create()?)
    }

    /// Reads a topic that must hold so many records, and says what they come to.
    pub(super) fn digest(&self, topic: &str, records: u64) -> Result<Digest> {
        let reader = self.reader(&everywhere(topic, Offset::Beginning)?)?;
        let mut digest = Digest::default();
        for _ in 0..records {
            let found = next_within(&reader, NEXT_MAX)?;
            let found = found.with_context(|| format!("records of `{topic}` are missing"))?;
            let value = found.payload().unwrap_or_default();
            digest.add(found.partition(), found.key().unwrap_or_default(), value);
        }
        ensure!(
            next_within(&reader, Duration::from_secs(2))?.is_none(),
            "`{topic}` has more than {records} records"
        );
        Ok(digest)
    }
}

/// Where the partitions of a topic end for readers of what is committed, taken together.
pub(super) fn end(asker: &BaseConsumer, topic: &str) -> Result<u64> {
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        let (_, end) = asker.fetch_watermarks(topic, partition, ANSWER_MAX)?;
        sum += u64::try_from(end)?;
    }
    Ok(sum)
}

/// Every partition of a topic at this place.
pub(super) fn everywhere(topic: &str, at: Offset) -> Result<TopicPartitionList> {
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, at)?;
    }
    Ok(all)
}

/// The next record, if it comes in time.
pub(super) fn next_within(
    reader: &BaseConsumer,
    limit: Duration,
) -> Result<Option<BorrowedMessage<'_>>> {
    Ok(reader.poll(limit).transpose()?)
}

/// Hands a record over to a producer, however long it has no room for it.
pub(super) fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            Err((error, _)) => bail!(error),
        }
    }
}

/// Waits until the broker has everything that was handed over.
pub(super) fn flush(producer: &BaseProducer) -> Result<()> {
    Ok(producer.flush(ANSWER_MAX)?)
}
