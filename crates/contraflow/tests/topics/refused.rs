//! Records that can be read and mapped, and not be written: each is a matter of its partition, or
//! of its key, and of nobody else.

use contraflow_core::probe::Point;
use contraflow_testkit::raw::{self, Raw};
use rdkafka::producer::Producer;

use super::audit::{holds, read};
use super::broker::{self, LIMIT, Written};
use super::odd::noise;
use super::stage::{Kind, PARTITIONS, Stage};
use super::zombies::heir;
use crate::live::process::{Process, reached_in_time, until};

/// How large a record of the new topic may be.
const SMALL: [(&str, &str); 1] = [("max.message.bytes", "20000")];
const PARK: &str = "letters: park\n";

fn written(partition: i32, timestamp: i64, key: &str, value: &[u8]) -> Written {
    Written {
        partition,
        timestamp,
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.to_vec()),
        headers: vec![("h".to_owned(), Some(b"1".to_vec()))],
    }
}

/// A change that follows; what its new topic takes is changed afterwards.
fn follows(more: &str, settings: &[(&str, &str)]) -> (Stage, Process) {
    let stage = Stage::new(Kind::Raw);
    if !settings.is_empty() {
        broker::alter(&stage.servers, &stage.old, settings);
        broker::alter(&stage.servers, &stage.new, settings);
    }
    stage.declare("    payload: raw\n", more);
    let mut run = stage.start(&["run"], &[]);
    let follows = reached_in_time(|| !run.runs() || stage.status()["phase"] == "follow");
    assert!(follows && run.runs(), "{}", run.err());
    (stage, run)
}

/// Two records of each of two partitions that the new topic does not take, among others, and what
/// it takes: of the key `a` nothing behind the first of them.
fn large(bytes: usize) -> [Vec<Written>; 3] {
    let fine = |n: i64| written((n % 3) as i32, n, &format!("k{n}"), b"fine");
    let large = noise(bytes);
    let (mut all, mut flows, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for n in 1..61 {
        let one = match n {
            10 | 40 => written(1, n, "a", &large),
            20 | 50 => written(2, n, "b", &large),
            25 | 55 => written(1, n, "a", b"behind"),
            _ => fine(n),
        };
        match one.key.as_deref() {
            Some(b"a" | b"b") => waits.push(one.clone()),
            _ => flows.push(one.clone()),
        }
        all.push(one);
    }
    [all, flows, waits]
}

/// A batch counts as one record where size is limited, so large ones are written by themselves.
fn write(stage: &Stage, all: &[Written]) {
    let is_large = |record: &Written| record.value.as_ref().is_some_and(|v| v.len() > 1_000);
    for part in all.chunk_by(|one, next| !is_large(one) && !is_large(next)) {
        stage.write(&stage.old, part);
    }
}

fn arrive(stage: &Stage, count: usize) {
    let all = || read(&stage.servers, &stage.new).iter().flatten().count();
    let arrived = reached_in_time(|| all() == count);
    let said = stage.run_said();
    assert!(arrived, "{} of {count}: {:#} {said}", all(), stage.status());
}

fn ended(mut run: Process) {
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// The default: two partitions stop, each at its first; when the topic takes them they are carried.
#[test]
fn a_record_that_is_too_large_stops_its_partition() {
    let (stage, mut run) = follows("", &SMALL);
    // The old topic takes it; a copy is larger by a header.
    let [all, ..] = large(19_900);
    write(&stage, &all);
    let before = |written: &&Written| match written.partition {
        0 => true,
        1 => written.timestamp < 10,
        _ => written.timestamp < 20,
    };
    let copied: Vec<Written> = all.iter().filter(before).cloned().collect();
    stage.stops(208);
    arrive(&stage, copied.len());
    let stopped = || {
        stage.status()["progress"]["stopped"]
            .as_array()
            .map(Vec::len)
    };
    until("both have stopped", || stopped() == Some(2));
    let stopped = |partition: u32| format!("partition {partition} of `{}` stopped", stage.old);
    let words = [stopped(1), stopped(2), "max.message.bytes".to_owned()];
    let words = words.each_ref().map(String::as_str);
    stage.says(&["status"], 1, &words);
    holds(&stage.servers, &stage.new, &[(copied, true)], PARTITIONS);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "letters"]);
    // Whoever starts anew stops there again.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    let run = stage.start(&["run"], &[]);
    stage.stops(208);
    broker::alter(&stage.servers, &stage.new, &[]);
    stage.says(&["resume"], 0, &[]);
    arrive(&stage, all.len());
    stage.verified();
    holds(&stage.servers, &stage.new, &[(all, true)], PARTITIONS);
    ended(run);
}

