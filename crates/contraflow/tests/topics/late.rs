//! What is written to the old topic after the flip, and to the new one before it: found, named,
//! carried once or given up.

use contraflow_core::probe::Point;

use super::audit::{holds, places, read};
use super::broker::Written;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, reached_in_time};

/// A change that has flipped, with a hundred records of the old producer and ten of the new one.
fn flipped() -> (Stage, Process) {
    let stage = Stage::new(Kind::Json);
    stage.write(&stage.old, &stage.records(1..100, "old"));
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(100..110, "new"));
    stage.verified();
    (stage, run)
}

/// Records of a topic as the program names them.
fn names(stage: &Stage, topic: &str, numbers: std::ops::Range<i64>) -> Vec<String> {
    let times: Vec<i64> = stage
        .records(numbers, "old")
        .iter()
        .map(|r| r.timestamp)
        .collect();
    places(&stage.servers, topic)
        .into_iter()
        .filter(|(_, _, time)| times.contains(time))
        .map(|(partition, offset, time)| format!("{topic}:{partition}:{offset} (timestamp {time})"))
        .collect()
}

/// Writes several records before the run sees the first of them.
fn write_at_once(stage: &Stage, run: &mut Process, topic: &str, all: &[Written]) {
    run.signal("-STOP");
    run.until_stopped();
    stage.write(topic, all);
    run.signal("-CONT");
}

fn resumed(stage: &Stage) {
    let on = reached_in_time(|| {
        let status = stage.status();
        status["state"]["held"].is_null() && status["progress"]["lag_events"] == 0
    });
    assert!(on, "{:#}", stage.status());
}

/// Both topics hold what the old producer wrote, then what the new one did, late records where they
/// were written, and their copies where they were carried.
fn both_hold(stage: &Stage, late: std::ops::Range<i64>, more: std::ops::Range<i64>) {
    let [old, new] = ["old", "new"]
        .map(|side| move |numbers: &std::ops::Range<i64>| stage.records(numbers.clone(), side));
    let (first, second) = (1..100, 100..110);
    let on_old = [
        (old(&first), false),
        (old(&second), true),
        (old(&late), false),
        (old(&more), true),
    ];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [
        (new(&first), true),
        (new(&second), false),
        (new(&late), true),
        (new(&more), false),
    ];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
}

#[test]
fn late_writes_are_named_and_carried_once() {
    let (stage, mut run) = flipped();
    write_at_once(
        &stage,
        &mut run,
        &stage.old,
        &stage.records(110..115, "old"),
    );
    stage.holds(203);
    let named = names(&stage, &stage.old, 110..115);
    assert_eq!(named.len(), 5);
    let mut words: Vec<&str> = named.iter().map(String::as_str).collect();
    words.push("`contraflow repair --late`");
    let said = stage.says(&["status"], 1, &words);
    assert!(!said.contains("Ada"), "a value: {said}");
    // Going on without a word about them is no way out.
    stage.says(&["resume"], 0, &[]);
    stage.holds(203);
    stage.says(&["repair", "--late"], 0, &["5 late records carried"]);
    resumed(&stage);
    stage.write(&stage.new, &stage.records(115..130, "new"));
    stage.verified();
    both_hold(&stage, 110..115, 115..130);
    // They are settled for good, for a run that knows nothing of them too.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    let mut run = stage.start(&["run"], &[]);
    resumed(&stage);
    stage.says(&["repair", "--late"], 0, &["0 late records carried"]);
    stage.verified();
    both_hold(&stage, 110..115, 115..130);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}

#[test]
fn late_writes_are_given_up_by_name() {
    let (stage, mut run) = flipped();
    let poison = Written {
        partition: 0,
        timestamp: 77,
        key: None,
        value: Some(b"{\"id\": \"poison\"}".to_vec()),
        headers: Vec::new(),
    };
    stage.write(&stage.old, &[poison]);
    stage.write(&stage.old, &stage.records(110..113, "old"));
    stage.holds(203);
    let places = places(&stage.servers, &stage.old);
    let (_, offset, _) = places
        .iter()
        .find(|place| place.2 == 77)
        .expect("it is there");
    let name = format!("{}:0:{offset}", stage.old);
    let said = stage.says(&["repair", "--late"], 1, &["record", &offset.to_string()]);
    assert!(!said.contains("poison"), "a value: {said}");
    stage.says(
        &["repair", "--late", "--give-up", "nobody:0:1"],
        1,
        &["CF0409"],
    );
    let words = ["3 late records carried", "1 given up"];
    stage.says(&["repair", "--late", "--give-up", &name], 0, &words);
    resumed(&stage);
    stage.write(&stage.new, &stage.records(115..120, "new"));
    // What was given up is no difference.
    stage.verified();
    let new: usize = read(&stage.servers, &stage.new).iter().map(Vec::len).sum();
    assert_eq!(new, 99 + 10 + 3 + 5);
    stage.write(&stage.old, &stage.records(130..140, "old"));
    stage.holds(203);
    stage.says(
        &["repair", "--late", "--give-up", "all"],
        0,
        &["10 given up"],
    );
    resumed(&stage);
    stage.verified();
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Whoever carries late writes is killed, before and after it is decided.
#[test]
fn late_writes_are_carried_once_whoever_is_killed() {
    for point in [Point::COMMIT_BEFORE, Point::COMMIT_AFTER] {
        let (stage, mut run) = flipped();
        stage.write(&stage.old, &stage.records(110..115, "old"));
        stage.holds(203);
        assert_eq!(run.terminate(), Some(0), "{}", run.err());
        let at = format!("{}:1", point.0);
        let mut killed = stage.start(&["repair", "--late"], &[("CONTRAFLOW_CRASH_AT", &at)]);
        assert_eq!(killed.wait(), None, "{}: {}", point.0, killed.err());
        stage.says(&["repair", "--late"], 0, &["late records carried"]);
        let mut run = stage.start(&["run"], &[]);
        resumed(&stage);
        stage.write(&stage.new, &stage.records(115..130, "new"));
        stage.verified();
        both_hold(&stage, 110..115, 115..130);
        assert_eq!(run.terminate(), Some(0), "{}", run.err());
    }
}

#[test]
fn early_writes_are_named_and_hold_the_change() {
    let stage = Stage::new(Kind::Json);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    write_at_once(&stage, &mut run, &stage.new, &stage.records(1..13, "new"));
    stage.holds(203);
    let named = names(&stage, &stage.new, 1..13);
    assert_eq!(named.len(), 12);
    let mut words: Vec<&str> = named.iter().map(String::as_str).collect();
    words.push("`contraflow abort`");
    stage.says(&["status"], 1, &words);
    stage.says(&["repair", "--late"], 1, &["CF0401"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// More than one look takes in are counted and named as far as there is room.
#[test]
fn all_early_writes_are_counted() {
    let stage = Stage::new(Kind::Raw);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let all = stage.records(1..4_501, "new");
    write_at_once(&stage, &mut run, &stage.new, &all);
    stage.holds(203);
    let words = ["4500 writes on the new end are not ours", "and 4480 more"];
    stage.says(&["status"], 1, &words);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
