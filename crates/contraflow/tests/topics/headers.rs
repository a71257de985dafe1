//! Headers whose keys are no text: brokers take them, and so some producer has written them.

use contraflow_testkit::raw::{self, Raw};

use super::stage::{Kind, Stage};
use crate::live::process::{Process, reached_in_time};

type Header = (&'static [u8], Option<&'static [u8]>);

/// No UTF-8, each in its own way; one of them twice. Nothing is there twice that could be
/// compressed.
const NO_TEXT: [Header; 4] = [
    (&[0xC3, 0x28], Some(b"1")),
    (&[0xFF], None),
    (b"h", Some(&[0, 0xFE])),
    (&[0xFF], Some(b"2")),
];
/// The client tells of the second what it tells of the first.
const CUT: [Header; 2] = [(b"h", None), (b"h\0i", None)];

fn write(stage: &Stage, (key, partition): (&str, i32), value: Option<&[u8]>, headers: &[Header]) {
    let raw = Raw {
        timestamp: 1_700_000_000_000,
        key: Some(key.as_bytes()),
        value,
        headers,
    };
    raw::write(&stage.servers, &stage.old, partition, &raw);
}

/// Whether these headers lie in a topic's partition, one behind the other.
fn lie(stage: &Stage, topic: &str, partition: i32, headers: &[Header]) -> bool {
    let wanted: Vec<u8> = headers.iter().copied().flat_map(raw::header).collect();
    let log = raw::fetch(&stage.servers, topic, partition);
    log.windows(wanted.len()).any(|bytes| bytes == wanted)
}

fn ended(mut run: Process) {
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// They go there and back byte by byte, by the flow and as copies that consumers move by.
#[test]
fn a_header_whose_key_is_no_text_is_carried() {
    let stage = Stage::new(Kind::Raw);
    write(&stage, ("a", 1), Some(b"1"), &NO_TEXT);
    write(&stage, ("a", 1), None, &NO_TEXT[..1]);
    assert!(
        lie(&stage, &stage.old, 1, &NO_TEXT),
        "not as it was written"
    );
    let mut run = stage.start(&["run"], &[]);
    let follows = reached_in_time(|| !run.runs() || stage.status()["phase"] == "follow");
    assert!(follows && run.runs(), "{}", run.err());
    stage.says(&["verify"], 0, &["2 rows compared"]);
    assert!(lie(&stage, &stage.new, 1, &NO_TEXT), "not as it was");
    let at = format!("{}:1:1", stage.old);
    let found = format!("->  {} 1: 1", stage.new);
    stage.says(&["consumers", "translate", "--at", &at], 0, &[&found]);
    ended(run);
    // Whoever starts anew looks for the last copies.
    let run = stage.start(&["run"], &[]);
    stage.runs();
    write(&stage, ("b", 2), Some(b"3"), &NO_TEXT);
    stage.says(&["verify"], 0, &["3 rows compared"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.verified();
    ended(run);
}

/// Carried with the half of its key a header would have another name.
#[test]
fn a_header_whose_key_the_client_cuts_stops_its_partition() {
    let stage = Stage::new(Kind::Raw);
    write(&stage, ("a", 1), Some(b"1"), &CUT[..1]);
    write(&stage, ("a", 1), Some(b"2"), &CUT);
    write(&stage, ("b", 2), Some(b"3"), &NO_TEXT);
    let run = stage.start(&["run"], &[]);
    stage.stops(505);
    let arrived = || lie(&stage, &stage.new, 2, &NO_TEXT) && lie(&stage, &stage.new, 1, &CUT[..1]);
    assert!(reached_in_time(arrived), "the others do not flow");
    stage.says(&["resume"], 0, &[]);
    stage.stops(505);
    ended(run);
    assert!(
        !lie(&stage, &stage.new, 1, &[CUT[0], CUT[0]]),
        "it was carried"
    );
}

/// Parked with what is told of it, and never carried from there: not without a payload either.
#[test]
fn a_header_whose_key_the_client_cuts_is_parked() {
    let stage = Stage::new(Kind::Raw);
    stage.declare("    payload: raw\n", "letters: park\n");
    write(&stage, ("a", 1), Some(b"hunter2"), &CUT);
    write(&stage, ("b", 1), None, &CUT[1..]);
    write(&stage, ("a", 1), Some(b"behind"), &NO_TEXT);
    write(&stage, ("c", 1), Some(b"3"), &[]);
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.says(&["verify"], 0, &["1 rows compared, 3 are letters"]);
    let said = stage.says(&["letters", "list"], 1, &["CF0213"]);
    assert_eq!(said.matches("CF0505").count(), 2, "{said}");
    let letters = format!("__contraflow.{}.letters", stage.change);
    assert!(
        lie(&stage, &letters, 1, &[CUT[0], CUT[0]]),
        "not what is told"
    );
    assert!(lie(&stage, &letters, 1, &NO_TEXT), "not as it was");
    stage.says(
        &["letters", "replay"],
        0,
        &["3 letters tried again, 3 stand"],
    );
    stage.says(&["verify"], 0, &["1 rows compared, 3 are letters"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover", "--accept-loss"], 0, &["reverse"]);
    ended(run);
}
