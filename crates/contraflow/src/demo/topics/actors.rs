//! P1 and C1: a producer that writes all the time, and a consumer that checks what it reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::Context;
use contraflow_core::clock::Clock;
use contraflow_engine::tasks::{Stop, TaskSet};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::{Cluster, PARTITIONS, flush, send};
use super::people::{Form, Person, Shape};
use crate::surroundings::SystemClock;

/// Records that a producer writes before it pauses: about a thousand per second.
const AT_ONCE: u64 = 10;
const BETWEEN: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(50);
/// For how long a consumer that is about to stop waits for its next record.
const PATIENCE: Duration = Duration::from_secs(30);
/// An actor has not been told to stop.
const GO_ON: u64 = u64::MAX;
/// The time of the first record, in milliseconds since 1970; each has a time of its own.
const FIRST_MS: i64 = 1_700_000_000_000;

/// A topic as its clients know it.
#[derive(Clone)]
pub(super) struct Topic {
    pub(super) cluster: Cluster,
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) form: Form,
}

/// The partition of a record.
pub(super) fn partition(n: u64) -> i32 {
    i32::try_from(n % u64::from(PARTITIONS.unsigned_abs())).unwrap_or_default()
}

/// The key of a record: some people come more than once.
pub(super) fn key(n: u64) -> String {
    format!("person {}", n % 10_000)
}

/// The timestamp of a record.
pub(super) fn timestamp(n: u64) -> i64 {
    FIRST_MS.saturating_add_unsigned(n)
}

impl Topic {
    /// Writes the records of these numbers.
    pub(super) fn write(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
        let producer = self.cluster.producer()?;
        for n in numbers {
            self.write_one(&producer, n)?;
        }
        flush(&producer)
    }

    fn write_one(&self, producer: &BaseProducer, n: u64) -> anyhow::Result<()> {
        let person = Person::written(n, self.shape);
        let (key, payload) = (key(n), self.form.write(self.shape, &person)?);
        let record = BaseRecord::to(&self.name).partition(partition(n));
        let record = record.timestamp(timestamp(n)).key(key.as_bytes());
        send(producer, record.payload(&payload))
    }
}

/// A producer at work.
pub(super) struct Producer(Actor<u64>);

impl Producer {
    /// Writes one record after the other, from this number on.
    pub(super) fn start(topic: &Topic, first: u64) -> anyhow::Result<Producer> {
        let topic = topic.clone();
        let work = move |told: &Told<'_>| {
            let (producer, clock) = (topic.cluster.producer()?, SystemClock::default());
            let mut next = first;
            while told.goes_on() {
                for _ in 0..AT_ONCE {
                    topic.write_one(&producer, next)?;
                    next += 1;
                }
                clock.sleep(BETWEEN);
            }
            flush(&producer)?;
            Ok(next)
        };
        Actor::start("producer", work).map(Producer)
    }

    /// Stops it, and says the number of the record that comes next.
    pub(super) fn stop(self) -> anyhow::Result<u64> {
        self.0.stop(0)
    }
}

/// What a consumer has read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    /// The number that comes next, by partition: each of them has every sixth.
    next: Vec<u64>,
    pub(super) records: u64,
    /// Records that were not the next one, or not what was written.
    pub(super) differ: u64,
}

impl Read {
    /// Nothing yet.
    pub(super) fn nothing() -> Read {
        Read {
            next: (0..u64::from(PARTITIONS.unsigned_abs())).collect(),
            ..Read::default()
        }
    }

    /// Takes the next record of a partition, which says this.
    pub(super) fn take(&mut self, partition: i32, person: Option<&Person>, is_right: bool) {
        self.records += 1;
        let step = u64::from(PARTITIONS.unsigned_abs());
        let place = usize::try_from(partition).ok();
        let Some(next) = place.and_then(|place| self.next.get_mut(place)) else {
            self.differ += 1;
            return;
        };
        let is_next = person.is_some_and(|person| person.id == *next);
        self.differ += u64::from(!is_next || !is_right);
        *next = person.map_or(*next, |person| person.id) + step;
    }

    /// How many records of all these are missing.
    pub(super) fn missing(&self, all: u64) -> u64 {
        all.saturating_sub(self.records)
    }
}

/// A consumer at work.
pub(super) struct Consumer(Actor<Read>);

impl Consumer {
    /// Reads a topic as a member of a group, and goes on counting where it stopped elsewhere.
    pub(super) fn start(topic: &Topic, group: &str, so_far: Read) -> anyhow::Result<Consumer> {
        let (topic, group) = (topic.clone(), group.to_owned());
        let work = move |told: &Told<'_>| {
            let (consumer, clock) = (topic.cluster.consumer(&group)?, SystemClock::default());
            consumer.subscribe(&[&topic.name])?;
            let (mut read, mut next, mut since) = (so_far, BTreeMap::new(), clock.elapsed());
            while read.records < told.until() {
                let Some(found) = consumer.poll(LOOK) else {
                    // What does not come is missing: the story counts it.
                    if !told.goes_on() && clock.elapsed() > since + PATIENCE {
                        break;
                    }
                    continue;
                };
                let found = found?;
                let person = found.payload();
                let person = person.and_then(|bytes| topic.form.read(topic.shape, bytes).ok());
                read.take(found.partition(), person.as_ref(), true);
                next.insert(found.partition(), found.offset() + 1);
                since = clock.elapsed();
            }
            let mut offsets = TopicPartitionList::new();
            for (partition, offset) in next {
                offsets.add_partition_offset(&topic.name, partition, Offset::Offset(offset))?;
            }
            if offsets.count() > 0 {
                consumer.commit(&offsets, CommitMode::Sync)?;
            }
            Ok(read)
        };
        Actor::start("consumer", work).map(Consumer)
    }

    /// Stops it once it has read so many records, or at once when it has read more. Its group
    /// stays without members, where it stood.
    pub(super) fn stop_at(self, records: u64) -> anyhow::Result<Read> {
        self.0.stop(records)
    }
}

/// A thread that works until it is told to stop, or nobody is left to tell it.
struct Actor<T> {
    until: Arc<AtomicU64>,
    result: Receiver<anyhow::Result<T>>,
    _thread: TaskSet,
}

/// What an actor is told.
struct Told<'t> {
    until: &'t AtomicU64,
    stop: &'t Stop,
}

impl Told<'_> {
    fn goes_on(&self) -> bool {
        self.until() == GO_ON
    }

    /// So many records are enough.
    fn until(&self) -> u64 {
        match self.stop.asked() {
            true => 0,
            false => self.until.load(Ordering::Acquire),
        }
    }
}

impl<T: Send + 'static> Actor<T> {
    fn start(
        name: &str,
        work: impl FnOnce(&Told<'_>) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Actor<T>> {
        let until = Arc::new(AtomicU64::new(GO_ON));
        let (theirs, (out, result)) = (Arc::clone(&until), sync_channel(1));
        let mut thread = TaskSet::new(Stop::default());
        thread.spawn(name, move |stop| {
            let until = &*theirs;
            // Nobody may be there any more.
            drop(out.send(work(&Told { until, stop })));
        })?;
        Ok(Actor {
            until,
            result,
            _thread: thread,
        })
    }

    fn stop(self, at: u64) -> anyhow::Result<T> {
        self.until.store(at, Ordering::Release);
        self.result.recv().context("an actor died")?
    }
}
