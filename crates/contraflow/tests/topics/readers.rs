//! The old topic does not go while somebody reads it: consumers of every kind, Kafka's own among
//! them.

use std::time::Duration;

use contraflow::surroundings::SystemClock;
use contraflow_core::clock::Clock;
use contraflow_testkit::kafka::Kafka;
use serde_json::Value as Json;

use super::consumers::reads;
use super::java;
use super::stage::{Kind, Stage};
use crate::live::process::{Process, reached_in_time, until};

fn with_topics(stage: Stage) -> Stage {
    for topic in [&stage.old, &stage.new] {
        super::broker::make(&stage.servers, topic, 3, &[]);
    }
    stage
}

/// A change that has flipped, with everything carried both ways.
fn flipped(stage: &Stage) -> Process {
    stage.write(&stage.old, &stage.records(1..300, "old"));
    let run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    stage.write(&stage.new, &stage.records(300..400, "new"));
    stage.verified();
    run
}

/// What `consumers list` says of a group.
fn listed(stage: &Stage, group: &str) -> Option<Json> {
    let mut process = stage.start(&["consumers", "list", "--json"], &[]);
    assert_eq!(process.wait(), Some(0), "{}", process.err());
    let document: Json = serde_json::from_str(&process.out()).expect("a document");
    let groups = document["groups"].as_array().expect("groups").iter();
    groups
        .clone()
        .find(|found| found["group"] == group)
        .cloned()
}

/// Contract is refused because of this group.
fn refused(stage: &Stage, group: &str, why: &str) {
    let who = format!("group {group} ({why}");
    stage.says(&["contract", "--yes"], 1, &["CF0402", "users", &who]);
}

/// Ends a consumer as its operator does, and waits until its group is empty.
fn stopped(stage: &Stage, mut consumer: Process, group: &str) {
    consumer.terminate();
    until("the group is empty", || {
        listed(stage, group).is_none_or(|found| found["members"] == 0)
    });
}

#[test]
fn the_old_topic_stays_while_any_kind_of_group_reads_it() {
    let stage = Stage::new(Kind::Raw);
    let mut run = flipped(&stage);
    // Its name begins as ours do.
    for (protocol, group) in [("classic", "contraflow-mirror"), ("consumer", "modern")] {
        let group = format!("{group}-{}", stage.change);
        let consumer = java::consumer(&stage, &stage.old, &group, protocol);
        refused(&stage, &group, "1 member now");
        let found = listed(&stage, &group).expect("it is listed");
        assert_eq!(
            (&found["type"], &found["members"]),
            (&protocol.into(), &1.into())
        );
        assert_eq!(found["topics"][0], *stage.old, "{found}");
        stopped(&stage, consumer, &group);
        stage.says(
            &["consumers", "move", &group, "--reset", "earliest"],
            0,
            &[],
        );
    }
    // Our own are no readers.
    let own = format!("contraflow-{}-forward", stage.change);
    assert_eq!(listed(&stage, &own), None);
    // It has stopped in the middle: whoever takes the topic takes what it has not read.
    let behind = format!("behind-{}", stage.change);
    reads(&stage, &behind, &stage.old, 120);
    refused(&stage, &behind, "stopped with ");
    stage.says(&["consumers", "mark", &behind], 0, &["has moved"]);
    let found = listed(&stage, &behind).expect("it is listed");
    assert_eq!(found["moved"], true, "{found}");
    // It is seen again.
    reads(&stage, &behind, &stage.old, 10);
    refused(&stage, &behind, "stopped with ");
    let reset = ["--reset", "earliest"];
    stage.says(
        &[&["consumers", "move", &behind][..], &reset].concat(),
        0,
        &[&stage.new],
    );
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}

