//! The peer of a copy: the loop that one writes first, by the same client, with its settings and
//! nothing around it. It reads what is committed and writes it as it is, in transactions that the
//! offsets are part of.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::{PARTITIONS, everywhere, send};
use crate::bench::stage::process::Usage;
use crate::shell::{self, Stopwatch};

/// Records of a transaction.
const BATCH: u64 = 20_000;
const LIMIT: Duration = Duration::from_secs(30);
/// How long a batch that is begun waits for more.
const WAIT: Duration = Duration::from_millis(5);
/// How often is looked whether a batch was sent.
const REST: Duration = Duration::from_micros(500);

/// Copies so many records from one topic to another, and says the seconds and the peak of memory.
pub(in crate::bench) fn play(servers: &str, from: &str, to: &str, records: u64) -> Result<()> {
    let watch = Stopwatch::start();
    let consumer: BaseConsumer = client(servers)
        .set("group.id", to)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "20")
        .create()?;
    consumer.assign(&everywhere(from, Offset::Beginning)?)?;
    let producer: BaseProducer = client(servers)
        .set("transactional.id", to)
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.kbytes", "65536")
        .set("delivery.report.only.error", "true")
        .create()?;
    producer.init_transactions(LIMIT)?;
    let mut next = vec![0; usize::try_from(PARTITIONS)?];
    let mut copied = 0;
    while copied < records {
        producer.begin_transaction()?;
        copied += batch(&consumer, &producer, to, &mut next)?;
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in (0..).zip(&next) {
            offsets.add_partition_offset(from, partition, Offset::Offset(*next))?;
        }
        let group = consumer.group_metadata().context("it has a group")?;
        producer.send_offsets_to_transaction(&offsets, &group, LIMIT)?;
        // The client looks for the end of its own wait ten times a second only, and does not rest
        // in a wait of a millisecond.
        while producer.in_flight_count() > 0 {
            producer.flush(Duration::ZERO).ok();
            producer.poll(Duration::ZERO);
            shell::pause(REST);
        }
        producer.commit_transaction(Timeout::Never)?;
    }
    let time = watch.read().as_secs_f64();
    let memory = Usage::of("self")?.memory_mib;
    shell::say(&format!("{time} {memory}"));
    Ok(())
}

fn client(servers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers);
    client
}

fn batch(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    to: &str,
    next: &mut [i64],
) -> Result<u64> {
    let mut count = 0;
    while count < BATCH {
        let Some(found) = consumer.poll(WAIT).transpose()? else {
            break;
        };
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(to).partition(found.partition());
        record.key = found.key();
        record.payload = found.payload();
        record.timestamp = match found.timestamp() {
            Timestamp::NotAvailable => None,
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
        };
        record.headers = found
            .headers()
            .map(rdkafka::message::BorrowedHeaders::detach);
        send(producer, record)?;
        next[usize::try_from(found.partition())?] = found.offset() + 1;
        count += 1;
    }
    Ok(count)
}
