//! Kafka's own tools, as processes: consumers that nobody here wrote.

use std::path::Path;
use std::process::Command;

use super::stage::Stage;
use crate::live::process::{Process, until};

const CONSOLE: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const SHARE: &str = "org.apache.kafka.tools.consumer.ConsoleShareConsumer";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const TOOLS: [(&str, &str); 3] = [
    ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
];

/// A console consumer of a group that reads all of a topic and goes on, by this protocol of groups.
pub(super) fn consumer(stage: &Stage, topic: &str, group: &str, protocol: &str) -> Process {
    let protocol = format!("group.protocol={protocol}");
    let rest = ["--from-beginning", "--consumer-property", &protocol];
    let args = [&["--topic", topic, "--group", group][..], &rest].concat();
    let consumer = run(stage, CONSOLE, &args);
    until("the consumer reads", || !consumer.out().is_empty());
    consumer
}

/// Another member of a group, which may have to wait for the others.
pub(super) fn joining(stage: &Stage, topic: &str, group: &str) -> Process {
    run(stage, CONSOLE, &["--topic", topic, "--group", group])
}

/// A console consumer of a share group.
pub(super) fn share_consumer(stage: &Stage, topic: &str, group: &str) -> Process {
    run(stage, SHARE, &["--topic", topic, "--group", group])
}

/// Turns a feature of a broker on.
pub(super) fn enable(stage: &Stage, feature: &str) {
    let mut tool = run(stage, FEATURES, &["upgrade", "--feature", feature]);
    assert_eq!(tool.wait(), Some(0), "{}{}", tool.out(), tool.err());
}

/// Runs a command of Kafka's as somebody would type it.
pub(super) fn tool(stage: &Stage, command: &str) {
    let words: Vec<&str> = command
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    let (name, args) = words.split_first().expect("a name");
    let tools = TOOLS.iter().find(|(tool, _)| tool == name);
    let (_, main) = tools.expect("a tool of Kafka's");
    let mut tool = run(stage, main, args);
    assert_eq!(
        tool.wait(),
        Some(0),
        "{command}: {}{}",
        tool.out(),
        tool.err()
    );
}

/// Has a console producer write records with these keys where it puts them.
pub(super) fn produce(stage: &Stage, topic: &str, keys: impl Iterator<Item = String>) {
    let lines: String = keys.map(|key| format!("{key}|x\n")).collect();
    let file = stage.dir.path().join("lines");
    std::fs::write(&file, lines).expect("a file");
    let mut java = java(stage, PRODUCER);
    java.args(["--topic", topic, "--property", "parse.key=true"])
        .args(["--property", "key.separator=|"])
        .stdin(std::fs::File::open(&file).expect("a file"));
    let out = java.output().expect("java runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Starts a tool with the stage's broker.
pub(super) fn run(stage: &Stage, main: &str, args: &[&str]) -> Process {
    let mut java = java(stage, main);
    java.args(args);
    Process::start(&mut java, &stage.dir.path().join(stage.log_name("java")))
}

/// Has the tool for load write so many records without keys, of 120 bytes each, in transactions.
pub(super) fn load(stage: &Stage, topic: &str, records: &str) {
    let servers = format!("bootstrap.servers={}", stage.servers);
    let mut java = plain("org.apache.kafka.tools.ProducerPerformance");
    java.args(["--topic", topic, "--num-records", records])
        .args(["--record-size", "120", "--throughput", "5000"])
        .args(["--transaction-duration-ms", "100"])
        .args(["--producer-props", &servers]);
    let log = stage.dir.path().join(stage.log_name("load"));
    let mut tool = Process::start(&mut java, &log);
    assert_eq!(tool.wait(), Some(0), "{}{}", tool.out(), tool.err());
}

/// How many records the tool that measures consumers has read.
pub(super) fn measured(stage: &Stage, topic: &str, records: &str) -> String {
    let mut tool = run(
        stage,
        "org.apache.kafka.tools.ConsumerPerformance",
        &["--topic", topic, "--messages", records],
    );
    assert_eq!(tool.wait(), Some(0), "{}{}", tool.out(), tool.err());
    let out = tool.out();
    let figures = out.lines().last().and_then(|line| line.split(", ").nth(4));
    figures
        .unwrap_or_else(|| panic!("no figures: {out}"))
        .to_owned()
}

fn java(stage: &Stage, main: &str) -> Command {
    let mut java = plain(main);
    java.args(["--bootstrap-server", &stage.servers]);
    java
}

fn plain(main: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let jars = Command::new(scripts.join("setup")).arg("--kafka").output();
    let jars = String::from_utf8(jars.expect("the script runs").stdout).expect("a path");
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/*", jars.trim()))
        .arg(main);
    java
}