/// A member that does not answer keeps its group from sharing out its partitions: nobody can see
/// then what it reads.
#[test]
fn the_old_topic_stays_while_its_group_rebalances() {
    // On a broker of its own: it stands in the way of every topic there.
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Kafka::start(folder.path());
    let stage = with_topics(Stage::at(&broker.servers(), Kind::Raw));
    let mut run = flipped(&stage);
    let group = format!("busy-{}", stage.change);
    let silent = java::consumer(&stage, &stage.old, &group, "classic");
    silent.signal("-STOP");
    let other = java::joining(&stage, &stage.old, &group);
    until("the group rebalances", || {
        listed(&stage, &group).is_some_and(|found| found["state"] == "PreparingRebalance")
    });
    stage.says(
        &["contract", "--yes"],
        1,
        &["CF0402", &format!("group {group} (")],
    );
    drop((silent, other));
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Groups without members that commit, and the time that was agreed; a run that ends in between
/// does not forget what it saw.
#[test]
fn the_old_topic_stays_until_nobody_has_read_for_the_agreed_time() {
    let stage = Stage::new(Kind::Raw);
    stage.edit("readers_gone: 0s", "readers_gone: 4s");
    let mut run = flipped(&stage);
    let group = format!("assigned-{}", stage.change);
    let clock = SystemClock::default();
    reads(&stage, &group, &stage.old, usize::MAX);
    let committed = clock.elapsed();
    refused(&stage, &group, "gone for ");
    let status = stage.status();
    let said = status["readers"]["in_the_way"].to_string();
    assert!(said.contains(&group), "{status:#}");
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    let mut run = stage.start(&["run"], &[]);
    until("it runs again", || {
        stage.status()["running"]["pid"] == run.id()
    });
    let granted = reached_in_time(|| {
        let mut contract = stage.start(&["contract", "--yes"], &[]);
        contract.wait() == Some(0)
    });
    assert!(granted, "{:#}", stage.status());
    assert!(clock.elapsed() - committed >= Duration::from_secs(4));
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}

#[test]
fn declared_consumers_have_an_owner_and_a_deadline() {
    let stage = Stage::new(Kind::Raw);
    stage.declare(
        "    payload: raw\n",
        "consumers: [{group: flink, owner: team-f, deadline: 2020-01-31}, \
         {group: later, deadline: 2999-01-01}]\n",
    );
    let mut run = flipped(&stage);
    let said = stage.says(
        &["consumers", "list"],
        0,
        &["flink", "not known to the brokers"],
    );
    assert!(
        said.contains("owner team-f, to have moved by 2020-01-31"),
        "{said}"
    );
    let said = stage.says(
        &["status"],
        0,
        &["group flink has to move by 2020-01-31: OVER since"],
    );
    assert!(
        said.contains("owner team-f") && !said.contains("group later has"),
        "{said}"
    );
    refused(&stage, "flink", "declared and never seen");
    for group in ["flink", "later"] {
        stage.says(&["consumers", "mark", group], 0, &[]);
    }
    let said = stage.says(&["status"], 0, &[]);
    assert!(!said.contains("OVER"), "{said}");
    stage.says(&["consumers", "mark", "nobody"], 1, &["CF0421"]);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}

/// Members of a share group take single records, by a protocol that the client does not speak.
#[test]
fn the_old_topic_stays_while_a_share_group_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        "share.coordinator.state.topic.num.partitions=2",
    ];
    let broker = Kafka::with(folder.path(), &settings);
    let stage = Stage::at(&broker.servers(), Kind::Raw);
    java::enable(&stage, "share.version=1");
    let stage = with_topics(stage);
    let mut run = flipped(&stage);
    let share = java::share_consumer(&stage, &stage.old, "shared");
    until("the share group has the topic", || {
        listed(&stage, "shared").is_some_and(|found| found["type"] == "share")
    });
    refused(&stage, "shared", "whether it has members is not shown");
    drop(share);
    stage.says(
        &["consumers", "move", "shared"],
        1,
        &["CF0423", "share group"],
    );
    stage.says(&["consumers", "mark", "shared"], 0, &[]);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}
