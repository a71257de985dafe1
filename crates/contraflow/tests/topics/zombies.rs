//! A run that stands still, another one that takes its place, and what the first can do after it
//! wakes: nothing.

use contraflow_core::probe::Point;

use super::audit::holds;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, until};

/// Starts a run once the one that stands still counts as silent.
fn heir(stage: &Stage) -> Process {
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
    let of = |numbers: std::ops::Range<i64>| stage.records(numbers, "old");
    let on_old = [(of(1..500), false), (of(500..600), true)];
    let on_new = [(of(1..500), true), (of(500..600), false)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
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
