//! A transactional producer. After any error it is dropped: what became of its transaction is
//! found out by whoever takes the transactional id next, never remembered.
//!
//! A broker that knows nothing of a producer takes whatever comes first to a partition, and the
//! client takes what was before that for written: of several batches under way, those that the
//! broker refused for a moment would be lost, and the transaction be committed without them. So the
//! first record of a partition goes alone.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _};
use rdkafka::util::Timeout;

use super::Context;
use super::client::{self, ANSWER_MAX, failure, unsupported};
use super::control;
use super::native;
use super::refused::{Number, Refusal, Refusals};

/// After this time the broker ends a transaction whose producer is silent: as long as the fetch of
/// a reader may be held up by a process that died.
pub(super) const TRANSACTION_MAX_MS: &str = "30000";
/// How long taking a transactional id may take: an open transaction of its last owner is ended
/// meanwhile, and what it wrote becomes visible or void.
const TAKE_MAX: Duration = Duration::from_secs(45);
/// Bytes of a batch at most: enough to amortise a request.
pub(super) const BATCH_BYTES: u64 = 1_000_000;
/// Kilobytes of records that wait to be sent at most, and so of one record.
const QUEUE_KB: usize = 64 << 10;
/// How long a step of a trial may take: nothing is open that it could wait for.
const TRIAL_MAX: Duration = Duration::from_secs(15);
/// How long a partition counts as known: brokers forget producers that are silent for much longer.
const KNOWN_MAX: Duration = Duration::from_secs(60);
/// How long a full queue is waited for before it is tried again.
const QUEUE_WAIT: Duration = Duration::from_millis(10);
/// How long the last records of a transaction are waited for before is looked whether one failed.
const SENT_WAIT: Duration = Duration::from_millis(20);
/// How long reports are waited for that say why a transaction takes nothing more.
const REPORT_WAIT: Duration = Duration::from_millis(100);

/// One record on its way.
pub(super) struct Outgoing<'a> {
    pub(super) number: Number,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
}

/// Bytes of a batch that every topic of a role takes.
pub(super) fn batch_bytes(context: &Context) -> Result<u64> {
    let broker = &context.broker;
    let mut bytes = BATCH_BYTES;
    for (_, table) in context.role.pairs() {
        if let Some(topic) = broker.topic(&table.name)? {
            bytes = bytes.min(broker.room(&topic)?.record_bytes_max.max(1));
        }
    }
    Ok(bytes)
}

pub(super) struct Producer {
    inner: BaseProducer<Refusals, NoCustomPartitioner>,
    clock: Arc<dyn Clock>,
    known: RefCell<Known>,
}

/// Partitions whose brokers know the producer: the last thing that it wrote there was answered.
struct Known {
    all: Vec<(String, i32)>,
    /// Since when they are gathered.
    since: Duration,
}

impl Producer {
    /// Takes a transactional id: every earlier owner is fenced, and its last transaction decided.
    pub(super) fn take(context: &Context, id: &str) -> Result<Producer> {
        Producer::take_for(context, id, BATCH_BYTES)
    }

