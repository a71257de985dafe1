//! P1: a producer that writes at a steady rate and stops when it is told, and readers that note
//! how old each record is when it arrives.
//!
//! The key of a record is when it was handed over, so that it says so wherever it arrives.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;

use super::cluster::{Cluster, PARTITIONS, flush, next_within, send};
use crate::shell::{self, Stopwatch};

/// Records per millisecond: 5 000 per second.
const PER_MS: u128 = 5;
const MS: Duration = Duration::from_millis(1);
/// How long a record may be on its way.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Nobody knows yet how many records there will be.
const OPEN: usize = usize::MAX;

/// What a producer writes, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Load<'l> {
    pub(super) topic: &'l str,
    pub(super) value: &'l [u8],
    pub(super) time: Duration,
}

/// Lets a producer write beside readers of two topics, who must see every record; does something
/// as soon as it has stopped, and says what came of it, and how many milliseconds each record took
/// to each reader.
pub(super) fn write<T>(
    cluster: &Cluster,
    load: Load<'_>,
    topics: [&str; 2],
    then: impl FnOnce() -> Result<T>,
) -> Result<([Vec<f64>; 2], T)> {
    let watch = Stopwatch::start();
    let (count, ready) = (AtomicUsize::new(OPEN), Barrier::new(topics.len() + 1));
    std::thread::scope(|scope| {
        let reading = topics.map(|topic| {
            let (watch, count, ready) = (&watch, &count, &ready);
            scope.spawn(move || {
                let reader = cluster.reader_from_now(topic);
                ready.wait();
                read(&reader?, watch, count)
            })
        });
        ready.wait();
        let written = produce(cluster, load, &watch);
        // Readers of a producer that failed have nothing to wait for.
        count.store(*written.as_ref().unwrap_or(&0), Ordering::Release);
        let done = then();
        let mut seen = Vec::new();
        for reader in reading {
            seen.push(reader.join().map_err(|_| anyhow!("a reader died"))??);
        }
        written?;
        let seen = <[Vec<f64>; 2]>::try_from(seen).map_err(|_| anyhow!("a reader is missing"))?;
        Ok((seen, done?))
    })
}

/// Writes until the time is over, and says how many records.
fn produce(cluster: &Cluster, load: Load<'_>, watch: &Stopwatch) -> Result<usize> {
    let producer = cluster.producer()?;
    let (begun, mut count) = (watch.read(), 0);
    loop {
        let ran = watch.read() - begun;
        if ran >= load.time {
            flush(&producer)?;
            return Ok(count);
        }
        while (count as u128) < ran.as_millis() * PER_MS {
            let partition = i32::try_from(count % PARTITIONS.unsigned_abs() as usize)?;
            let key = watch.read().as_micros().to_be_bytes();
            let record = BaseRecord::to(load.topic).partition(partition);
            send(&producer, record.key(&key[..]).payload(load.value))?;
            count += 1;
        }
        producer.poll(Duration::ZERO);
        shell::pause(MS);
    }
}

/// Milliseconds that each record took.
fn read(reader: &BaseConsumer, watch: &Stopwatch, count: &AtomicUsize) -> Result<Vec<f64>> {
    let (mut took, mut last) = (Vec::new(), watch.read());
    while took.len() < count.load(Ordering::Acquire) {
        let Some(found) = next_within(reader, LOOK)? else {
            ensure!(watch.read() < last + PATIENCE, "records do not arrive");
            continue;
        };
        last = watch.read();
        let key = found.key().and_then(|key| key.try_into().ok());
        let sent = u128::from_be_bytes(key.context("a key of ours")?);
        took.push((last.as_micros() - sent) as f64 / 1_000.0);
    }
    Ok(took)
}
