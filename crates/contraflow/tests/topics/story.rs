//! A change from its beginning to its end, with what each producer wrote on both topics.

use super::audit::holds;
use super::stage::{Kind, PARTITIONS, Stage};

/// Both topics hold all of it, each record once, in order, written by whom it should be.
fn audited(stage: &Stage, old: std::ops::Range<i64>, new: std::ops::Range<i64>) {
    let of = |numbers: &std::ops::Range<i64>, side: &str| stage.records(numbers.clone(), side);
    let on_old = [(of(&old, "old"), false), (of(&new, "old"), true)];
    let on_new = [(of(&old, "new"), true), (of(&new, "new"), false)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
}

/// From the first record to the end of the old topic, with everything that is said on the way.
pub(super) fn whole_life(stage: &Stage) {
    stage.write(&stage.old, &stage.records(1..1_500, "old"));
    stage.says(&["check", "--laws"], 0, &["nothing is in the way"]);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.write(&stage.old, &stage.records(1_500..2_000, "old"));
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.says(
        &["wait", "--for", "gate=producer-may-switch"],
        0,
        &["reached"],
    );
    audited(stage, 1..2_000, 2_000..2_000);
    stage.write(&stage.new, &stage.records(2_000..2_700, "new"));
    stage.verified();
    audited(stage, 1..2_000, 2_000..2_700);
    stage.says(&["rollback"], 1, &["CF0401", "flips once"]);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
    let gone = super::audit::topics(&stage.servers);
    assert!(!gone.contains(&stage.old) && gone.contains(&stage.new));
    assert!(
        !gone
            .iter()
            .any(|name| *name == format!("__contraflow.{}", stage.change))
    );
}

#[test]
fn a_topic_is_renamed() {
    whole_life(&Stage::new(Kind::Raw));
}

#[test]
fn a_topic_gets_another_schema() {
    whole_life(&Stage::new(Kind::Json));
}

/// Before the flip everything can be given up: the old topic stays, and what was copied too.
#[test]
fn an_abort_leaves_the_old_topic() {
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.says(&["abort", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
    let old = [(stage.records(1..300, "old"), false)];
    holds(&stage.servers, &stage.old, &old, PARTITIONS);
    let topics = super::audit::topics(&stage.servers);
    assert!(!topics.contains(&format!("__contraflow.{}", stage.change)));
}
