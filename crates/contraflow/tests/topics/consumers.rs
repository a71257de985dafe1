//! Consumers that move from one topic to the other: what they read before and after is everything,
//! once, or the program says why not.

use std::collections::BTreeSet;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value as Json;

use super::broker::{self, LIMIT};
use super::java;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, until};

/// Reads so many records of a topic from where its group goes on, or all there are, and commits.
/// Says what it read, by partition.
pub(super) fn reads(stage: &Stage, group: &str, topic: &str, most: usize) -> Vec<(i32, i64)> {
    let consumer: BaseConsumer = broker::client(&stage.servers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let partition = i32::try_from(partition).expect("few");
        from.add_partition_offset(topic, partition, Offset::Stored)
            .expect("a place");
    }
    consumer.assign(&from).expect("partitions");
    let (mut seen, mut next, mut open) = (Vec::new(), TopicPartitionList::new(), PARTITIONS);
    let mut last = [0; PARTITIONS];
    while open > 0 && seen.len() < most {
        match consumer.poll(LIMIT).expect("an answer in time") {
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
            Ok(message) => {
                // What a record is known by on both topics: each has a time of its own.
                let time = message.timestamp().to_millis().expect("a time");
                seen.push((message.partition(), time));
                last[usize::try_from(message.partition()).expect("from 0")] = message.offset() + 1;
            }
        }
    }
    for (partition, offset) in (0..).zip(last).filter(|(_, offset)| *offset > 0) {
        let offset = Offset::Offset(offset);
        next.add_partition_offset(topic, partition, offset)
            .expect("a place");
    }
    if next.count() > 0 {
        consumer.commit(&next, CommitMode::Sync).expect("committed");
    }
    seen
}

/// What all records of these numbers are known by, in their order.
fn all(stage: &Stage, numbers: std::ops::Range<i64>) -> Vec<Vec<i64>> {
    let ordered = super::audit::by_partition(PARTITIONS, &stage.records(numbers, "old"));
    let times = |all: &Vec<super::broker::Written>| all.iter().map(|r| r.timestamp).collect();
    ordered.iter().map(times).collect()
}

