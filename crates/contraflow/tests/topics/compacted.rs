//! Topics that keep the newest record of each key: each of them drops what it likes, when it likes.

use contraflow::surroundings::SystemClock;
use contraflow_core::clock::Clock;
use contraflow_testkit::kafka::Kafka;

use super::audit::{Seen, read};
use super::broker::{self, Written};
use super::stage::{Kind, Stage};
use crate::live::process::reached_in_time;

/// Segments end with every record, and everything that may be dropped is, at once.
const EAGER: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "1"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("delete.retention.ms", "0"),
    ("max.compaction.lag.ms", "1"),
];

/// A record of now: a segment ends when a record is later than its first, and what ends a
/// transaction is always of now.
fn record(key: &str, value: Option<&str>) -> Written {
    let now = SystemClock::default().unix_ms();
    Written {
        partition: 0,
        timestamp: i64::try_from(now).expect("a time of this age"),
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn made(settings: &[(&str, &str)]) -> (tempfile::TempDir, Kafka, Stage) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Kafka::with(folder.path(), &["log.cleaner.backoff.ms=50"]);
    let stage = Stage::at(&broker.servers(), Kind::Raw);
    for topic in [&stage.old, &stage.new] {
        broker::make(&stage.servers, topic, 1, settings);
    }
    (folder, broker, stage)
}

fn of(topic: &str, stage: &Stage) -> Vec<Seen> {
    read(&stage.servers, topic).remove(0)
}

/// How many records of a key a topic has, once it writes often enough to be cleaned.
fn cleaned(stage: &Stage, topic: &str, key: &str, left: usize) {
    let mut number = 0;
    let mut keys = Vec::new();
    let cleaned = reached_in_time(|| {
        number += 1;
        stage.write(topic, &[record("pace", Some(&number.to_string()))]);
        let all = of(topic, stage).into_iter();
        keys = all.filter_map(|seen| seen.record.key).collect();
        keys.iter().filter(|found| *found == key.as_bytes()).count() == left
    });
    let keys: Vec<_> = keys
        .iter()
        .map(|key| String::from_utf8_lossy(key))
        .collect();
    assert!(cleaned, "{key} is not cleaned: {keys:?}");
}

/// The newest value of each key.
fn state(all: Vec<Seen>) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = std::collections::BTreeMap::new();
    for Seen { record, .. } in all {
        let key = record.key.expect("a key");
        match record.value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

#[test]
fn both_topics_are_cleaned_as_they_like() {
    let (_folder, _broker, stage) = made(&EAGER);
    let mut all = vec![record("gone", Some("0")), record("kept", Some("0"))];
    all.extend((0..20).map(|n| record("hot", Some(&n.to_string()))));
    all.push(record("gone", None));
    for one in &all {
        stage.write(&stage.old, std::slice::from_ref(one));
    }
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    // The old one drops a key whole; what the new one does is its own affair.
    cleaned(&stage, &stage.old, "gone", 0);
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    for n in 0..20 {
        stage.write(&stage.new, &[record("hot", Some(&format!("new {n}")))]);
    }
    stage.write(&stage.new, &[record("kept", None)]);
    cleaned(&stage, &stage.new, "kept", 0);
    stage.verified();
    let (old, new) = (of(&stage.old, &stage), of(&stage.new, &stage));
    assert!(old.len() + new.len() < 80, "nothing was cleaned");
    assert_eq!(state(old), state(new));
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// A deletion that was cleaned away before it was carried is in no topic any more; what it deletes is.
#[test]
fn a_deletion_that_was_dropped_too_early_closes_the_gate() {
    let (_folder, _broker, stage) = made(&EAGER);
    stage.write(&stage.old, &[record("gone", Some("0"))]);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    stage.write(&stage.old, &[record("gone", None)]);
    cleaned(&stage, &stage.old, "gone", 0);
    let mut run = stage.start(&["run"], &[]);
    let taken = reached_in_time(|| stage.status()["running"]["pid"] == run.id());
    assert!(taken, "{}", run.err());
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0304", "not clean"]);
    assert_eq!(stage.status()["phase"], "follow");
    assert_eq!(state(of(&stage.new, &stage)).len(), 2);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
