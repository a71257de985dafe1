//! A cluster of two brokers, one of which goes away and comes back.

use contraflow_testkit::kafka::Kafka;
use rdkafka::admin::TopicReplication;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use super::audit::holds;
use super::broker::{self, LIMIT};
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{reached_in_time, until};

/// What both keep of transactions and groups, so that one is enough; and how soon who is silent
/// counts as gone.
const SAFE: [&str; 4] = [
    "offsets.topic.replication.factor=2",
    "transaction.state.log.replication.factor=2",
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=500",
];

/// The second one may be lost.
struct Two {
    second: Kafka,
    _first: Kafka,
    _folders: [TempDir; 2],
}

/// Both brokers, and a change whose topics are not there.
fn two() -> (Two, Stage) {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let first = Kafka::with(folders[0].path(), &SAFE);
    let second = first.second(folders[1].path(), &SAFE);
    let stage = Stage::at(&first.servers(), Kind::Raw);
    let two = Two {
        second,
        _first: first,
        _folders: folders,
    };
    (two, stage)
}

/// Makes a topic whose partitions lie on these brokers, the first of which leads.
fn make(stage: &Stage, topic: &str, on: &[&[i32]], in_sync: &str) {
    let partitions = i32::try_from(on.len()).expect("few");
    let on = (partitions, TopicReplication::Variable(on));
    broker::make_on(
        &stage.servers,
        topic,
        on,
        &[("min.insync.replicas", in_sync)],
    );
}

/// Of each partition of a topic who leads it, and how many replicas are in step.
fn led(stage: &Stage, topic: &str) -> Vec<(i32, usize)> {
    let asker: BaseConsumer = broker::client(&stage.servers).create().expect("a client");
    let metadata = asker.fetch_metadata(Some(topic), LIMIT).expect("an answer");
    let partitions = metadata.topics()[0].partitions().iter();
    partitions
        .map(|one| (one.leader(), one.isr().len()))
        .collect()
}

/// Checks until it comes to this, and says so.
fn comes_to(stage: &Stage, code: i32, words: &str) {
    let mut said = String::new();
    let comes = reached_in_time(|| {
        let mut check = stage.start(&["check"], &[]);
        let found = check.wait();
        said = format!("{}{}", check.out(), check.err());
        found == Some(code) && said.contains(words)
    });
    assert!(comes, "not {words}: {said}");
}

/// A partition that nobody serves, and a topic that takes no write for too few have it.
#[test]
fn what_a_lost_broker_takes_with_it_is_named() {
    let (mut two, stage) = two();
    make(&stage, &stage.old, &[&[1], &[2], &[1]], "1");
    make(&stage, &stage.new, &[&[1], &[1], &[1]], "1");
    let unsafely = Stage::at(&stage.servers, Kind::Raw);
    make(&unsafely, &unsafely.old, &[&[1], &[1]], "1");
    make(&unsafely, &unsafely.new, &[&[1, 2], &[2, 1]], "2");
    for stage in [&stage, &unsafely] {
        comes_to(stage, 0, "nothing is in the way");
    }
    two.second.kill();
    comes_to(
        &stage,
        2,
        &format!("partition 1 of `{}` has no leader", stage.old),
    );
    let words = ["CF0101", "kafka-topics.sh --describe"];
    stage.says(&["run"], 2, &words);
    let topic = &unsafely.new;
    let too_few = format!("`{topic}` takes no write: 1 of its 2 replicas are in step");
    comes_to(&unsafely, 2, &too_few);
    unsafely.says(&["run"], 2, &["CF0110", "`min.insync.replicas` is 2"]);
    two.second.start_again();
    for stage in [&stage, &unsafely] {
        comes_to(stage, 0, "nothing is in the way");
    }
}

/// The leaders of source, target and control topic move while records are carried, and back.
#[test]
fn a_change_outlives_the_loss_of_a_broker() {
    let (mut two, stage) = two();
    let on: [&[i32]; PARTITIONS] = [&[1, 2], &[2, 1], &[2, 1]];
    for topic in [&stage.old, &stage.new] {
        make(&stage, topic, &on, "1");
    }
    stage.write(&stage.old, &stage.records(1..200, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let control = format!("__contraflow.{}", stage.change);
    let kept = led(&stage, &control);
    assert!(kept.iter().all(|(_, in_sync)| *in_sync == 2), "{kept:?}");
    stage.write(&stage.old, &stage.records(200..600, "old"));
    two.second.kill();
    stage.write(&stage.old, &stage.records(600..800, "old"));
    assert_eq!(led(&stage, &stage.old), [(1, 1); PARTITIONS]);
    stage.verified();
    two.second.start_again();
    until("both have all of it", || {
        let topics = [&stage.old, &stage.new, &control];
        let all = topics.map(|topic| led(&stage, topic)).concat();
        all.iter().all(|(_, in_sync)| *in_sync == 2)
    });
    stage.write(&stage.old, &stage.records(800..900, "old"));
    // A lane whose broker was lost in the middle of a transaction may wait until that is given up.
    until("all of it is compared", || {
        let said = stage.says(&["verify"], 0, &[]);
        said.contains("899 rows compared")
    });
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(900..1_000, "new"));
    two.second.kill();
    stage.write(&stage.new, &stage.records(1_000..1_100, "new"));
    stage.verified();
    let (before, behind) = (
        stage.records(1..900, "old"),
        stage.records(900..1_100, "new"),
    );
    let on_old = [(before.clone(), false), (behind.clone(), true)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [(before, true), (behind, false)];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