fn by_partition(seen: &[(i32, i64)]) -> Vec<Vec<i64>> {
    let of = |partition: usize| {
        let mine = seen
            .iter()
            .filter(|(p, _)| usize::try_from(*p) == Ok(partition));
        mine.map(|(_, time)| *time).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

/// Moves a group, which begins with the oldest record where it has read nothing.
fn moves(stage: &Stage, group: &str, more: &[&str], code: i32, words: &[&str]) {
    let args = ["consumers", "move", group, "--reset", "earliest"];
    stage.says(&[&args[..], more].concat(), code, words);
}

#[test]
fn consumers_move_without_a_loss_or_a_double() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..900, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let groups = ["early", "late", "whole"].map(|name| format!("{name}-{}", stage.change));
    let [early, late, whole] = &groups;
    let mut seen_early = reads(&stage, early, &stage.old, 350);
    stage.says(&["consumers", "list"], 0, &[early, "classic", "Empty"]);
    stage.verified();
    // Before the flip, in the middle of history.
    moves(&stage, early, &[], 0, &[&stage.new]);
    seen_early.extend(reads(&stage, early, &stage.new, 100));
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(900..1_400, "new"));
    stage.verified();
    // After it: one that has read into what came back, one that has read everything there is.
    let mut seen_late = reads(&stage, late, &stage.old, 1_150);
    let mut seen_whole = reads(&stage, whole, &stage.old, usize::MAX);
    for group in [late, whole] {
        moves(&stage, group, &[], 0, &[&stage.new]);
    }
    // And one that goes back.
    moves(&stage, early, &["--back"], 0, &[&stage.old]);
    seen_early.extend(reads(&stage, early, &stage.old, usize::MAX));
    stage.write(&stage.new, &stage.records(1_400..1_500, "new"));
    stage.verified();
    seen_early.extend(reads(&stage, early, &stage.old, usize::MAX));
    seen_late.extend(reads(&stage, late, &stage.new, usize::MAX));
    seen_whole.extend(reads(&stage, whole, &stage.new, usize::MAX));
    let wanted = all(&stage, 1..1_500);
    for (seen, group) in [(seen_early, early), (seen_late, late), (seen_whole, whole)] {
        assert_eq!(by_partition(&seen), wanted, "{group}");
    }
    // It has gone on over there: moved once more it would go back.
    moves(&stage, late, &[], 1, &["CF0423", "gone on further"]);
    stage.says(&["consumers", "move", "nobody"], 1, &["CF0421"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Offset and time of every record of a topic, by partition, and the end of each.
fn log(stage: &Stage, topic: &str) -> Vec<(Vec<(i64, i64)>, i64)> {
    let consumer: BaseConsumer = broker::client(&stage.servers)
        .set("group.id", "auditor")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer");
    let (mut from, mut logs) = (TopicPartitionList::new(), Vec::new());
    for partition in 0..i32::try_from(PARTITIONS).expect("few") {
        from.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a place");
        let ends = consumer.fetch_watermarks(topic, partition, LIMIT);
        logs.push((Vec::new(), ends.expect("an answer").1));
    }
    consumer.assign(&from).expect("partitions");
    let mut open = PARTITIONS;
    while open > 0 {
        match consumer.poll(LIMIT).expect("an answer in time") {
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
            Ok(message) => {
                let partition = usize::try_from(message.partition()).expect("from 0");
                let time = message.timestamp().to_millis().expect("a time");
                logs[partition].0.push((message.offset(), time));
            }
        }
    }
    logs
}

/// Every offset of both topics, of records, of markers and of nothing, has behind it at the other
/// topic exactly what it has behind it here.
fn every_offset_is_exact(stage: &Stage) {
    let logs = [&stage.old, &stage.new].map(|topic| log(stage, topic));
    let mut args = vec!["consumers".to_owned(), "translate".into(), "--json".into()];
    for (topic, log) in [&stage.old, &stage.new].iter().zip(&logs) {
        for (partition, (_, end)) in log.iter().enumerate() {
            let places = (0..=*end).map(|offset| format!("--at={topic}:{partition}:{offset}"));
            args.extend(places);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut process = stage.start(&args, &[]);
    assert_eq!(
        process.wait(),
        Some(0),
        "{}{}",
        process.out(),
        process.err()
    );
    let document: Json = serde_json::from_str(&process.out()).expect("a document");
    let offsets = document["offsets"].as_array().expect("offsets");
    assert_eq!(offsets.len(), args.len() - 3);
    for offset in offsets {
        let partition = offset["partition"].as_u64().expect("a number");
        let partition = usize::try_from(partition).expect("few");
        let [here, there] = match offset["from"] == *stage.old {
            true => [&logs[0], &logs[1]],
            false => [&logs[1], &logs[0]],
        };
        let before = |log: &[(Vec<(i64, i64)>, i64)], key: &str| {
            let at = offset[key].as_i64().expect("a number");
            let records = log[partition].0.iter();
            let before = records.filter(|(offset, _)| *offset < at);
            before.map(|(_, time)| *time).collect::<Vec<i64>>()
        };
        assert_eq!(before(here, "at"), before(there, "becomes"), "{offset}");
        assert_eq!(offset["exact"], true, "{offset}");
    }
}

/// Writes in transactions, every third of which is given up.
fn write_in_transactions(stage: &Stage, topic: &str, numbers: std::ops::Range<i64>, side: &str) {
    let id = format!("writer-of-{topic}");
    let producer = broker::producer(&stage.servers, &[("transactional.id", &id)]);
    producer.init_transactions(LIMIT).expect("an id");
    for (number, records) in stage.records(numbers, side).chunks(7).enumerate() {
        producer.begin_transaction().expect("begun");
        for record in records {
            broker::send(&producer, topic, record);
        }
        producer.flush(LIMIT).expect("written");
        match number % 3 {
            2 => producer.abort_transaction(LIMIT).expect("given up"),
            _ => producer.commit_transaction(LIMIT).expect("committed"),
        }
    }
}

#[test]
fn every_offset_is_translated_before_and_behind_the_flip() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..20, "old"));
    write_in_transactions(&stage, &stage.old, 20..60, "old");
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    every_offset_is_exact(&stage);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    every_offset_is_exact(&stage);
    write_in_transactions(&stage, &stage.new, 60..100, "new");
    stage.verified();
    every_offset_is_exact(&stage);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// What cannot be told exactly is not told, and what is allowed to come twice is not lost.
#[test]
fn a_place_that_nobody_can_tell_is_refused() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let group = format!("ahead-{}", stage.change);
    // Some partitions it has not read: its setting says where it begins there.
    let mut seen = reads(&stage, &group, &stage.old, 1);
    stage.says(&["consumers", "move", &group], 1, &["CF0424", "--reset"]);
    // It has read what is not carried.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    stage.write(&stage.old, &stage.records(300..400, "old"));
    seen.extend(reads(&stage, &group, &stage.old, usize::MAX));
    moves(
        &stage,
        &group,
        &[],
        1,
        &["CF0423", "not carried yet", "--at-least-once"],
    );
    moves(&stage, &group, &["--at-least-once"], 0, &[&stage.new]);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.write(&stage.old, &stage.records(400..450, "old"));
    stage.verified();
    seen.extend(reads(&stage, &group, &stage.new, usize::MAX));
    let seen: BTreeSet<(i32, i64)> = seen.into_iter().collect();
    assert_eq!(seen.len(), 449, "nothing is lost");
    // Retention has taken, at the new topic, what a group still has to read.
    let slow = format!("slow-{}", stage.change);
    reads(&stage, &slow, &stage.old, 30);
    for partition in 0..i32::try_from(PARTITIONS).expect("few") {
        broker::forget_all(&stage.servers, &stage.new, partition);
    }
    for more in [&[][..], &["--at-least-once"]] {
        moves(&stage, &slow, more, 1, &["CF0423", "are gone over there"]);
    }
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// The old topic has forgotten everything before a group's place: it is known all the same.
#[test]
fn a_group_at_the_oldest_record_moves_exactly() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let group = format!("first-{}", stage.change);
    let mut seen = reads(&stage, &group, &stage.old, usize::MAX);
    stage.verified();
    for partition in 0..i32::try_from(PARTITIONS).expect("few") {
        broker::forget_all(&stage.servers, &stage.old, partition);
    }
    moves(&stage, &group, &[], 0, &[]);
    stage.write(&stage.old, &stage.records(300..350, "old"));
    until("it is carried", || {
        let carried: usize = log(&stage, &stage.new)
            .iter()
            .map(|(log, _)| log.len())
            .sum();
        carried == 349
    });
    seen.extend(reads(&stage, &group, &stage.new, usize::MAX));
    assert_eq!(by_partition(&seen), all(&stage, 1..350));
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Members of Kafka's own consumer, of both protocols, that go on reading.
#[test]
fn a_group_that_reads_moves_with_doubles_only() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..200, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let protocols = ["classic", "consumer"];
    let readers: Vec<(String, Process)> = protocols
        .iter()
        .map(|protocol| {
            let group = format!("{protocol}-{}", stage.change);
            let consumer = java::consumer(&stage, &stage.old, &group, protocol);
            (group, consumer)
        })
        .collect();
    for (group, _) in &readers {
        moves(&stage, group, &[], 1, &["CF0422", "--at-least-once"]);
        moves(&stage, group, &["--at-least-once"], 0, &[&stage.new]);
    }
    stage.write(&stage.old, &stage.records(200..300, "old"));
    stage.verified();
    for (group, mut consumer) in readers {
        consumer.terminate();
        let seen: BTreeSet<(i32, i64)> = reads(&stage, &group, &stage.new, usize::MAX)
            .into_iter()
            .collect();
        let new = stage.records(200..300, "old");
        let mut new = new
            .iter()
            .map(|record| (record.partition, record.timestamp));
        assert!(
            new.all(|record| seen.contains(&record)),
            "{group} lost some"
        );
    }
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

#[test]
fn a_group_moves_by_time_without_a_loss() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..400, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let group = format!("timed-{}", stage.change);
    let mut seen = reads(&stage, &group, &stage.old, 150);
    moves(
        &stage,
        &group,
        &["--by-time"],
        0,
        &["by time, which went back by"],
    );
    seen.extend(reads(&stage, &group, &stage.new, usize::MAX));
    let seen: BTreeSet<(i32, i64)> = seen.into_iter().collect();
    assert_eq!(seen.len(), 399);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Consumers that keep their offsets themselves are told in a form that programs read.
#[test]
fn places_are_told_as_values_with_commas() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..60, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let (old, new) = (&stage.old, &stage.new);
    let at = format!("{old}:1:0");
    let line = format!(",{old},1,0,{new},0,true");
    let head = "group,from,partition,offset,to,to_offset,exact";
    stage.says(
        &["consumers", "translate", "--at", &at, "--csv"],
        0,
        &[head, &line],
    );
    for wrong in [
        "x:1:0",
        "1:0",
        &format!("{old}:9:0"),
        &format!("{old}:1:-1"),
    ] {
        stage.says(&["consumers", "translate", "--at", wrong], 2, &["CF0005"]);
    }
    let far = format!("{old}:1:5000");
    let said = ["not exact", "behind the end of the topic"];
    stage.says(&["consumers", "translate", "--at", &far], 1, &said);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// The brokers refuse a plain commit while a group has members, whatever those read.
#[test]
fn members_that_read_something_else_are_in_the_way_of_an_exact_move() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let other = format!("{}-other", stage.old);
    broker::make(&stage.servers, &other, 1, &[]);
    stage.write(&other, &stage.records(50..51, "old"));
    for protocol in ["classic", "consumer"] {
        let group = format!("{protocol}-{}", stage.change);
        reads(&stage, &group, &stage.old, 50);
        let consumer = java::consumer(&stage, &other, &group, protocol);
        moves(&stage, &group, &[], 1, &["CF0422", "has members"]);
        moves(&stage, &group, &["--at-least-once"], 0, &[&stage.new]);
        drop(consumer);
    }
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// A consumer without a membership, which nobody can refuse: what it commits is read again.
#[test]
fn a_group_that_commits_while_it_is_moved_is_told() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let group = format!("restless-{}", stage.change);
    reads(&stage, &group, &stage.old, 10);
    let consumer: BaseConsumer = broker::client(&stage.servers)
        .set("group.id", &group)
        .create()
        .expect("a consumer");
    let mut moved = stage.start(&["consumers", "move", &group, "--reset", "earliest"], &[]);
    let mut offset = 0;
    while moved.runs() {
        offset = offset % 20 + 1;
        let mut next = TopicPartitionList::new();
        next.add_partition_offset(&stage.old, 0, Offset::Offset(offset))
            .expect("a place");
        consumer.commit(&next, CommitMode::Sync).expect("committed");
    }
    assert_eq!(moved.wait(), Some(1), "{}", moved.out());
    assert!(moved.err().contains("went on reading"), "{}", moved.err());
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Consumers that move while late records lie on the old topic and their copies on the new one: what
/// was read is not read again, what was not is.
#[test]
fn consumers_move_around_late_writes() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(300..400, "new"));
    stage.verified();
    let groups = ["all", "before", "back"].map(|name| format!("{name}-{}", stage.change));
    let [whole, before, back] = &groups;
    let mut seen_before = reads(&stage, before, &stage.old, usize::MAX);
    let mut seen_back = reads(&stage, back, &stage.new, usize::MAX);
    stage.write(&stage.old, &stage.records(400..420, "old"));
    stage.holds(203);
    stage.says(&["repair", "--late"], 0, &["20 late records carried"]);
    let mut seen_whole = reads(&stage, whole, &stage.old, usize::MAX);
    stage.verified();
    moves(&stage, whole, &[], 0, &[&stage.new]);
    moves(&stage, before, &[], 0, &[&stage.new]);
    moves(&stage, back, &["--back"], 0, &[&stage.old]);
    stage.write(&stage.new, &stage.records(420..500, "new"));
    stage.verified();
    seen_whole.extend(reads(&stage, whole, &stage.new, usize::MAX));
    seen_before.extend(reads(&stage, before, &stage.new, usize::MAX));
    seen_back.extend(reads(&stage, back, &stage.old, usize::MAX));
    let wanted = all(&stage, 1..500);
    for (seen, group) in [
        (seen_whole, whole),
        (seen_before, before),
        (seen_back, back),
    ] {
        assert_eq!(by_partition(&seen), wanted, "{group}");
    }
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
