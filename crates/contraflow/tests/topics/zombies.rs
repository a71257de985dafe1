//! A run that stands still, another one that takes its place, and what the first can do after it
//! wakes: nothing. And what comes while nobody looks.

use contraflow_core::probe::Point;

use super::audit::{holds, places, read};
use super::broker::Written;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, until};

/// Starts a run once the one that stands still counts as silent.
pub(super) fn heir(stage: &Stage) -> Process {
    let mut heir = stage.start(&["run"], &[]);
    until("the silent run is taken over", || {
        if !heir.runs() {
            assert!(heir.err().contains("CF0306"), "{}", heir.err());
            heir = stage.start(&["run"], &[]);
        }
        heir.runs() && stage.status()["running"]["pid"] == heir.id()
    });
    heir
}

/// Both topics hold the records before a number from the old one, and those from it on from the new.
fn both_hold(stage: &Stage, flipped: i64, end: i64) {
    let (before, behind) = (1..flipped, flipped..end);
    let of = |numbers: &std::ops::Range<i64>| stage.records(numbers.clone(), "old");
    let on_old = [(of(&before), false), (of(&behind), true)];
    let on_new = [(of(&before), true), (of(&behind), false)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
}

/// Stands still at a point with a batch in hand, while the change goes on to its flip.
fn wakes_after_the_flip(point: Point) {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..500, "old"));
    let at = format!("{}:1", point.0);
    let mut zombie = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    zombie.until_stopped();
    let mut heir = heir(&stage);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(500..600, "new"));
    zombie.signal("-CONT");
    assert_eq!(zombie.wait(), Some(2), "{}", zombie.err());
    assert!(zombie.err().contains("CF0301"), "{}", zombie.err());
    stage.verified();
    both_hold(&stage, 500, 600);
    assert_eq!(heir.terminate(), Some(0), "{}", heir.err());
}

#[test]
fn a_zombie_in_the_middle_of_a_batch_is_fenced() {
    wakes_after_the_flip(Point::BATCH_APPLY_MID);
}

#[test]
fn a_zombie_before_its_commit_is_fenced() {
    wakes_after_the_flip(Point::COMMIT_BEFORE);
}

/// A producer that starts on the new topic a moment too early, when all was compared and the flip is
/// about to come: what it wrote is no copy of anything, and goes back.
#[test]
fn a_write_between_the_last_compare_and_the_flip_goes_back() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let at = format!("{}:1", Point::COMPARED.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    let mut asked = stage.start(&["cutover"], &[]);
    run.until_stopped();
    stage.write(&stage.new, &stage.records(300..320, "new"));
    run.signal("-CONT");
    assert_eq!(asked.wait(), Some(0), "{}", asked.err());
    stage.write(&stage.new, &stage.records(320..400, "new"));
    stage.verified();
    both_hold(&stage, 300, 400);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// A producer of the old topic that goes on when everything was compared: the turn ends, and what it
/// wrote is carried like everything before.
#[test]
fn a_write_to_the_old_topic_behind_the_last_compare_ends_the_turn() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let at = format!("{}:1", Point::COMPARED.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    let mut asked = stage.start(&["cutover"], &[]);
    run.until_stopped();
    stage.write(&stage.old, &stage.records(300..310, "old"));
    run.signal("-CONT");
    assert_eq!(asked.wait(), Some(1), "{}", asked.err());
    stage.reaches("follow");
    stage.verified();
    let all = [(stage.records(1..310, "old"), true)];
    holds(&stage.servers, &stage.new, &all, PARTITIONS);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Writes what a lane writes that carries one record: its copy, and the checkpoint behind it.
fn carries(stage: &Stage, record: &Written, offset: i64) {
    let partition = usize::try_from(record.partition).expect("from 0");
    let copies = &read(&stage.servers, &stage.new)[partition];
    let (name, source) = copies.last().expect("a copy").ours[0].clone();
    let mut source = source.expect("a source");
    let at = source.len() - 8;
    source[at..].copy_from_slice(&offset.to_be_bytes());
    let mut copy = record.clone();
    copy.headers.push((name, Some(source)));
    let control = format!("__contraflow.{}", stage.change);
    let all = read(&stage.servers, &control);
    let mut lane = all[1].iter().map(|seen| &seen.record);
    let newest = lane.rfind(|record| record.key.as_deref() == Some(b"lane/forward/0"));
    let mut checkpoint: Written = newest.expect("a checkpoint").clone();
    let value = checkpoint.value.expect("a checkpoint");
    let mut value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
    value["next"][0]["next"][partition] = (offset + 1).into();
    checkpoint.value = Some(value.to_string().into_bytes());
    stage.write(&stage.new, &[copy]);
    stage.write(&control, &[checkpoint]);
}

/// A lane that is not fenced yet, and carries what a producer wrote that was said to have stopped,
/// when all is sealed: what it carried is late and is there, and nobody stops at it.
#[test]
fn what_an_overtaken_lane_carried_between_seal_and_flip_is_passed() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let at = format!("{}:1", Point::SEAL_AFTER.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    let mut asked = stage.start(&["cutover"], &[]);
    run.until_stopped();
    let late = stage.records(300..301, "old");
    stage.write(&stage.old, &late);
    let all = places(&stage.servers, &stage.old);
    let offset = all.iter().find(|place| place.2 == late[0].timestamp);
    carries(&stage, &late[0], offset.expect("it is there").1);
    run.signal("-CONT");
    assert_eq!(asked.wait(), Some(0), "{}", asked.err());
    stage.write(&stage.new, &stage.records(301..320, "new"));
    stage.verified();
    stage.says(&["repair", "--late"], 0, &["0 late records carried"]);
    let of = |numbers: std::ops::Range<i64>| stage.records(numbers, "old");
    let mut on_old = [
        (of(1..300), false),
        (of(300..301), false),
        (of(301..320), true),
    ];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    for (_, carried) in &mut on_old {
        *carried = !*carried;
    }
    holds(&stage.servers, &stage.new, &on_old, PARTITIONS);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// A deploy pipeline that asks too early, and between the seal and the flip, is told to wait.
#[test]
fn the_new_producer_may_switch_when_the_change_has_flipped_and_not_before() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let asks = [
        "wait",
        "--for",
        "gate=producer-may-switch",
        "--timeout",
        "1s",
    ];
    let may_not = || stage.says(&asks, 1, &["not reached"]);
    may_not();
    let at = format!("{}:1", Point::SEAL_AFTER.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    stage.reaches("follow");
    may_not();
    stage.says(&["producer", "stopped"], 0, &[]);
    may_not();
    let mut asked = stage.start(&["cutover"], &[]);
    run.until_stopped();
    may_not();
    run.signal("-CONT");
    assert_eq!(asked.wait(), Some(0), "{}", asked.err());
    stage.says(&asks, 0, &["reached"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
