//! Consumers that move from one topic to the other: what they read before and after is everything,
//! once.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::broker::{self, LIMIT};
use super::stage::{Kind, PARTITIONS, Stage};

/// Reads so many records of a topic from where its group goes on, or all there are, and commits.
/// Says what it read, by partition.
fn reads(stage: &Stage, group: &str, topic: &str, most: usize) -> Vec<(i32, i64)> {
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

#[test]
fn consumers_move_without_a_loss_or_a_double() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..900, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let groups = ["early", "late", "whole"].map(|name| format!("{name}-{}", stage.change));
    let [early, late, whole] = &groups;
    let mut seen_early = reads(&stage, early, &stage.old, 350);
    stage.says(&["consumers", "list"], 0, &[early, "0 members"]);
    stage.verified();
    // Before the flip, in the middle of history.
    stage.says(&["consumers", "move", early], 0, &[&stage.new]);
    seen_early.extend(reads(&stage, early, &stage.new, 100));
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(900..1_400, "new"));
    stage.verified();
    // After it: one that has read into what came back, one that has read everything there is.
    let mut seen_late = reads(&stage, late, &stage.old, 1_150);
    let mut seen_whole = reads(&stage, whole, &stage.old, usize::MAX);
    for group in [late, whole] {
        stage.says(&["consumers", "move", group], 0, &[&stage.new]);
    }
    // And one that goes back.
    stage.says(&["consumers", "move", "--back", early], 0, &[&stage.old]);
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
    stage.says(&["consumers", "move", "nobody"], 1, &["CF0409"]);
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
    stage.says(&["consumers", "move", whole], 0, &[&stage.new]);
    stage.says(&["consumers", "move", before], 0, &[&stage.new]);
    stage.says(&["consumers", "move", "--back", back], 0, &[&stage.old]);
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
