//! A change between two topics, and what the program says of it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::broker::{self, Written};
use crate::live::process::{Process, reached_in_time};

pub(super) const PARTITIONS: usize = 3;
pub(super) const JSON: &str = "    payload:
      json:
        old: {id: int64, name: text, age: text}
        new: {id: int64, full_name: text, age: text}
    mapping:
      - rename: {from: name, to: full_name}
";
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// What the payloads are, and how one maps to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Raw,
    Json,
    /// With whatever schemas a test registers, and a file for the new one.
    Avro,
}

pub(super) struct Stage {
    pub(super) dir: TempDir,
    /// Where the clients of the tests come, which may do everything.
    pub(super) servers: String,
    /// What an end of the change says of its cluster.
    pub(super) reach: String,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) change: String,
    pub(super) kind: Kind,
    logs: AtomicU32,
}

impl Stage {
    /// Two topics that are there, and a change that was not started.
    pub(super) fn new(kind: Kind) -> Stage {
        let stage = Stage::bare(kind);
        stage.make_topics();
        stage
    }

    /// Makes both topics.
    pub(super) fn make_topics(&self) {
        let partitions = i32::try_from(PARTITIONS).expect("few");
        for topic in [&self.old, &self.new] {
            broker::make(&self.servers, topic, partitions, &[]);
        }
    }

    /// A change whose topics are not there.
    pub(super) fn bare(kind: Kind) -> Stage {
        Stage::at(&broker::shared().servers(), kind)
    }

    /// As [`Stage::bare`], on a broker of its own.
    pub(super) fn at(servers: &str, kind: Kind) -> Stage {
        let stage = Stage::undeclared(servers, kind);
        match kind {
            Kind::Raw => stage.declare("    payload: raw\n", ""),
            Kind::Json => stage.declare(JSON, ""),
            Kind::Avro => {}
        }
        stage
    }

    fn undeclared(servers: &str, kind: Kind) -> Stage {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Stage {
            dir: tempfile::tempdir().expect("a folder"),
            servers: servers.to_owned(),
            reach: format!("kafka: \"{servers}\""),
            old: format!("people{number}-v1"),
            new: format!("people{number}-v2"),
            change: format!("people{number}"),
            kind,
            logs: AtomicU32::new(0),
        }
    }

    /// A change of the same name that goes on from the new topic of this one.
    pub(super) fn next(&self) -> Stage {
        let next = Stage {
            old: self.new.clone(),
            new: format!("{}-v3", self.change),
            change: self.change.clone(),
            ..Stage::undeclared(&self.servers, self.kind)
        };
        broker::make(
            &next.servers,
            &next.new,
            i32::try_from(PARTITIONS).expect("few"),
            &[],
        );
        next.declare("    payload: raw\n", "");
        next
    }

    /// Writes the change file, with what a pair says beside its topics, and more keys of the file.
    pub(super) fn declare(&self, pair: &str, more: &str) {
        let Stage {
            reach,
            old,
            new,
            change,
            ..
        } = self;
        let text = format!(
            "version: 1
change: {change}
old: {{{reach}}}
new: {{{reach}}}
pairs:
  - old: {old}
    new: {new}
{pair}gates: {{writers_quiet: 300ms, readers_gone: 0s}}
{more}"
        );
        std::fs::write(self.dir.path().join("contraflow.yaml"), text).expect("a file");
    }

