//! Kafka's own tools, as processes: consumers that nobody here wrote.

use std::path::Path;
use std::process::Command;

use super::stage::Stage;
use crate::live::process::{Process, until};

const CONSOLE: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const SHARE: &str = "org.apache.kafka.tools.consumer.ConsoleShareConsumer";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";

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

/// Starts a tool with the stage's broker.
pub(super) fn run(stage: &Stage, main: &str, args: &[&str]) -> Process {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let jars = Command::new(scripts.join("setup")).arg("--kafka").output();
    let jars = String::from_utf8(jars.expect("the script runs").stdout).expect("a path");
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/*", jars.trim()))
        .arg(main)
        .args(["--bootstrap-server", &stage.servers])
        .args(args);
    Process::start(&mut java, &stage.dir.path().join(stage.log_name("java")))
}
