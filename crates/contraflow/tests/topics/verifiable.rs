//! Kafka's verifiable producers and consumers, and its console reader as an auditor.

use serde_json::Value as Json;

use super::java;
use super::stage::{PARTITIONS, Stage};
use crate::live::process::Process;

/// Starts a tool; `settings` are those of its client.
fn start(stage: &Stage, name: &str, class: &str, args: &[&str], settings: &str) -> Process {
    let file = stage.dir.path().join(format!("{name}.properties"));
    std::fs::write(&file, settings).expect("a file");
    let option = match class.contains("Producer") {
        true => "--producer.config",
        false => "--consumer.config",
    };
    let file = file.to_str().expect("a plain path");
    let main = format!("org.apache.kafka.tools.{class}");
    java::run(stage, &main, &[args, &[option, file]].concat())
}

/// A verifiable producer: its values begin with its number, its keys repeat when it is asked to.
pub(super) struct Writes<'w> {
    pub(super) number: u32,
    pub(super) topic: &'w str,
    pub(super) records: &'w str,
    pub(super) per_s: &'w str,
    pub(super) is_idempotent: bool,
}

impl Writes<'_> {
    pub(super) fn start(&self, stage: &Stage) -> Process {
        let number = self.number.to_string();
        let mut args = vec!["--topic", self.topic, "--value-prefix", &number];
        args.extend(["--max-messages", self.records, "--throughput", self.per_s]);
        let settings = match self.is_idempotent {
            true => {
                args.extend(["--repeating-keys", "17"]);
                "enable.idempotence=true\nretries=2147483647\n"
            }
            // Its clock is wrong by years.
            false => {
                args.extend(["--message-create-time", "1500000000000", "--acks", "1"]);
                "enable.idempotence=false\n"
            }
        };
        let name = format!("producer{number}");
        start(stage, &name, "VerifiableProducer", &args, settings)
    }
}

/// A member of a group that reads so many records, or until it is ended; it commits what it has
/// read.
pub(super) fn reads(stage: &Stage, group: &str, topic: &str, records: &str) -> Process {
    let args = [
        "--topic",
        topic,
        "--group-id",
        group,
        "--max-messages",
        records,
        "--verbose",
    ];
    let name = format!("{group}-of-{topic}");
    let settings = "isolation.level=read_committed\n";
    start(stage, &name, "VerifiableConsumer", &args, settings)
}

/// A record as a tool tells of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) partition: usize,
    pub(super) offset: i64,
    pub(super) key: Option<String>,
    pub(super) value: String,
}

/// What a producer knows to be written, or a consumer has read, in the order of the telling.
pub(super) fn told(process: &Process) -> Vec<Told> {
    let out = process.out();
    // The last line may be half written.
    let all = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let names = ["producer_send_success", "record_data"];
    let all = all.filter(|event| names.iter().any(|name| event["name"] == **name));
    let one = |event: Json| Told {
        partition: event["partition"].as_u64().expect("a number") as usize,
        offset: event["offset"].as_i64().expect("a number"),
        key: event["key"].as_str().map(str::to_owned),
        value: event["value"].as_str().expect("a value").to_owned(),
    };
    all.map(one).collect()
}

/// What the console consumer prints of a topic, by partition: offset, time, key and value.
pub(super) fn audited(stage: &Stage, topic: &str, name: &str) -> Vec<Vec<(i64, [String; 3])>> {
    let mut args = vec!["--topic", topic, "--from-beginning", "--timeout-ms", "4000"];
    args.extend(["--isolation-level", "read_committed"]);
    for property in ["timestamp", "partition", "offset", "key", "value"] {
        let property = match property {
            "timestamp" => "print.timestamp=true",
            "partition" => "print.partition=true",
            "offset" => "print.offset=true",
            "key" => "print.key=true",
            _ => "print.value=true",
        };
        args.extend(["--property", property]);
    }
    let mut process = start(stage, name, "consumer.ConsoleConsumer", &args, "");
    process.wait();
    let mut found = vec![Vec::new(); PARTITIONS];
    let out = process.out();
    // It says when nothing more came, too.
    for line in out.lines().filter(|line| line.starts_with("CreateTime:")) {
        let mut parts = line.split('\t');
        let mut part = || {
            parts
                .next()
                .unwrap_or_else(|| panic!("half a line: {line}"))
        };
        let number = |text: &str| -> i64 {
            let number = text
                .split(':')
                .next_back()
                .and_then(|text| text.parse().ok());
            number.unwrap_or_else(|| panic!("no number: {text}"))
        };
        let (time, partition, offset) = (part().to_owned(), number(part()), number(part()));
        let record = [time, part().to_owned(), part().to_owned()];
        found[usize::try_from(partition).expect("from 0")].push((offset, record));
    }
    found
}
