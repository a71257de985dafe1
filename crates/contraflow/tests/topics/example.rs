//! What a person reads and types: the commands of `example/topic`, with Kafka's own tools, and the
//! demo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use super::broker;
use super::registry;
use crate::live::process::{Process, reached_in_time};

/// Kafka's tools by the names of its package, and their classes.
const TOOLS: [(&str, &str); 3] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    (
        "kafka-console-producer.sh",
        "org.apache.kafka.tools.ConsoleProducer",
    ),
    (
        "kafka-console-consumer.sh",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
    ),
];
/// What the files and commands say of the servers.
const KAFKA: &str = "localhost:9092";
const REGISTRY: &str = "http://localhost:8081/apis/ccompat/v7";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of the example, with the servers of these tests.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let files = fs::read_dir(root().join("example/topic").join(name)).expect("the example");
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).expect("a text");
        let text = text.replace(KAFKA, &broker::shared().servers());
        let text = text.replace(REGISTRY, &registry::shared().url());
        fs::write(folder.path().join(file.file_name()), text).expect("a file");
    }
    folder
}

/// The program and Kafka's tools, by the names that a person types.
fn programs(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).expect("a folder");
    let mut setup = Command::new(root().join("scripts/setup"));
    let jars = setup.arg("--kafka").output().expect("the script runs");
    let jars = jars.stdout;
    let jars = String::from_utf8(jars).expect("a path");
    let write = |name: &str, command: String| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\nexec {command} \"$@\"\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it runs");
    };
    for (name, class) in TOOLS {
        let java = "java -Xmx256m -XX:TieredStopAtLevel=1";
        write(name, format!("{java} -cp '{}/*' {class}", jars.trim()));
    }
    write("contraflow", env!("CARGO_BIN_EXE_contraflow").to_owned());
    let path = std::env::var("PATH").expect("it is set");
    format!("{}:{path}", bin.display())
}

/// Waits for the end of what takes several times as long as any single thing.
fn ended(process: &mut Process) -> Option<i32> {
    let has_ended = (0..4).any(|_| reached_in_time(|| !process.runs()));
    assert!(has_ended, "{}{}", process.out(), process.err());
    process.wait()
}

/// The commands of a page, block by block.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split_once("```").expect("it ends").0)
        .collect()
}

#[test]
fn the_commands_of_the_example_do_what_it_says() {
    let folder = folder("json");
    let page = fs::read_to_string(root().join("example/topic/README.md")).expect("the page");
    let script = commands(&page).replace(KAFKA, &broker::shared().servers());
    let mut shell = Command::new("bash");
    shell
        .args(["-euxo", "pipefail", "-c", &format!("{script}wait\n")])
        .current_dir(folder.path())
        .env("PATH", programs(folder.path()));
    let mut shell = Process::start(&mut shell, &folder.path().join("shell"));
    let ended = ended(&mut shell);
    let (out, err) = (shell.out(), shell.err());
    assert_eq!(ended, Some(0), "{out}\n{err}");
    let lines: Vec<&str> = out.lines().collect();
    // C1 reads two of three in the old shape, anybody reads all three in the new one, and C1 goes
    // on there with the third one and what P2 has written.
    let old = lines
        .iter()
        .filter(|line| line.contains("\"owner\""))
        .count();
    let new = lines
        .iter()
        .filter(|line| line.contains("\"person\""))
        .count();
    assert_eq!((old, new), (2, 5), "{out}");
    assert!(out.contains("\"name\":\"Luigi\""), "{out}");
    // The last command lists what is there.
    let there = |topic: &str| lines.contains(&topic);
    assert!(there("phonebook-v2") && !there("phonebook-v1"), "{out}");
}

#[test]
fn the_files_of_the_example_in_avro_are_accepted() {
    let folder = folder("avro");
    let servers = broker::shared().servers();
    for topic in ["phonebook-avro-v1", "phonebook-avro-v2"] {
        broker::make(&servers, topic, 3, &[]);
    }
    let schema = fs::read_to_string(folder.path().join("phonebook-v1.avsc")).expect("the schema");
    let subject = "phonebook-avro-v1-value";
    registry::register_text(&registry::shared().url(), subject, &schema);
    let mut check = Command::new(env!("CARGO_BIN_EXE_contraflow"));
    check.arg("check").current_dir(folder.path());
    let mut check = Process::start(&mut check, &folder.path().join("check"));
    assert_eq!(check.wait(), Some(0), "{}{}", check.out(), check.err());
    for topic in ["phonebook-avro-v1", "phonebook-avro-v2"] {
        broker::delete(&servers, topic);
    }
}

#[test]
fn the_demo_of_topics_shows_no_divergence() {
    let own = tempfile::tempdir().expect("a folder");
    let broker = contraflow_testkit::kafka::Kafka::start(own.path());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_contraflow"));
    demo.args(["demo", "--topics", "--json", "--rows", "20000"])
        .args(["--kafka", &broker.servers()])
        .args(["--registry", &registry::shared().url()]);
    let mut demo = Process::start(&mut demo, &own.path().join("demo"));
    assert_eq!(ended(&mut demo), Some(0), "{}{}", demo.out(), demo.err());
    let proof: Json = serde_json::from_str(&demo.out()).expect("JSON");
    for (what, count) in [
        ("divergence", 0),
        ("changes", 2),
        ("moved", 4),
        ("audits", 6),
    ] {
        assert_eq!(proof[what], count, "{proof:#}");
    }
    assert!(proof["records"].as_u64() > Some(40_000), "{proof:#}");
}
