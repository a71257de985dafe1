//! What a change meets before it begins and what mends it: every command that a hint names is run
//! as it stands, by Kafka's own tools.

use contraflow_testkit::kafka::Kafka;
use contraflow_testkit::wire::{METADATA, Wire};

use super::access::Guarded;
use super::broker;
use super::java;
use super::stage::{Kind, Stage};
use super::story::whole_life;

/// Rounds of asking and doing: what is hidden by a right that is missing comes in the next one.
const ROUNDS: usize = 4;

/// Does what a check says until it says nothing.
fn mended(stage: &Stage) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..ROUNDS {
        let mut check = stage.start(&["check"], &[]);
        if check.wait() == Some(0) {
            return done;
        }
        let said = format!("{}{}", check.out(), check.err());
        let hints = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix("hint: `"));
        let mut commands: Vec<String> = hints
            .filter_map(|hint| Some(hint.split_once('`')?.0.to_owned()))
            .filter(|command| command.starts_with("kafka-"))
            .collect();
        commands.dedup();
        assert!(!commands.is_empty(), "{said}");
        for command in &commands {
            java::tool(stage, command);
        }
        done.append(&mut commands);
    }
    panic!("still not in order after {done:#?}");
}

#[test]
fn a_topic_that_is_missing_is_made_as_told() {
    let stage = Stage::bare(Kind::Raw);
    broker::make(
        &stage.servers,
        &stage.old,
        5,
        &[("max.message.bytes", "3000")],
    );
    stage.write(&stage.old, &stage.records(1..10, "old"));
    let create = format!(
        "kafka-topics.sh --create --topic {} --partitions 5",
        stage.new
    );
    stage.says(&["check"], 2, &["CF0102", &create]);
    assert_eq!(mended(&stage).len(), 1);
}

/// Records that are years old, onto topics that keep a week of them or refuse such timestamps.
#[test]
fn a_topic_that_has_no_place_for_old_records_is_altered_as_told() {
    let stage = Stage::bare(Kind::Raw);
    let day = ("retention.ms", "86400000");
    broker::make(&stage.servers, &stage.old, 3, &[]);
    stage.write(&stage.old, &stage.records(1..10, "old"));
    let refuses = ("message.timestamp.before.max.ms", "86400000");
    let appends = ("message.timestamp.type", "LogAppendTime");
    broker::make(&stage.servers, &stage.new, 3, &[day, refuses, appends]);
    let words = ["CF0113", "deletes it", "refuses its timestamp", "CF0110"];
    stage.says(&["doctor"], 2, &words);
    assert_eq!(mended(&stage).len(), 3);
}

/// A new topic that would drop or refuse what the old one keeps, each by another setting.
#[test]
fn a_topic_with_less_room_is_altered_as_told() {
    let stage = Stage::bare(Kind::Raw);
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let policies = ("cleanup.policy", "compact,delete");
    broker::make(&stage.servers, &stage.old, 3, &[any_time, policies]);
    let less = [
        ("message.timestamp.after.max.ms", "1000"),
        ("retention.bytes", "1000"),
        ("max.message.bytes", "1000"),
    ];
    broker::make(&stage.servers, &stage.new, 3, &less);
    let words = [
        "refuses timestamps that lie ahead",
        "keeps fewer bytes",
        "records of 1000 bytes",
        "is delete, of",
    ];
    stage.says(&["check"], 2, &words);
    assert_eq!(mended(&stage).len(), 4);
}

/// Behind it is a broker of today that owns up to what one before 2.8 knows: no ids of topics.
#[test]
fn a_kafka_that_is_too_old_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let wire = Wire::listen();
    wire.knows(METADATA, 9);
    let told = format!("advertised.listeners=PLAINTEXT://{}", wire.servers());
    let kafka = Kafka::with(folder.path(), &[&told]);
    wire.leads_to(kafka.port());
    let stage = Stage::at(&wire.servers(), Kind::Raw);
    stage.make_topics();
    stage.says(
        &["check"],
        2,
        &["CF0110", "too old", "Use Kafka 2.8 or newer"],
    );
    stage.says(&["run"], 2, &["CF0110"]);
    assert!(
        !super::audit::topics(&stage.servers).contains(&format!("__contraflow.{}", stage.change))
    );
}

/// A user who may do nothing is told what to ask for, and may do the whole change with that.
#[test]
fn a_change_runs_with_the_rights_it_asks_for() {
    let stage = Guarded::shared().user("stranger");
    stage.make_topics();
    stage.says(&["check"], 2, &["CF0115", &stage.old, &stage.new]);
    stage.says(&["run"], 2, &["CF0115"]);
    let granted = mended(&stage);
    assert!(granted.len() <= 10, "{granted:#?}");
    whole_life(&stage);
}

/// One broker cannot keep three copies of what it knows of transactions.
#[test]
fn transactions_that_cannot_be_begun_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        "transaction.state.log.replication.factor=3",
        "transaction.max.timeout.ms=10000",
    ];
    let kafka = Kafka::with(folder.path(), &settings[..1]);
    let stage = Stage::at(&kafka.servers(), Kind::Raw);
    stage.make_topics();
    stage.says(
        &["check"],
        2,
        &["CF0110", "`transaction.state.log.replication.factor`"],
    );
    drop(kafka);
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::with(folder.path(), &settings[1..]);
    let stage = Stage::at(&kafka.servers(), Kind::Raw);
    stage.make_topics();
    stage.says(&["check"], 2, &["CF0110", "`transaction.max.timeout.ms`"]);
}
