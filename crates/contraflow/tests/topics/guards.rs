//! What must hold a change, or keep it from beginning: each guard with what it is there for.

use std::time::Duration;

use contraflow_core::probe::Point;
use rdkafka::producer::Producer;

use super::audit::holds;
use super::broker::{self, LIMIT, Written};
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, pause};

/// A run that has carried all there is.
fn followed(stage: &Stage) -> Process {
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    run
}

/// The producers stop, and the change flips.
fn flipped(stage: &Stage) {
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
}

/// Ends a run, and says what it told.
fn ended(mut run: Process) -> String {
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    run.err()
}

#[test]
fn a_change_needs_both_topics() {
    let stage = Stage::bare(Kind::Raw);
    stage.says(&["check"], 2, &["CF0102", "there is no topic"]);
    broker::make(&stage.servers, &stage.old, 3, &[]);
    stage.says(&["check"], 2, &["CF0102", &stage.new]);
}

#[test]
fn topics_that_do_not_fit_are_refused() {
    let stage = Stage::bare(Kind::Raw);
    broker::make(&stage.servers, &stage.old, 3, &[]);
    let settings = [
        ("max.message.bytes", "1000"),
        ("retention.ms", "1000"),
        ("retention.bytes", "1000"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    broker::make(&stage.servers, &stage.new, 2, &settings);
    let words = [
        "CF0113",
        "has 2 partitions",
        "records of 1000 bytes",
        "forgets sooner",
        "keeps fewer bytes",
        "CF0110",
        "LogAppendTime",
    ];
    stage.says(&["check"], 2, &words);
    stage.says(&["run"], 2, &["CF0113"]);
    assert_eq!(stage.status()["phase"], "declared");
}

#[test]
fn topics_that_drop_records_by_other_rules_are_refused() {
    let stage = Stage::bare(Kind::Raw);
    let compacted = [("cleanup.policy", "compact")];
    broker::make(&stage.servers, &stage.old, 3, &compacted);
    broker::make(&stage.servers, &stage.new, 3, &[]);
    stage.says(&["check"], 2, &["CF0113", "is delete", "compact"]);
}

/// A control topic that was lost, and the ledger with it, does not have the change begin anew.
#[test]
fn a_new_topic_that_holds_records_is_refused() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    ended(run);
    broker::delete(&stage.servers, &format!("__contraflow.{}", stage.change));
    stage.says(&["run"], 2, &["CF0105"]);
    std::fs::remove_dir_all(stage.dir.path().join(".contraflow")).expect("a ledger");
    stage.says(&["run"], 2, &["CF0105"]);
    let copied = [(stage.records(1..100, "old"), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
}

/// Nobody said that the producers stopped; then somebody did, and one went on.
#[test]
fn a_producer_that_writes_keeps_the_gate_closed() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    stage.says(&["cutover"], 1, &["CF0402", "writers"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.write(&stage.old, &stage.records(100..110, "old"));
    stage.says(&["cutover"], 1, &["CF0402", "writers"]);
    assert_eq!(stage.status()["phase"], "follow");
    flipped(&stage);
    stage.says(&["producer", "stopped"], 1, &["CF0401"]);
    let all = [(stage.records(1..110, "old"), true)];
    holds(&stage.servers, &stage.new, &all, PARTITIONS);
    ended(run);
}

/// A transaction of the old producer that is open when the producers are said to have stopped.
#[test]
fn an_open_transaction_keeps_the_gate_closed() {
    let stage = Stage::new(Kind::Raw);
    let run = followed(&stage);
    let id = format!("writer-of-{}", stage.old);
    let producer = broker::producer(&stage.servers, &[("transactional.id", &id)]);
    producer.init_transactions(LIMIT).expect("an id");
    let all = stage.records(1..40, "old");
    for part in all.chunks(10) {
        // Between two that count, one that does not.
        producer.begin_transaction().expect("a transaction");
        broker::send(
            &producer,
            &stage.old,
            &stage.records(7_000..7_001, "old")[0],
        );
        producer.flush(LIMIT).expect("it is written");
        producer.abort_transaction(LIMIT).expect("aborted");
        producer.begin_transaction().expect("a transaction");
        for written in part {
            broker::send(&producer, &stage.old, written);
        }
        producer.commit_transaction(LIMIT).expect("committed");
    }
    producer.begin_transaction().expect("a transaction");
    broker::send(
        &producer,
        &stage.old,
        &stage.records(8_000..8_001, "old")[0],
    );
    producer.flush(LIMIT).expect("it is written");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "writers"]);
    producer.abort_transaction(LIMIT).expect("aborted");
    flipped(&stage);
    holds(&stage.servers, &stage.new, &[(all, true)], PARTITIONS);
    ended(run);
}

#[test]
fn an_early_write_to_the_new_topic_holds_the_change() {
    let stage = Stage::new(Kind::Raw);
    let run = followed(&stage);
    stage.write(&stage.new, &stage.records(1..2, "new"));
    stage.holds(203);
    stage.says(&["cutover"], 1, &["CF0401"]);
    ended(run);
}

#[test]
fn a_late_write_to_the_old_topic_holds_the_change() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..50, "old"));
    let run = followed(&stage);
    flipped(&stage);
    stage.write(&stage.old, &stage.records(50..51, "old"));
    stage.holds(203);
    // Whatever becomes of it, the change never runs forward again.
    pause(Duration::from_millis(300));
    let new = [(stage.records(1..50, "old"), true)];
    holds(&stage.servers, &stage.new, &new, PARTITIONS);
    ended(run);
}

