//! A record of Kafka with bytes that no client writes, by questions that are put together here: as
//! old as brokers still take them, so that every field has its plain form.

use std::io::{Read, Write};
use std::net::TcpStream;

const PRODUCE: (i16, i16) = (0, 3);
const FETCH: (i16, i16) = (1, 4);
/// The form of batches of records.
const BATCH: u8 = 2;
/// How long a broker may take, in milliseconds.
const ANSWER_MAX_MS: i32 = 30_000;
/// Bytes of an answer at most.
const BYTES_MAX: i32 = 1 << 20;

/// A record whose headers are bytes.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'r> {
    /// In milliseconds since 1970.
    pub timestamp: i64,
    /// Its key, if any.
    pub key: Option<&'r [u8]>,
    /// Its payload, if any.
    pub value: Option<&'r [u8]>,
    /// Keys and values of its headers.
    pub headers: &'r [(&'r [u8], Option<&'r [u8]>)],
}

/// Writes a record to a partition that this broker leads.
///
/// # Panics
/// When the broker does not take it.
pub fn write(servers: &str, topic: &str, partition: i32, raw: &Raw<'_>) {
    let batch = batch(raw);
    let mut body = Vec::new();
    // In no transaction, to be answered when all have it.
    body.extend((-1_i16).to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    body.extend(ANSWER_MAX_MS.to_be_bytes());
    one_partition(&mut body, topic, partition);
    sized(&mut body, &batch);
    let answer = ask(servers, PRODUCE, &body);
    // Behind one topic with its name, one partition and its number.
    let at = 4 + 2 + topic.len() + 4 + 4;
    let error = answer.get(at..at + 2).expect("an answer");
    assert_eq!(error, [0, 0], "the broker refuses it");
}

/// What a broker answers when it is asked for a partition from its beginning: its log among it, as
/// it lies there.
///
/// # Panics
/// When the broker does not answer.
#[must_use]
pub fn fetch(servers: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut body = Vec::new();
    // No replica asks; at once, and for uncommitted records too.
    body.extend((-1_i32).to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(BYTES_MAX.to_be_bytes());
    body.push(0);
    one_partition(&mut body, topic, partition);
    body.extend(0_i64.to_be_bytes());
    body.extend(BYTES_MAX.to_be_bytes());
    ask(servers, FETCH, &body)
}

/// A header as it lies in a record.
#[must_use]
pub fn header((key, value): (&[u8], Option<&[u8]>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    counted(&mut bytes, Some(key));
    counted(&mut bytes, value);
    bytes
}

/// Puts a question, and returns what follows the number in its answer.
fn ask(servers: &str, (api, version): (i16, i16), body: &[u8]) -> Vec<u8> {
    let mut question = Vec::new();
    question.extend(api.to_be_bytes());
    question.extend(version.to_be_bytes());
    question.extend(1_i32.to_be_bytes());
    name(&mut question, "raw");
    question.extend(body);
    let mut framed = Vec::new();
    sized(&mut framed, &question);
    let mut socket = TcpStream::connect(servers).expect("a broker");
    socket.write_all(&framed).expect("it takes questions");
    let mut size = [0; 4];
    socket.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).expect("a size")];
    socket.read_exact(&mut answer).expect("an answer");
    answer.split_off(4)
}

/// Lists of one topic, and of one partition of it.
fn one_partition(to: &mut Vec<u8>, topic: &str, partition: i32) {
    to.extend(1_i32.to_be_bytes());
    name(to, topic);
    to.extend(1_i32.to_be_bytes());
    to.extend(partition.to_be_bytes());
}

fn name(to: &mut Vec<u8>, name: &str) {
    to.extend(i16::try_from(name.len()).expect("short").to_be_bytes());
    to.extend(name.as_bytes());
}

fn sized(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(i32::try_from(bytes.len()).expect("small").to_be_bytes());
    to.extend(bytes);
}

/// A batch of one record, of nobody that the broker would know again.
fn batch(raw: &Raw<'_>) -> Vec<u8> {
    let record = record(raw);
    // What its sum is of: attributes, the last of its offsets, first and last time, producer,
    // producer's epoch and number, and how many records.
    let mut summed = Vec::new();
    summed.extend(0_i16.to_be_bytes());
    summed.extend(0_i32.to_be_bytes());
    summed.extend(raw.timestamp.to_be_bytes());
    summed.extend(raw.timestamp.to_be_bytes());
    summed.extend((-1_i64).to_be_bytes());
    summed.extend((-1_i16).to_be_bytes());
    summed.extend((-1_i32).to_be_bytes());
    summed.extend(1_i32.to_be_bytes());
    summed.extend(record);
    let mut rest = Vec::new();
    rest.extend((-1_i32).to_be_bytes());
    rest.push(BATCH);
    rest.extend(crc32c(&summed).to_be_bytes());
    rest.extend(summed);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    sized(&mut batch, &rest);
    batch
}

fn record(raw: &Raw<'_>) -> Vec<u8> {
    // Attributes, and how far its time and its offset are from those of the batch.
    let mut fields = vec![0, 0, 0];
    counted(&mut fields, raw.key);
    counted(&mut fields, raw.value);
    number(&mut fields, raw.headers.len());
    for each in raw.headers {
        fields.extend(header(*each));
    }
    let mut record = Vec::new();
    counted(&mut record, Some(&fields));
    record
}

/// Bytes behind their number, which is -1 for none at all.
fn counted(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => to.push(1),
        Some(bytes) => {
            number(to, bytes.len());
            to.extend(bytes);
        }
    }
}

/// A number by seven bits at a time, the lowest first, as one that could be negative.
fn number(to: &mut Vec<u8>, number: usize) {
    let mut rest = number * 2;
    while rest > 127 {
        to.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    to.push(u8::try_from(rest).expect("seven bits"));
}

/// The checksum of Castagnoli.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82F6_3B78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}
