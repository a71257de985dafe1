//! What was lost, restored or changed behind the back of a change: nothing is written twice, nothing
//! is left out, and nobody else's records are taken for copies.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::audit::holds;
use super::broker::{self, LIMIT, Written};
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, reached_in_time, until};

fn control(stage: &Stage) -> String {
    format!("__contraflow.{}", stage.change)
}

/// Takes the checkpoint of a direction away, as a loss does.
fn lose_checkpoint(stage: &Stage, direction: &str) {
    let lost = Written {
        partition: 1,
        timestamp: 5,
        key: Some(format!("lane/{direction}/0").into_bytes()),
        value: None,
        headers: Vec::new(),
    };
    stage.write(&control(stage), &[lost]);
}

/// A run that has carried these records.
fn carried(stage: &Stage, numbers: std::ops::Range<i64>) -> Process {
    stage.write(&stage.old, &stage.records(numbers, "old"));
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    run
}

fn ended(mut run: Process) {
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

fn flipped(stage: &Stage) {
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
}

#[test]
fn a_checkpoint_that_was_lost_has_nothing_written_twice() {
    let stage = Stage::new(Kind::Raw);
    ended(carried(&stage, 1..100));
    lose_checkpoint(&stage, "forward");
    let run = carried(&stage, 100..150);
    flipped(&stage);
    stage.write(&stage.new, &stage.records(150..200, "new"));
    stage.verified();
    ended(run);
    lose_checkpoint(&stage, "reverse");
    stage.write(&stage.new, &stage.records(200..220, "new"));
    let run = stage.start(&["run"], &[]);
    stage.runs();
    stage.verified();
    let of = |numbers: std::ops::Range<i64>| stage.records(numbers, "old");
    let on_old = [(of(1..150), false), (of(150..220), true)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [(of(1..150), true), (of(150..220), false)];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    ended(run);
}

/// A checkpoint of a later time than the new topic: records between the two would be left out.
#[test]
fn a_checkpoint_that_lies_ahead_holds_the_change() {
    let stage = Stage::new(Kind::Raw);
    ended(carried(&stage, 1..100));
    // Copies that lack are looked for again for a while, in which other lanes carry on.
    let mut more = stage.records(100..150, "old");
    more.retain(|record| record.partition == 0);
    stage.write(&stage.old, &more);
    let key = b"lane/forward/0";
    let all = super::audit::read(&stage.servers, &control(&stage));
    let mut lane = all[1].iter().map(|seen| &seen.record);
    let newest = lane.rfind(|record| record.key.as_deref() == Some(key.as_slice()));
    let mut ahead: Written = newest.expect("a checkpoint").clone();
    let mut checkpoint: serde_json::Value =
        serde_json::from_slice(&ahead.value.expect("a checkpoint")).expect("JSON");
    let next = checkpoint["next"][0]["next"]
        .as_array_mut()
        .expect("places");
    let last = next[0].as_i64().expect("an offset");
    next[0] = (last + 5).into();
    ahead.value = Some(checkpoint.to_string().into_bytes());
    stage.write(&control(&stage), &[ahead]);
    let run = stage.start(&["run"], &[]);
    stage.holds(212);
    let record = format!("no copy of record {last}");
    stage.says(&["status"], 1, &["partition 0", &record]);
    let copied = [(stage.records(1..100, "old"), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    ended(run);
}

/// Copies of an earlier change of the same name are records like any other, whatever offsets their
/// headers tell of.
#[test]
fn copies_of_an_earlier_change_of_the_same_name_are_carried() {
    let first = Stage::new(Kind::Raw);
    first.write(&first.old, &first.records(1..900, "old"));
    for partition in 0..3 {
        // What is left has higher offsets than it will have on the new topic.
        broker::forget(&first.servers, &first.old, partition, 250);
    }
    let mut run = first.start(&["run"], &[]);
    first.reaches("follow");
    first.verified();
    flipped(&first);
    first.write(&first.new, &first.records(1_000..1_100, "new"));
    first.verified();
    first.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
    let between: Vec<Written> = super::audit::read(&first.servers, &first.new)
        .into_iter()
        .flatten()
        .map(|seen| seen.record)
        .collect();
    let second = first.next();
    let run = second.start(&["run"], &[]);
    second.reaches("follow");
    second.verified();
    holds(&second.servers, &second.new, &[(between, true)], PARTITIONS);
    ended(run);
}

/// The fence was up, and was lifted when the run began again: producers may have been started.
#[test]
fn what_was_said_of_producers_is_void_after_a_fence_was_lifted() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..50, "old"));
    let at = format!("{}:1", contraflow_core::probe::Point::FENCE_AFTER.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_CRASH_AT", &at)]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    let mut asked = stage.start(&["cutover"], &[]);
    assert_eq!(run.wait(), None, "{}", run.err());
    asked.wait();
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.says(&["cutover"], 1, &["CF0402", "writers"]);
    flipped(&stage);
    ended(run);
}

/// A gate ends a turn before there is a fence: producers may have been started again since.
#[test]
fn what_was_said_of_producers_is_void_after_a_turn_that_failed() {
    let stage = Stage::new(Kind::Json);
    let poison = Written {
        value: Some(b"poison".to_vec()),
        ..stage.records(1..2, "old").remove(0)
    };
    stage.write(&stage.old, &[poison]);
    let run = stage.start(&["run"], &[]);
    stage.stops(501);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    let said = stage.says(&["cutover"], 1, &["CF0402", "letters"]);
    assert!(!said.contains("writers"), "{said}");
    stage.says(&["cutover"], 1, &["CF0402", "letters", "writers"]);
    ended(run);
}

/// Right after the cutover it is known how far the way back is.
#[test]
fn a_cutover_is_granted_when_the_way_back_is_known() {
    let stage = Stage::new(Kind::Raw);
    let run = carried(&stage, 1..50);
    flipped(&stage);
    let status = stage.status();
    assert_eq!(status["progress"]["direction"], "reverse", "{status:#}");
    assert!(status["progress"]["lag_events"].is_number(), "{status:#}");
    ended(run);
}

#[test]
fn partitions_that_are_added_hold_the_change() {
    for side in ["old", "new"] {
        let stage = Stage::new(Kind::Raw);
        let run = carried(&stage, 1..50);
        let topic = if side == "old" {
            &stage.old
        } else {
            &stage.new
        };
        broker::widen(&stage.servers, topic, PARTITIONS + 1);
        stage.holds(201);
        stage.says(&["status"], 1, &["has 4 partitions, it had 3"]);
        ended(run);
        // Whoever begins anew finds topics that fit each other, and knows better.
        let topics = [&stage.old, &stage.new];
        let other = topics.into_iter().find(|other| *other != topic);
        broker::widen(&stage.servers, other.expect("two"), PARTITIONS + 1);
        let run = stage.start(&["run"], &[]);
        stage.runs();
        stage.says(&["resume"], 0, &[]);
        stage.holds(201);
        ended(run);
    }
}

/// A broker fences whoever takes too long over a transaction; the same is done here at once. Nobody
/// has taken the lane over.
#[test]
fn a_run_that_only_the_broker_has_fenced_goes_on() {
    let stage = Stage::new(Kind::Raw);
    let mut run = carried(&stage, 1..100);
    let id = format!("contraflow-{}-forward-0", stage.change);
    let other = broker::producer(&stage.servers, &[("transactional.id", &id)]);
    other.init_transactions(LIMIT).expect("its id");
    drop(other);
    stage.write(&stage.old, &stage.records(100..150, "old"));
    stage.verified();
    assert!(run.runs(), "{}", run.err());
    let copied = [(stage.records(1..150, "old"), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    ended(run);
}

/// Whoever looks at the mirror begins where an earlier look has ended.
#[test]
fn a_mirror_is_looked_at_once() {
    let stage = Stage::new(Kind::Raw);
    let run = carried(&stage, 1..100);
    let group = format!("contraflow-{}-standby-new", stage.change);
    let consumer: BaseConsumer = broker::client(&stage.servers)
        .set("group.id", &group)
        .create()
        .expect("a consumer");
    let noted = || {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&stage.new, 0);
        let noted = consumer.committed_offsets(asked, LIMIT).expect("an answer");
        let noted = noted.elements();
        (noted[0].offset(), noted[0].metadata().to_owned())
    };
    until(
        "it is noted",
        || matches!(noted().0, Offset::Offset(at) if at > 0),
    );
    ended(run);
    let mut early = stage.records(100..101, "new");
    early[0].partition = 0;
    stage.write(&stage.new, &early);
    let note = |offset: i64| {
        let mut place = TopicPartitionList::new();
        let mut element = place.add_partition(&stage.new, 0);
        let set = element.set_offset(Offset::Offset(offset));
        set.expect("an offset");
        element.set_metadata(noted().1);
        consumer.commit(&place, CommitMode::Sync).expect("noted");
    };
    let places = super::audit::places(&stage.servers, &stage.new);
    let last = places.iter().filter(|place| place.0 == 0);
    let last = last.map(|place| place.1).max().expect("a record");
    // As if it had been looked at, and as if it had not.
    note(last + 1);
    let run = stage.start(&["run"], &[]);
    let follows = reached_in_time(|| stage.status()["progress"]["lag_events"] == 0);
    assert!(follows, "{:#}", stage.status());
    stage.verified();
    assert!(stage.status()["state"]["held"].is_null());
    ended(run);
    note(0);
    let run = stage.start(&["run"], &[]);
    stage.holds(203);
    ended(run);
}
