//! Records that cannot be carried: a partition stops at them, or they are parked.

use contraflow_testkit::registry::Registry;

use super::audit::{by_partition, holds, read};
use super::avro::{MAPPED, evolved, evolved_form, first, new_form, of, old_form, second, stage};
use super::broker::Written;
use super::consumers::reads;
use super::registry::register;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::reached_in_time;

fn written(partition: i32, key: Option<&str>, value: &str) -> Written {
    Written {
        partition,
        timestamp: 5,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![("h".to_owned(), Some(b"1".to_vec()))],
    }
}

fn person(id: i64, name: &str) -> String {
    format!("{{\"id\":{id},\"{name}\":\"Ada\",\"age\":\"7\"}}")
}

/// What a topic holds of a partition: records in their turn, then those that were carried again.
fn turns(stage: &Stage, topic: &str, partition: usize) -> [Vec<Written>; 2] {
    let mut turns = [Vec::new(), Vec::new()];
    for seen in read(&stage.servers, topic).swap_remove(partition) {
        let again = seen
            .ours
            .iter()
            .any(|(name, _)| name == "contraflow-replayed");
        turns[usize::from(again)].push(seen.record);
    }
    turns
}

/// The default. The others flow on, and the cutover is refused until somebody has looked.
#[test]
fn a_poison_record_stops_its_partition_and_no_other() {
    let stage = Stage::new(Kind::Json);
    stage.write(&stage.old, &[written(1, Some("a"), &person(1, "name"))]);
    stage.write(&stage.old, &[written(1, Some("a"), "hunter2")]);
    stage.write(&stage.old, &stage.records(1..200, "old"));
    let mut run = stage.start(&["run"], &[]);
    stage.stops(501);
    let of = |partition: i32, side: &str| {
        let mut all = stage.records(1..200, side);
        all.retain(|written| written.partition == partition);
        all
    };
    let arrived = || {
        let found = read(&stage.servers, &stage.new);
        [0, 2]
            .iter()
            .all(|p| found[*p].len() == of(i32::try_from(*p).expect("few"), "new").len())
    };
    assert!(reached_in_time(arrived), "the others do not flow");
    let copied = [
        (vec![written(1, Some("a"), &person(1, "full_name"))], true),
        (of(0, "new"), true),
        (of(2, "new"), true),
    ];
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    let name = format!("partition 1 of `{}` stopped at record 1: CF0501", stage.old);
    let said = stage.says(&["status"], 1, &[&name, "contraflow resume"]);
    assert!(!said.contains("hunter2"), "{said}");
    let waits = || {
        let lag = stage.status()["progress"]["lag_events"].as_u64();
        lag.is_some_and(|lag| lag as usize >= of(1, "old").len())
    };
    assert!(reached_in_time(waits), "what waits is not counted");
    stage.says(&["verify"], 0, &["rows compared"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    let words = ["CF0402", "letters", "partitions that have stopped"];
    stage.says(&["cutover"], 1, &words);
    // Whoever starts anew stops there again.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    let mut run = stage.start(&["run"], &[]);
    stage.stops(501);
    holds(&stage.servers, &stage.new, &copied, PARTITIONS);
    stage.says(&["resume"], 0, &[]);
    stage.stops(501);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Parked with all that it has; what follows it waits by key, and the change can go on with the
/// loss that somebody accepts.
#[test]
fn a_poison_record_is_parked_and_its_key_waits() {
    let stage = Stage::new(Kind::Json);
    stage.declare(super::stage::JSON, "letters: park\n");
    let poison = written(1, Some("a"), "hunter2");
    let fine = |id: i64, key: &str, name: &str| written(1, Some(key), &person(id, name));
    let nobody = written(1, None, "[]");
    let deletes = Written {
        value: None,
        ..fine(0, "a", "name")
    };
    let mut all = vec![fine(1, "a", "name"), poison.clone(), fine(2, "b", "name")];
    all.extend([fine(3, "a", "name"), deletes.clone(), nobody.clone()]);
    stage.write(&stage.old, &all);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let carried = ["a", "b"].map(|key| fine(if key == "a" { 1 } else { 2 }, key, "full_name"));
    holds(
        &stage.servers,
        &stage.new,
        &[(carried.to_vec(), true)],
        PARTITIONS,
    );
    let said = stage.says(&["letters", "list"], 1, &["CF0501", "CF0213"]);
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(said.matches("CF0501").count(), 2, "{said}");
    assert_eq!(said.matches("CF0213").count(), 2, "{said}");
    let topic = format!("__contraflow.{}.letters", stage.change);
    let kept = read(&stage.servers, &topic).into_iter().flatten();
    let mut kept: Vec<Written> = kept.map(|seen| seen.record).collect();
    // Deletions are no letters: each claim writes one.
    kept.retain(|written| written.value.is_some());
    let bytes: Vec<_> = kept.iter().map(|written| written.value.clone()).collect();
    let empty = Some(Vec::new());
    assert_eq!(
        bytes,
        [
            poison.value.clone(),
            all[3].value.clone(),
            empty,
            nobody.value.clone()
        ]
    );
    assert!(
        kept.iter()
            .all(|kept| kept.headers == poison.headers && kept.timestamp == 5)
    );
    stage.says(&["verify"], 0, &["2 rows compared, 4 are letters"]);
    // A process that starts anew knows which keys wait.
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    let mut run = stage.start(&["run"], &[]);
    stage.runs();
    stage.write(&stage.old, &[fine(4, "a", "name"), fine(5, "c", "name")]);
    stage.says(&["verify"], 0, &["3 rows compared, 5 are letters"]);
    // What is still poison stays, and what waits behind it too.
    stage.says(&["letters", "replay"], 0, &["5 letters tried again"]);
    stage.says(&["letters", "list"], 1, &["tries 2"]);
    let [turn, again] = turns(&stage, &stage.new, 1);
    assert_eq!((turn.len(), again.len()), (3, 0));
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "letters"]);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover", "--accept-loss"], 0, &["reverse"]);
    stage.write(
        &stage.new,
        &[fine(6, "d", "full_name"), written(2, Some("e"), "hunter2")],
    );
    stage.says(&["verify"], 0, &["are letters"]);
    stage.says(&["letters", "list"], 1, &["reverse"]);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Of records with numbers from 1 on, of which those from 101 to 109 are letters: what flows, and
/// what waits.
fn waiting(all: &[Written]) -> [Vec<Written>; 2] {
    let letters = all[100..109].iter();
    let keys: Vec<_> = letters.filter_map(|one| one.key.clone()).collect();
    let (mut flowed, mut parked) = (Vec::new(), Vec::new());
    for (n, one) in (1..).zip(all) {
        let blocked = one.key.as_ref().is_some_and(|key| keys.contains(key));
        match (101..110).contains(&n) || n >= 110 && blocked {
            true => parked.push(one.clone()),
            false => flowed.push(one.clone()),
        }
    }
    [flowed, parked]
}

/// Once what was missing is there, letters are carried in order and marked; nothing is doubled.
#[test]
fn letters_are_carried_again_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(folder.path());
    let url = registry.url();
    let stage = stage(&registry);
    let more = format!("registry: {{url: \"{url}\"}}\nletters: park\n");
    stage.declare(MAPPED, &more);
    let old = old_form(register(&url, &of(&stage.old), &first()));
    let id = register(&url, &of(&stage.new), &second());
    // Nobody has registered the next number yet.
    let unknown = evolved_form(id + 1);
    stage.write(&stage.old, &old.records(&stage, 1..101));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.write(&stage.old, &unknown.records(&stage, 101..110));
    stage.write(&stage.old, &old.records(&stage, 110..200));
    let copied = new_form(id, "?").records(&stage, 1..250);
    let [flowed, parked] = waiting(&copied[..199]);
    assert!(parked.len() > 14, "nothing waits behind a letter");
    let count = parked.len() as u64;
    let stand = || stage.status()["letters"].as_u64() == Some(count);
    assert!(reached_in_time(stand), "{:#}", stage.status());
    let words = format!("{} rows compared, {count} are letters", flowed.len());
    stage.says(&["verify"], 0, &[&words]);
    holds(
        &stage.servers,
        &stage.new,
        &[(flowed.clone(), true)],
        PARTITIONS,
    );

    assert_eq!(register(&url, &of(&stage.old), &evolved()), id + 1);
    let words = format!("{count} letters tried again, 0 stand");
    stage.says(&["letters", "replay"], 0, &[&words]);
    stage.says(&["letters", "list"], 0, &["no letters"]);
    let there = [flowed, parked].map(|all| by_partition(PARTITIONS, &all));
    let [flowed, parked] = &there;
    for (partition, wanted) in flowed.iter().zip(parked).enumerate() {
        let [there, again] = turns(&stage, &stage.new, partition);
        assert_eq!((&there, &again), wanted, "partition {partition}");
    }
    stage.says(&["verify"], 0, &["199 rows compared"]);
    stage.write(&stage.old, &old.records(&stage, 200..250));
    stage.says(&["verify"], 0, &["249 rows compared"]);

    // A consumer moves to where its turn is, whatever stands out of it.
    let group = format!("mid-{}", stage.change);
    let mut seen = reads(&stage, &group, &stage.old, 150);
    let moved = ["consumers", "move", &group, "--reset", "earliest"];
    stage.says(&moved, 0, &[&stage.new]);
    seen.extend(reads(&stage, &group, &stage.new, usize::MAX));
    for one in &copied {
        let times = seen
            .iter()
            .filter(|(_, time)| *time == one.timestamp)
            .count();
        match there[1].iter().flatten().any(|again| again == one) {
            true => assert!((1..=2).contains(&times), "{times} times"),
            false => assert_eq!(times, 1),
        }
    }
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.verified();
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
