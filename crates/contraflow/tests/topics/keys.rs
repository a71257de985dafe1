//! Keys: mapped with their records, and asked where the producers of a topic put them.

use std::ops::Range;

use rdkafka::producer::{BaseRecord, Producer};
use serde_json::json;

use super::audit::holds;
use super::broker::{self, LIMIT, Written};
use super::java;
use super::registry::{newest, register, shared};
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::reached_in_time;

const JSON: &str = "    payload: raw
    key:
      payload: {json: {old: {id: int64}, new: {user: text}}}
      mapping:
        - rename: {from: id, to: user}
        - convert: {field: user, to: text, on_fail: {down: letter}}
";

fn with(partitioner: &str) -> String {
    format!("{JSON}      partitioner: {partitioner}\n")
}

/// Records as of any producer, with keys of a side; those without a key stay without.
fn records(stage: &Stage, numbers: Range<i64>, key: impl Fn(i64) -> Vec<u8>) -> Vec<Written> {
    let mut all = stage.records(numbers.clone(), "old");
    for (n, written) in numbers.zip(&mut all) {
        written.key = written.key.as_ref().map(|_| key(n % 50));
    }
    all
}

fn old_key(n: i64) -> Vec<u8> {
    format!("{{\"id\":{n}}}").into_bytes()
}

fn new_key(n: i64) -> Vec<u8> {
    format!("{{\"user\":\"{n}\"}}").into_bytes()
}

/// Writes records with these keys where a client puts them by itself.
fn produce(stage: &Stage, partitioner: &str, keys: impl IntoIterator<Item = Vec<u8>>) {
    let settings = [("partitioner", partitioner)];
    let producer = broker::producer(&stage.servers, &settings);
    for key in keys {
        let record = BaseRecord::<[u8], [u8]>::to(&stage.old).key(&key);
        let sent = producer.send(record.payload(b"x"));
        assert!(sent.is_ok(), "no room in the queue");
    }
    producer.flush(LIMIT).expect("they are written");
}

/// Through every phase, tombstones and records without a key too.
#[test]
fn keys_are_mapped_with_their_records() {
    let stage = Stage::new(Kind::Raw);
    stage.declare(&with("custom"), "");
    stage.write(&stage.old, &records(&stage, 1..700, old_key));
    let words = [
        "nothing is in the way",
        "the same custom one",
        "0 of 50 do not come back",
    ];
    stage.says(&["check", "--laws"], 0, &words);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    stage.says(&["status"], 0, &["partitions", "the same custom one"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &records(&stage, 700..900, new_key));
    stage.verified();
    let on_old = [
        (records(&stage, 1..700, old_key), false),
        (records(&stage, 700..900, old_key), true),
    ];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [
        (records(&stage, 1..700, new_key), true),
        (records(&stage, 700..900, new_key), false),
    ];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// The new schema is registered under the key's own subject, and named by its own number.
#[test]
fn keys_of_avro_name_the_schema_of_their_side() {
    let url = shared().url();
    let stage = Stage::new(Kind::Raw);
    let schema = |field: &str| {
        let fields = [json!({"name": field, "type": "long"})];
        json!({"type": "record", "name": "Key", "fields": fields})
    };
    let pair = "    payload: raw
    key:
      payload: {avro: {new: key.avsc}}
      mapping: [rename: {from: id, to: user}]
      partitioner: custom
";
    stage.declare(pair, &format!("registry: {{url: \"{url}\"}}\n"));
    let file = stage.dir.path().join("key.avsc");
    std::fs::write(file, schema("user").to_string()).expect("a file");
    let [old, new] = [&stage.old, &stage.new].map(|topic| format!("{topic}-key"));
    stage.says(&["check"], 2, &["CF0515", &old]);
    let id = register(&url, &old, &schema("id"));
    let words = ["CF0114", "not judged yet", "nothing is in the way"];
    stage.says(&["check"], 0, &words);
    stage.says(
        &["plan"],
        0,
        &[&format!("register the new schema under subject {new}")],
    );
    let framed = |id: u32| {
        move |n: i64| {
            // Small numbers are one byte, zigzag.
            let number = u8::try_from(n * 2).expect("small");
            [&[0], &id.to_be_bytes()[..], &[number]].concat()
        }
    };
    stage.write(&stage.old, &records(&stage, 1..300, framed(id)));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let copied = newest(&url, &new).expect("it was registered");
    assert_ne!(id, copied);
    let on_new = [(records(&stage, 1..300, framed(copied)), true)];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    stage.says(&["check"], 0, &["the same custom one"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Each client's own way is seen in what it wrote.
#[test]
fn the_partitioner_of_the_old_producers_is_found() {
    for (way, whose) in [
        ("murmur2_random", "the default of Java clients"),
        ("consistent_random", "the default of librdkafka clients"),
        ("fnv1a_random", "the default of Sarama clients"),
    ] {
        let stage = Stage::new(Kind::Raw);
        produce(&stage, way, (0..200).map(old_key));
        // Of those without a key nothing is asked.
        stage.write(&stage.old, &stage.records(7..8, "old"));
        let words = ["nothing is in the way", way, whose, "200 keys"];
        let said = stage.says(&["check"], 0, &words);
        assert!(!said.contains("CF0114"), "{said}");
    }
    // What Java's own client does.
    let stage = Stage::new(Kind::Raw);
    java::produce(&stage, &stage.old, (0..200).map(|n| format!("user-{n}")));
    let words = ["nothing is in the way", "murmur2_random", "200 keys"];
    stage.says(&["check"], 0, &words);
    let stage = Stage::new(Kind::Raw);
    stage.write(&stage.old, &records(&stage, 1..300, old_key));
    let words = ["CF0114", "no known partitioner", "none of the known"];
    stage.says(&["check"], 0, &words);
    stage.declare(
        "    payload: raw\n    key: {partitioner: murmur2_random}\n",
        "",
    );
    let words = ["CF0114", "of 50 keys", "murmur2_random"];
    stage.says(&["check"], 2, &words);
}

/// A mapped key that goes elsewhere is refused before anything is written, and by the gate.
#[test]
fn keys_that_would_go_to_another_partition_are_refused() {
    let stage = Stage::new(Kind::Raw);
    stage.declare(JSON, "");
    produce(&stage, "murmur2_random", (0..200).map(old_key));
    let words = ["CF0114", "of 200 keys", "go elsewhere"];
    for verb in ["check", "run", "doctor"] {
        let said = stage.says(&[verb], 2, &words);
        assert!(!said.contains("\"id\""), "a key: {said}");
    }
    assert_eq!(stage.status()["phase"], "declared");
    // Somebody says that it is their own way, and takes it back.
    stage.declare(&with("custom"), "");
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    stage.declare(JSON, "");
    let mut run = stage.start(&["run"], &[]);
    assert!(reached_in_time(|| stage.status()["running"].is_object()));
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "keys"]);
    assert_eq!(stage.status()["phase"], "follow");
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// A key that is not what was declared stops its partition, as any other record.
#[test]
fn a_key_that_cannot_be_read_stops_its_partition() {
    let stage = Stage::new(Kind::Raw);
    stage.declare(&with("custom"), "");
    let mut all = records(&stage, 1..2, old_key);
    all[0].key = Some(b"hunter2".to_vec());
    stage.write(&stage.old, &all);
    let mut run = stage.start(&["run"], &[]);
    stage.stops(501);
    let words = ["partition 1 of", "record 0", "of the key"];
    let said = stage.says(&["status"], 1, &words);
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    holds(&stage.servers, &stage.new, &[], PARTITIONS);
}