/// Parked in order with what waits behind it, in the transaction that passes it; carried again once
/// the topic takes it.
#[test]
fn a_record_that_is_too_large_is_parked_and_carried_later() {
    let (stage, run) = follows(PARK, &SMALL);
    let [all, flows, waits] = large(19_900);
    write(&stage, &all);
    parks(&stage, &flows, &waits);
    let said = stage.says(&["letters", "list"], 1, &["19901 bytes"]);
    // Of one key all but the first wait; of the other there is nothing but what is too large.
    assert_eq!(said.matches("CF0208").count(), 2, "{said}");
    assert_eq!(said.matches("CF0213").count(), 4, "{said}");
    // Still too large: they stay, and so does what is behind them.
    stage.says(
        &["letters", "replay"],
        0,
        &["6 letters tried again, 6 stand"],
    );
    broker::alter(&stage.servers, &stage.new, &[]);
    stage.says(
        &["letters", "replay"],
        0,
        &["6 letters tried again, 0 stand"],
    );
    stage.verified();
    assert_eq!(carried_again(&stage), sorted(&waits));
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    ended(run);
}

/// The new topic holds what flows, and all else are letters.
fn parks(stage: &Stage, flows: &[Written], waits: &[Written]) {
    let words = format!("{} rows compared, {} are letters", flows.len(), waits.len());
    // Whoever has just taken over may not have carried all when it is asked first.
    until("all is carried or parked", || {
        let said = stage.says(&["verify"], 0, &["rows compared"]);
        said.contains(&words)
    });
    let copied = [(flows.to_vec(), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
}

/// What was carried again, by partition and in order.
fn carried_again(stage: &Stage) -> Vec<Written> {
    let found = read(&stage.servers, &stage.new).into_iter().flatten();
    let is_again = |name: &str| name == "contraflow-replayed";
    found
        .filter(|seen| seen.ours.iter().any(|(name, _)| is_again(name)))
        .map(|seen| seen.record)
        .collect()
}

/// These, by partition.
fn sorted(all: &[Written]) -> Vec<Written> {
    let mut all = all.to_vec();
    all.sort_by_key(|written| written.partition);
    all
}

/// Whoever parks is killed, within the transaction and behind it: none is lost, none is there twice.
#[test]
fn letters_are_parked_once_whoever_is_killed() {
    let points = [
        Point::BATCH_APPLY_MID,
        Point::COMMIT_BEFORE,
        Point::COMMIT_AFTER,
        Point::BATCH_APPLIED,
    ];
    let [all, flows, waits] = large(19_900);
    for point in points {
        let (stage, mut run) = follows(PARK, &SMALL);
        assert_eq!(run.terminate(), Some(0), "{}", run.err());
        write(&stage, &all);
        let at = format!("{}:1", point.0);
        let mut killed = stage.start(&["run"], &[("CONTRAFLOW_CRASH_AT", &at)]);
        assert_eq!(killed.wait(), None, "{at}: {}", killed.err());
        let run = heir(&stage);
        parks(&stage, &flows, &waits);
        let topic = format!("__contraflow.{}.letters", stage.change);
        let kept = read(&stage.servers, &topic).into_iter().flatten();
        let mut kept: Vec<Written> = kept.map(|seen| seen.record).collect();
        // Deletions are no letters: each claim writes one.
        kept.retain(|written| written.value.is_some());
        kept.sort_by_key(|written| written.timestamp);
        let values = |all: &[Written]| -> Vec<_> {
            let each = all.iter();
            each.map(|one| (one.timestamp, one.value.clone())).collect()
        };
        assert_eq!(values(&kept), values(&waits), "{at}");
        ended(run);
    }
}

/// The same of whoever carries them again.
#[test]
fn letters_are_carried_again_once_whoever_is_killed() {
    let [all, _, waits] = large(19_900);
    for (point, hit) in [
        (Point::COMMIT_BEFORE, 1),
        (Point::COMMIT_AFTER, 1),
        (Point::CHUNK_APPLIED, 1),
    ] {
        let (stage, mut run) = follows(PARK, &SMALL);
        write(&stage, &all);
        let stand = || stage.status()["letters"].as_u64() == Some(waits.len() as u64);
        assert!(reached_in_time(stand), "{:#}", stage.status());
        assert_eq!(run.terminate(), Some(0), "{}", run.err());
        broker::alter(&stage.servers, &stage.new, &[]);
        let at = format!("{}:{hit}", point.0);
        let mut killed = stage.start(&["run"], &[("CONTRAFLOW_CRASH_AT", &at)]);
        until("it runs, or was killed", || {
            !killed.runs() || stage.status()["running"]["pid"] == killed.id()
        });
        let mut asked = stage.start(&["letters", "replay"], &[]);
        assert_eq!(killed.wait(), None, "{at}: {}", killed.err());
        asked.wait();
        let run = heir(&stage);
        let none = || {
            stage.start(&["letters", "replay"], &[]).wait();
            stage.status()["letters"] == 0
        };
        assert!(reached_in_time(none), "{at}: {:#}", stage.status());
        stage.verified();
        assert_eq!(carried_again(&stage), sorted(&waits), "{at}");
        ended(run);
    }
}

/// A batch that was made for more is not the fault of its records.
#[test]
fn a_topic_that_takes_less_than_before_is_written_in_smaller_batches() {
    let (stage, run) = follows("", &[]);
    broker::alter(&stage.servers, &stage.new, &SMALL);
    // No two alike, or they could be compressed.
    let noise_of_all = noise(200 * 900);
    let mut all: Vec<Written> = (1..200)
        .zip(noise_of_all.chunks(900))
        .map(|(n, noise)| written((n % 3) as i32, n, "a", noise))
        .collect();
    all.insert(150, written(1, 150, "a", &noise(30_000)));
    let before = |(at, written): &(usize, &Written)| written.partition != 1 || *at < 150;
    let copied = all.iter().enumerate().filter(before);
    let copied: Vec<Written> = copied.map(|(_, written)| written.clone()).collect();
    stage.write(&stage.old, &all);
    arrive(&stage, copied.len());
    stage.stops(208);
    holds(&stage.servers, &stage.new, &[(copied, true)], PARTITIONS);
    ended(run);
}

/// The broker of the new topic takes no record of tomorrow; what it refuses stays readable.
#[test]
fn a_record_whose_time_is_refused_is_parked_alone() {
    let any = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let (stage, run) = follows(PARK, &[]);
    broker::alter(&stage.servers, &stage.old, &any);
    let tomorrow = 4_102_444_800_000;
    let fine = |n: i64| written(1, n, "a", b"fine");
    let early = [1, 2].map(|n| written(1, tomorrow + n, &format!("b{n}"), b"early"));
    let mut all: Vec<Written> = (1..20).map(fine).collect();
    all.extend(early.clone());
    all.extend((20..40).map(fine));
    stage.write(&stage.old, &all);
    arrive(&stage, 39);
    // The old topic took it once.
    broker::alter(&stage.servers, &stage.old, &[]);
    let said = stage.says(&["letters", "list"], 1, &[]);
    assert_eq!(said.matches("CF0208").count(), 2, "{said}");
    let topic = format!("__contraflow.{}.letters", stage.change);
    let kept: Vec<i64> = read(&stage.servers, &topic)
        .iter()
        .flatten()
        .map(|seen| seen.record.timestamp)
        .collect();
    assert_eq!(kept, early.map(|written| written.timestamp));
    ended(run);
}

/// Writes a record with the timestamp 0. Our client, and those at hand, write the time of now.
fn writes_the_first_moment_of_1970(stage: &Stage) {
    let moment = Raw {
        timestamp: 0,
        key: None,
        value: Some(b"moment"),
        headers: &[],
    };
    raw::write(&stage.servers, &stage.old, 0, &moment);
}

#[test]
fn a_record_of_the_first_moment_of_1970_stops_its_partition() {
    let (stage, run) = follows("", &[]);
    let before = [written(0, 7, "a", b"before"), written(1, 7, "b", b"other")];
    stage.write(&stage.old, &before);
    writes_the_first_moment_of_1970(&stage);
    let times: Vec<i64> = read(&stage.servers, &stage.old)[0]
        .iter()
        .map(|seen| seen.record.timestamp)
        .collect();
    assert_eq!(times, [7, 0]);
    stage.stops(40);
    let other = [written(1, 8, "b", b"other")];
    stage.write(&stage.old, &other);
    arrive(&stage, 3);
    let name = format!("partition 0 of `{}` stopped at record 1", stage.old);
    stage.says(&["status"], 1, &[&name, "timestamp"]);
    let copied = [(before.to_vec(), true), (other.to_vec(), true)];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    ended(run);
}

#[test]
fn a_record_of_the_first_moment_of_1970_is_parked() {
    let (stage, run) = follows(PARK, &[]);
    writes_the_first_moment_of_1970(&stage);
    let behind = [written(0, 8, "a", b"behind")];
    stage.write(&stage.old, &behind);
    stage.says(&["verify"], 0, &["1 rows compared, 1 are letters"]);
    stage.says(&["letters", "list"], 1, &["CF0040"]);
    stage.says(
        &["letters", "replay"],
        0,
        &["1 letter tried again, 1 stand"],
    );
    holds(
        &stage.servers,
        &stage.new,
        &[(behind.to_vec(), true)],
        PARTITIONS,
    );
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover", "--accept-loss"], 0, &["reverse"]);
    ended(run);
}

#[test]
fn a_record_larger_than_the_memory_for_them_stops_its_partition() {
    let settings = [("max.message.bytes", "104857600")];
    let (stage, run) = follows("", &settings);
    let huge = written(0, 5, "a", &vec![7; 66 << 20]);
    let settings = [("message.max.bytes", "80000000")];
    let producer = broker::producer(&stage.servers, &settings);
    broker::send(&producer, &stage.old, &huge);
    producer.flush(LIMIT).expect("it is written");
    stage.stops(208);
    stage.says(&["status"], 1, &["that wait at most"]);
    let other = [written(1, 8, "b", b"other")];
    stage.write(&stage.old, &other);
    arrive(&stage, 1);
    ended(run);
}

/// A batch of late records counts as one record where their size is limited.
#[test]
fn late_records_keep_to_what_the_topic_takes() {
    let (stage, mut run) = follows("", &SMALL);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    // No two alike, or they could be compressed.
    let noise_of_all = noise(100 * 1_000);
    let late: Vec<Written> = (1..101)
        .zip(noise_of_all.chunks(1_000))
        .map(|(n, noise)| written(1, n, "a", noise))
        .collect();
    for few in late.chunks(10) {
        stage.write(&stage.old, few);
    }
    stage.holds(203);
    stage.says(&["repair", "--late"], 0, &["100 late records carried"]);
    holds(
        &stage.servers,
        &stage.new,
        &[(late.clone(), true)],
        PARTITIONS,
    );
    // One that it does not take is named, and is given up by name.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    stage.write(&stage.old, &[written(1, 200, "a", &noise(19_900))]);
    stage.write(&stage.old, &[written(1, 201, "a", b"behind")]);
    let run = stage.start(&["run"], &[]);
    stage.holds(203);
    let offset = read(&stage.servers, &stage.old)[1].len() - 2;
    let words = [
        format!("record {offset} of partition 1"),
        "--give-up".to_owned(),
    ];
    let words = words.each_ref().map(String::as_str);
    stage.says(&["repair", "--late"], 1, &words);
    let name = format!("{}:1:{offset}", stage.old);
    let words = ["1 late record carried", "1 given up"];
    stage.says(&["repair", "--late", "--give-up", &name], 0, &words);
    ended(run);
}