#[test]
fn a_topic_that_was_made_anew_holds_the_change() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    stage.verified();
    ended(run);
    broker::delete(&stage.servers, &stage.old);
    let gone = || !super::audit::topics(&stage.servers).contains(&stage.old);
    crate::live::process::until("the topic is gone", gone);
    broker::make(&stage.servers, &stage.old, 3, &[]);
    // As many records as before, so that no offset tells the difference.
    stage.write(&stage.old, &stage.records(100..250, "old"));
    let run = stage.start(&["run"], &[]);
    stage.holds(202);
    let copied = [(stage.records(1..100, "old"), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    ended(run);
}

#[test]
fn records_that_retention_took_hold_the_change() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    stage.verified();
    ended(run);
    stage.write(&stage.old, &stage.records(100..200, "old"));
    broker::forget(&stage.servers, &stage.old, 0, 60);
    let run = stage.start(&["run"], &[]);
    stage.holds(202);
    stage.says(&["status"], 1, &["of partition 0 are gone"]);
    ended(run);
}

/// Retention comes while the run stands still: what is gone when it wakes is not passed over.
#[test]
fn records_that_retention_took_from_a_run_hold_the_change() {
    retention_takes_from_a_run_at(&format!("{}:1", Point::FEED_RECEIVED.0));
}

/// The change has begun on both sides, and no lane was claimed yet.
#[test]
fn records_that_retention_took_before_a_lane_began_hold_the_change() {
    retention_takes_from_a_run_at(&format!("{}:2", Point::EXPAND_AFTER.0));
}

/// Somebody has restored it otherwise, or it is of another version.
#[test]
fn a_control_topic_without_room_for_the_lanes_holds_the_change() {
    let stage = Stage::new(Kind::Raw);
    let control = format!("__contraflow.{}", stage.change);
    let compacts = [("cleanup.policy", "compact")];
    broker::make(&stage.servers, &control, 2, &compacts);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = stage.start(&["run"], &[]);
    stage.holds(110);
    broker::widen(&stage.servers, &control, 5);
    stage.says(&["resume"], 0, &[]);
    stage.reaches("follow");
    stage.verified();
    let copied = [(stage.records(1..100, "old"), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    ended(run);
}

fn retention_takes_from_a_run_at(at: &str) {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", at)]);
    run.until_stopped();
    stage.write(&stage.old, &stage.records(100..400, "old"));
    let before = super::audit::by_partition(PARTITIONS, &stage.records(1..300, "old"));
    broker::forget(&stage.servers, &stage.old, 0, before[0].len() as i64);
    run.signal("-CONT");
    stage.holds(202);
    ended(run);
}

/// A copy as the program wrote it, headers and all.
fn copy_on(stage: &Stage, topic: &str) -> Written {
    let all = super::audit::read(&stage.servers, topic);
    let mut copies = all.into_iter().flatten();
    let found = copies.find(|seen| !seen.ours.is_empty());
    let mut found = found.expect("something was carried");
    found.record.headers.append(&mut found.ours);
    found.record
}

/// A record that somebody wrote again as we did is an echo to whoever looks at headers only.
#[test]
fn a_copy_that_is_there_twice_is_found() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    stage.verified();
    let twice = copy_on(&stage, &stage.new);
    stage.write(&stage.new, &[twice]);
    stage.write(&stage.old, &stage.records(100..200, "old"));
    stage.says(&["verify"], 1, &["CF0404", "1 keys differ"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "compare"]);
    ended(run);
}

/// A new producer that copies what it has read, with our headers: dropped as an echo, it would be
/// lost.
#[test]
fn a_record_that_says_it_is_ours_holds_the_way_back() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = followed(&stage);
    flipped(&stage);
    let copied = copy_on(&stage, &stage.new);
    stage.write(&stage.new, &[copied]);
    stage.holds(203);
    ended(run);
}

#[test]
fn a_record_without_a_time_is_carried() {
    let stage = Stage::new(Kind::Raw);
    let at = |timestamp: i64| Written {
        partition: 1,
        timestamp,
        key: None,
        value: Some(b"x".to_vec()),
        headers: Vec::new(),
    };
    stage.write(&stage.old, &[at(-1), at(1)]);
    let run = followed(&stage);
    stage.verified();
    let old = super::audit::read(&stage.servers, &stage.old);
    let new = super::audit::read(&stage.servers, &stage.new);
    let times = |topic: &[Vec<super::audit::Seen>]| -> Vec<i64> {
        topic
            .iter()
            .flatten()
            .map(|seen| seen.record.timestamp)
            .collect()
    };
    assert_eq!(times(&old), times(&new));
    ended(run);
}