    /// Writes other words into the change file.
    pub(super) fn edit(&self, from: &str, to: &str) {
        let file = self.dir.path().join("contraflow.yaml");
        let text = std::fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).expect("a file");
    }

    /// A name for what the next process says.
    pub(super) fn log_name(&self, what: &str) -> String {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        format!("{number}-{what}")
    }

    /// Starts a verb with these variables.
    pub(super) fn start(&self, args: &[&str], settings: &[(&str, &str)]) -> Process {
        let log = self.dir.path().join(self.log_name(args[0]));
        let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
        command.args(args).current_dir(self.dir.path());
        for (name, value) in settings {
            command.env(name, value);
        }
        Process::start(&mut command, Path::new(&log))
    }

    /// Runs a verb, which must end so and say these words.
    pub(super) fn says(&self, args: &[&str], code: i32, words: &[&str]) -> String {
        let mut process = self.start(args, &[]);
        let found = process.wait();
        let said = format!("{}{}", process.out(), process.err());
        assert_eq!(found, Some(code), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?} does not say {word}: {said}");
        }
        said
    }

    pub(super) fn status(&self) -> Json {
        let mut process = self.start(&["status", "--json"], &[]);
        process.wait();
        serde_json::from_str(&process.out())
            .unwrap_or_else(|_| panic!("no status: {}", process.err()))
    }

    /// What all runs have said of their failures.
    pub(super) fn run_said(&self) -> String {
        let files = std::fs::read_dir(self.dir.path()).expect("a folder");
        let files = files.map(|file| file.expect("a file").path());
        let of_runs = files.filter(|file| file.to_string_lossy().ends_with("run.err"));
        of_runs.flat_map(std::fs::read_to_string).collect()
    }

    /// Waits until the change is in a phase.
    pub(super) fn reaches(&self, phase: &str) {
        let reached = reached_in_time(|| self.status()["phase"] == phase);
        let said = self.run_said();
        assert!(reached, "{phase}: {:#} {said}", self.status());
    }

    /// Waits until somebody runs the change: a verb that comes first runs it by itself.
    pub(super) fn runs(&self) {
        let runs = reached_in_time(|| !self.status()["running"].is_null());
        assert!(runs, "nobody runs: {:#}", self.status());
    }

    /// Waits until the change is held for this reason.
    pub(super) fn holds(&self, code: u64) {
        let held = reached_in_time(|| self.status()["state"]["held"]["code"] == code);
        assert!(held, "not held by {code}: {:#}", self.status());
    }

    /// Waits until a partition of a topic has stopped for this reason, and nothing else.
    pub(super) fn stops(&self, code: u64) {
        let stopped = reached_in_time(|| {
            let status = self.status();
            let stopped = &status["progress"]["stopped"];
            status["state"]["held"].is_null() && stopped[0]["code"] == code
        });
        assert!(stopped, "not stopped by {code}: {:#}", self.status());
    }

    /// Waits until everything that was written has been carried, and has both sides compared.
    pub(super) fn verified(&self) {
        self.says(&["verify"], 0, &["rows compared"]);
    }

    /// Writes to a side.
    pub(super) fn write(&self, topic: &str, all: &[Written]) {
        broker::write(&self.servers, topic, all);
    }

    /// Records with these numbers as the producer of a side writes them: null keys, records
    /// without a value, headers that come twice, times that go back.
    pub(super) fn records(&self, numbers: std::ops::Range<i64>, side: &str) -> Vec<Written> {
        let one = |n: i64| {
            let key = (n % 7 != 0).then(|| format!("k{}", n % 50).into_bytes());
            let bytes = |text: &str| Some(text.as_bytes().to_vec());
            let headers = match n % 3 {
                0 => Vec::new(),
                1 => vec![("h".to_owned(), bytes("1")), ("h".to_owned(), bytes("2"))],
                _ => vec![("z".to_owned(), None), ("a".to_owned(), bytes(""))],
            };
            Written {
                partition: i32::try_from(n % 50).expect("few")
                    % i32::try_from(PARTITIONS).expect("few"),
                timestamp: 1_700_000_000_000 + n * 10 - (n % 5) * 1_000,
                value: (n % 11 != 0 || key.is_none()).then(|| self.value(n, side)),
                key,
                headers,
            }
        };
        numbers.map(one).collect()
    }

    fn value(&self, n: i64, side: &str) -> Vec<u8> {
        let name = if side == "old" { "name" } else { "full_name" };
        let text = match self.kind {
            Kind::Raw | Kind::Avro => format!("value {n}"),
            Kind::Json => format!(
                "{{\"id\":{n},\"{name}\":\"Ada {n}\",\"age\":\"{}\",\"seen\":[1.10,{{\"by\":{n}}}]}}",
                n % 90
            ),
        };
        text.into_bytes()
    }
}
