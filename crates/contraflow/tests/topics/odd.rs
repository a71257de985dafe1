//! Topics that are not as one thinks of them, all the way and back.

use super::audit::{holds, read};
use super::broker::{self, Written};
use super::stage::{Kind, Stage};

/// Bytes that nobody can compress.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut seed = 7_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A batch counts as one record where size is limited, so large ones are written by themselves.
fn write(stage: &Stage, topic: &str, all: &[Written]) {
    let is_large = |record: &Written| record.value.as_ref().is_some_and(|v| v.len() > 1_000);
    for part in all.chunk_by(|one, next| !is_large(one) && !is_large(next)) {
        stage.write(topic, part);
    }
}

/// All of it is copied, compared and flipped, and what the new producer writes goes back.
fn goes_there_and_back(stage: &Stage, partitions: usize, old: &[Written], new: &[Written]) {
    write(stage, &stage.old, old);
    stage.says(&["check"], 0, &["nothing is in the way"]);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    write(stage, &stage.new, new);
    stage.verified();
    let on_old = [(old.to_vec(), false), (new.to_vec(), true)];
    holds(&stage.servers, &stage.old, &on_old, partitions);
    let on_new = [(old.to_vec(), true), (new.to_vec(), false)];
    holds(&stage.servers, &stage.new, &on_new, partitions);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

fn stage(partitions: i32, settings: &[(&str, &str)]) -> Stage {
    let stage = Stage::bare(Kind::Raw);
    for topic in [&stage.old, &stage.new] {
        broker::make(&stage.servers, topic, partitions, settings);
    }
    stage
}

fn written(partition: i32, timestamp: i64, key: Option<&str>, value: Option<&[u8]>) -> Written {
    Written {
        partition,
        timestamp,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

/// A hundred partitions, all but a few of them empty.
#[test]
fn a_hundred_partitions_go_there_and_back() {
    let stage = stage(100, &[]);
    let record = |n: i32| written(n % 7 * 16, 1_000 + i64::from(n), Some("k"), Some(b"v"));
    let old: Vec<Written> = (0..300).map(record).collect();
    let new: Vec<Written> = (300..400).map(record).collect();
    goes_there_and_back(&stage, 100, &old, &new);
}

/// Records without a value, without a key or without both, and nothing at all in one partition.
#[test]
fn a_topic_of_nothing_but_tombstones_goes_there_and_back() {
    let stage = stage(3, &[]);
    let one = |n: i64| {
        let key = (n % 3 != 0).then(|| format!("k{}", n % 5));
        written((n % 2) as i32, 1_000 - n, key.as_deref(), None)
    };
    let old: Vec<Written> = (0..120).map(one).collect();
    let new: Vec<Written> = (120..150).map(one).collect();
    goes_there_and_back(&stage, 3, &old, &new);
}

/// No time, times that go back, empty keys and values, headers that repeat, and records nearly as
/// large as the topic takes.
#[test]
fn records_at_the_edge_of_what_is_allowed_go_there_and_back() {
    // Ours are larger by a header, and the new topic takes as much as the old one.
    let stage = stage(1, &[("max.message.bytes", "20000")]);
    let header = |value: Option<&[u8]>| ("h".to_owned(), value.map(<[u8]>::to_vec));
    let mut many = written(0, 1, Some("k"), Some(b"v"));
    many.headers = vec![
        header(Some(b"1")),
        header(None),
        header(Some(b"1")),
        header(Some(b"")),
    ];
    many.headers.push((String::new(), Some(vec![0, 255])));
    let old = [
        written(0, -1, None, None),
        written(0, -1, Some(""), Some(b"")),
        many,
        written(0, 1_099_511_627_776, Some(""), Some(b"v")),
        written(0, 5, Some("large"), Some(&noise(19_700))),
        written(0, 4, Some("large"), Some(&noise(19_750))),
    ];
    let new = [
        written(0, -1, None, Some(b"back")),
        written(0, 3, Some(""), None),
    ];
    goes_there_and_back(&stage, 1, &old, &new);
}

/// A topic that is the new one of another change: its copies are records like any other here.
#[test]
fn the_copies_of_another_change_are_carried_like_any_record() {
    let stage = stage(1, &[]);
    // As ours, but for the change that it names.
    let source = [&[1][..], &[9; 8], &[0], &[9; 28]].concat();
    let header = ("contraflow-src".to_owned(), Some(source));
    let mut copy = written(0, 1_000, Some("k"), Some(b"v"));
    copy.headers.push(header.clone());
    stage.write(&stage.old, &[copy]);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let found = read(&stage.servers, &stage.new);
    let ours: Vec<_> = found[0]
        .iter()
        .map(|seen| (seen.ours.len(), &seen.ours[0]))
        .collect();
    assert_eq!(ours, [(2, &header)]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
