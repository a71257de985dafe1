//! A change among clients that nobody here wrote: producers with and without idempotence, three
//! groups of consumers, and an auditor.

use super::java;
use super::stage::{Kind, PARTITIONS, Stage};
use super::verifiable::{Told, Writes, audited, reads, told};
use crate::live::process::{Process, until};

/// By partition, in the order of offsets: what producers were told is written.
fn written(producers: &[Process]) -> Vec<Vec<Told>> {
    let mut all = vec![Vec::new(); PARTITIONS];
    for told in producers.iter().flat_map(told) {
        all[told.partition].push(told);
    }
    for partition in &mut all {
        partition.sort_by_key(|told: &Told| told.offset);
    }
    all
}

/// By partition, in the order of reading: the values that a group has read.
fn read(parts: &[&Process]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); PARTITIONS];
    for told in parts.iter().flat_map(|part| told(part)) {
        all[told.partition].push(told.value);
    }
    all
}

fn ended(mut process: Process) -> Process {
    process.terminate();
    process
}

fn writes(
    stage: &Stage,
    number: u32,
    (topic, records, per_s): (&str, &str, &str),
    is_idempotent: bool,
) -> Process {
    let writes = Writes {
        number,
        topic,
        records,
        per_s,
        is_idempotent,
    };
    writes.start(stage)
}

/// Has a group go on in the new topic. Where it has not come to a partition, it begins with it.
fn moves(stage: &Stage, group: &str) {
    let args = ["consumers", "move", group, "--reset", "earliest"];
    stage.says(&args, 0, &[&stage.new]);
}

/// The change runs, four producers have come and gone, and a group has moved while they wrote.
fn followed(stage: &Stage, group: &str) -> (Process, Vec<Process>, [Process; 2]) {
    let (old, new) = (stage.old.as_str(), stage.new.as_str());
    let writes = |number, records, per_s, is_idempotent| {
        writes(stage, number, (old, records, per_s), is_idempotent)
    };
    let mut history = writes(1, "2000", "-1", true);
    history.wait();
    // While it is copied and followed: one fast, one slow, then the other way round.
    let mut before = vec![history, writes(2, "-1", "300", true)];
    before.push(writes(3, "-1", "30", false));
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let mut read_old = reads(stage, group, old, "1500");
    read_old.wait();
    before[1].terminate();
    before.push(writes(4, "-1", "20", true));
    before.push(writes(5, "400", "400", false));
    before[4].wait();
    // The group moves while both producers go on.
    moves(stage, group);
    let read_new = reads(stage, group, new, "-1");
    let before = before.into_iter().map(ended).collect();
    (run, before, [read_old, read_new])
}

#[test]
fn clients_that_nobody_here_wrote_lose_nothing_on_the_way() {
    let stage = Stage::new(Kind::Raw);
    let writes = |number, topic, records, per_s, is_idempotent| {
        writes(&stage, number, (topic, records, per_s), is_idempotent)
    };
    let (old, new) = (stage.old.as_str(), stage.new.as_str());
    let groups = ["early", "late", "last"].map(|name| format!("{name}-{}", stage.change));
    let [early, late, last] = &groups;
    let (mut run, mut before, [early_old, early_new]) = followed(&stage, early);
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    let may_switch = ["wait", "--for", "gate=producer-may-switch"];
    stage.says(&may_switch, 0, &["reached"]);
    let mut after = vec![
        writes(6, new, "-1", "250", true),
        writes(7, new, "-1", "25", false),
    ];
    // The second group stops in what came back from the new topic, the third has read it whole.
    let old_count: usize = written(&before).iter().map(Vec::len).sum();
    let into = (old_count + 100).to_string();
    let mut late_old = reads(&stage, late, old, &into);
    late_old.wait();
    moves(&stage, late);
    let late_new = reads(&stage, late, new, "-1");
    after.push(writes(8, new, "300", "600", true));
    after[2].wait();
    let after: Vec<Process> = after.into_iter().map(ended).collect();
    stage.verified();
    let whole = old_count + written(&after).iter().map(Vec::len).sum::<usize>();
    let mut last_old = reads(&stage, last, old, &whole.to_string());
    last_old.wait();
    moves(&stage, last);
    let last_new = reads(&stage, last, new, "-1");
    until("the last group looks at the new topic", || {
        last_new.out().contains("partitions_assigned")
    });
    for parts in [[&early_old, &early_new], [&late_old, &late_new]] {
        until("a group has read everything", || {
            read(&parts).iter().map(Vec::len).sum::<usize>() >= whole
        });
    }
    let topics = [(old, "auditor1"), (new, "auditor2")];
    let [on_old, on_new] = topics.map(|(topic, name)| audited(&stage, topic, name));
    let [early_new, late_new, last_new] = [early_new, late_new, last_new].map(ended);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
    // What each producer was told is where it was told, and then what the other topic got.
    before.retain(|producer| !told(producer).is_empty());
    assert_eq!(
        (before.len(), after.len()),
        (5, 3),
        "a producer wrote nothing"
    );
    let (first, second) = (written(&before), written(&after));
    hold_what_was_told([&on_old, &on_new], [&first, &second]);
    let groups = [
        ("early", [&early_old, &early_new]),
        ("late", [&late_old, &late_new]),
        ("last", [&last_old, &last_new]),
    ];
    for (group, parts) in groups {
        assert!(
            read(&parts) == values(&on_new),
            "{group} did not read everything once, in order"
        );
    }
}

/// Records without keys, in transactions, by Kafka's own tool for load, and its tool that reads them.
#[test]
fn what_the_tool_for_load_writes_is_carried_meanwhile() {
    let stage = Stage::new(Kind::Raw);
    java::load(&stage, &stage.old, "10000");
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    java::load(&stage, &stage.old, "20000");
    stage.says(&["verify"], 0, &["30000 rows compared"]);
    assert_eq!(java::measured(&stage, &stage.new, "30000"), "30000");
    run.terminate();
}

/// Offsets and records by partition.
type Topic = Vec<Vec<(i64, [String; 3])>>;

fn values(topic: &Topic) -> Vec<Vec<String>> {
    let of = |records: &Vec<(i64, [String; 3])>| {
        let values = records.iter().map(|(_, [_, _, value])| value.clone());
        values.collect()
    };
    topic.iter().map(of).collect()
}

/// Both topics hold the same, each what its producers were told in the place that they were told.
fn hold_what_was_told(topics: [&Topic; 2], told: [&Vec<Vec<Told>>; 2]) {
    for partition in 0..PARTITIONS {
        let [on_old, on_new] = topics.map(|topic| -> Vec<[String; 3]> {
            let records = topic[partition].iter();
            records.map(|(_, record)| record.clone()).collect()
        });
        assert_eq!(on_old, on_new, "partition {partition}");
        for (topic, told) in topics.into_iter().zip(told) {
            let mut found = topic[partition].iter();
            for told in &told[partition] {
                let here = found.find(|(offset, _)| *offset == told.offset);
                let [_, key, value] = &here.expect("what was written is there").1;
                let wanted = (told.key.as_deref().unwrap_or("null"), told.value.as_str());
                assert_eq!((key.as_str(), value.as_str()), wanted);
            }
        }
        let own = told[0][partition].len() + told[1][partition].len();
        assert_eq!(on_new.len(), own, "partition {partition}");
    }
}