    /// As [`Producer::take`], for topics that take batches of so many bytes: a batch counts as one
    /// record where their size is limited.
    pub(super) fn take_for(context: &Context, id: &str, batch_bytes: u64) -> Result<Producer> {
        let mut settings = client::settings(&context.cluster);
        settings
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_MAX_MS)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Whoever commits sends what waits, so nothing is late by it. While a partition has a
            // request under way, the client does not rest if records that are due wait behind it.
            .set("linger.ms", "1000")
            .set("batch.size", batch_bytes.to_string())
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.kbytes", QUEUE_KB.to_string())
            .set("compression.type", "lz4")
            // The broker knows what it takes.
            .set("message.max.bytes", "1000000000")
            .set("delivery.report.only.error", "true");
        let fail = |error| failure(&format!("taking transactional id `{id}`"), error);
        let inner = settings.create_with_context(Refusals::default());
        let inner: BaseProducer<Refusals, NoCustomPartitioner> = inner.map_err(fail)?;
        // A client that has just learned of the brokers is connected to none of them, and looks for
        // the coordinator again half a second later. The leader of a partition is waited for.
        let client = inner.client();
        // Whether there is one is told by taking the id itself.
        drop(client.fetch_watermarks(&context.names.control, control::AUTHORITY, ANSWER_MAX));
        inner.init_transactions(TAKE_MAX).map_err(fail)?;
        let clock = Arc::clone(&context.clock);
        let known = Known {
            all: Vec::new(),
            since: clock.elapsed(),
        };
        Ok(Producer {
            inner,
            clock,
            known: RefCell::new(known),
        })
    }

    /// Tries what a lane does, without a record: a transaction that is taken back, with a place of
    /// the group. Nobody sees anything of it, and no lane is disturbed.
    pub(super) fn tried(
        cluster: &Cluster,
        id: &str,
        group: &BaseConsumer,
        offsets: &TopicPartitionList,
    ) -> std::result::Result<(), KafkaError> {
        let mut settings = client::settings(cluster);
        settings
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_MAX_MS);
        let inner: BaseProducer = settings.create()?;
        inner.init_transactions(TRIAL_MAX)?;
        inner.begin_transaction()?;
        let group = group.group_metadata();
        let group = group.ok_or(KafkaError::Global(RDKafkaErrorCode::InvalidGroupId))?;
        let sent = inner.send_offsets_to_transaction(offsets, &group, TRIAL_MAX);
        let aborted = inner.abort_transaction(TRIAL_MAX);
        sent.and(aborted)
    }

    pub(super) fn begin(&self) -> Result<()> {
        let (now, mut known) = (self.clock.elapsed(), self.known.borrow_mut());
        if now.saturating_sub(known.since) >= KNOWN_MAX {
            known.all.clear();
            known.since = now;
        }
        let begun = self.inner.begin_transaction();
        begun.map_err(|error| failure("beginning a transaction", error))
    }

    /// Hands a record over; it is sent with others, unless it is the first one of its partition.
    ///
    /// # Errors
    /// As [`Producer::commit`].
    pub(super) fn send(&self, outgoing: Outgoing<'_>) -> Result<()> {
        let at = (outgoing.topic, outgoing.partition);
        self.enqueue(outgoing)?;
        let is_it = |known: &(String, i32)| known.1 == at.1 && known.0 == at.0;
        if !self.known.borrow().all.iter().any(is_it) && self.flushed() {
            let at = (at.0.to_owned(), at.1);
            self.known.borrow_mut().all.push(at);
        }
        Ok(())
    }

    /// Puts a record among those that are to be sent.
    fn enqueue(&self, outgoing: Outgoing<'_>) -> Result<()> {
        let Outgoing {
            number,
            topic,
            partition,
            timestamp,
            key,
            payload,
            headers,
        } = outgoing;
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, number.0).partition(partition);
        record.timestamp = timestamp;
        record.key = key;
        record.payload = payload;
        record.headers = headers;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if self.inner.in_flight_count() == 0 {
                        return self.has_no_room(&back);
                    }
                    self.inner.poll(QUEUE_WAIT);
                    record = back;
                }
                Err((error, _)) => return Err(self.failed("writing a record", error)),
            }
        }
    }

    /// A record that is known not to be writable. Nothing of its transaction is committed.
    pub(super) fn refuse(&self, number: Number, code: Code, reason: String) {
        self.inner.context().add(Refusal {
            number,
            code,
            reason,
            too_large: false,
        });
    }

    /// What was refused of the transaction that failed.
    pub(super) fn refused(&self) -> Vec<Refusal> {
        self.inner.context().take()
    }

    /// Records wait in memory to be sent, and there is no room for this one.
    fn has_no_room(&self, record: &BaseRecord<'_, [u8], [u8], usize>) -> Result<()> {
        let of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let bytes = of(record.key) + of(record.payload);
        let reason = format!("its {bytes} bytes are more than the {QUEUE_KB} kB that wait at most");
        let number = Number(record.delivery_opaque);
        if number == Number::OURS {
            let message = format!("a letter cannot be parked: {reason}");
            let hint =
                "Delete records up to it by `kafka-delete-records.sh`, or `contraflow abort`.";
            return Err(Error::new(Kind::Hold, Code::CONSTRAINT_VIOLATED, message).hint(hint));
        }
        self.refuse(number, Code::CONSTRAINT_VIOLATED, reason);
        Ok(())
    }

    /// What a failure means: it may be that of a record.
    fn failed(&self, what: &str, error: KafkaError) -> Error {
        self.inner.poll(REPORT_WAIT);
        match self.inner.context().are_there() {
            true => refused(),
            false => failure(what, error),
        }
    }

    /// Commits offsets of the consumer's group with the transaction.
    pub(super) fn offsets(
        &self,
        consumer: &BaseConsumer,
        offsets: &TopicPartitionList,
    ) -> Result<()> {
        let Some(group) = consumer.group_metadata() else {
            return Err(unsupported("the consumer has no group"));
        };
        let sent = self
            .inner
            .send_offsets_to_transaction(offsets, &group, ANSWER_MAX);
        sent.map_err(|error| self.failed("committing offsets", error))
    }

    /// Sends what waits until all of it is answered. False when some of it was refused.
    fn flushed(&self) -> bool {
        let refusals = self.inner.context();
        while !refusals.are_there() && !native::flushed(self.inner.client(), SENT_WAIT) {
            // What could not be sent counts until it was told here.
            self.inner.poll(Duration::ZERO);
        }
        !refusals.are_there()
    }

    /// Commits. The client itself gives up when the transaction's time has passed.
    ///
    /// # Errors
    /// Of [`Kind::Data`] when [`Producer::refused`] says which records cannot be written, or some
    /// of them.
    pub(super) fn commit(&self) -> Result<()> {
        if !self.flushed() {
            return Err(refused());
        }
        let committed = self.inner.commit_transaction(Timeout::Never);
        committed.map_err(|error| self.failed("committing a transaction", error))
    }
}

fn refused() -> Error {
    let message = "a record cannot be written";
    Error::new(Kind::Data, Code::CONSTRAINT_VIOLATED, message)
}

#[cfg(test)]
mod tests;
