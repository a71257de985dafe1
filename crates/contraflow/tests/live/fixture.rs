//! A change declared once, with an application at work on it, for every ending to be tried.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, reached_in_time, until};

/// The applications, by the name their scripts have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// Numbered contact columns become a list; one pair.
    Phonebook,
    /// Customers, orders and lines under foreign keys; three pairs.
    Shop,
}

/// What a fixture is made of.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) app: App,
    /// Old and new are tables of one file.
    pub(super) same_file: bool,
    /// The new tables are there already, with constraints of their own.
    pub(super) premade: bool,
    pub(super) rows: u32,
    pub(super) writers: usize,
    /// Settings under `limits`.
    pub(super) limits: &'static str,
}

impl Plan {
    pub(super) const PHONEBOOK: Plan = Plan {
        app: App::Phonebook,
        same_file: false,
        premade: true,
        rows: 600,
        writers: 2,
        limits: "{ fence_max: 5s }",
    };
    pub(super) const ONE_FILE: Plan = Plan {
        same_file: true,
        premade: false,
        ..Plan::PHONEBOOK
    };
    pub(super) const SHOP: Plan = Plan {
        app: App::Shop,
        rows: 300,
        ..Plan::PHONEBOOK
    };
    /// Copies slowly, so that there is time to do something to it.
    pub(super) const SLOW: Plan = Plan {
        limits: "{ fence_max: 5s, rate_rows_per_s: 400 }",
        ..Plan::PHONEBOOK
    };
}

const PHONEBOOK_PAIRS: &str = r#"
  - old: phonebook
    new: contacts
    key: [id]
    mapping:
      - group: {fields: "contact{i}_{f}", numbers: 1..2, into: contacts, items: {name: name, num: phoneNumber}, count: count, empty: skip}
      - rename: {from: owner, to: person}
"#;

const SHOP_PAIRS: &str = r"
  - {old: customers, new: clients, key: [id], mapping: [rename: {from: name, to: full_name}]}
  - {old: orders, new: purchases, key: [id], mapping: [rename: {from: customer_id, to: client_id}, rename: {from: state, to: status}]}
  - {old: lines, new: items, key: [order_id, no], mapping: [rename: {from: order_id, to: purchase_id}, rename: {from: sku, to: product}]}
";

/// A change, its two ends and the folder they lie in.
pub(super) struct Fixture {
    dir: TempDir,
    plan: Plan,
    logs: Cell<u32>,
}

/// A verb that has ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Done {
    /// Its answer as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/live")
        .join(name)
}

fn python(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(script(name));
    command
}

impl Fixture {
    /// Seeds the old end and writes the change file.
    pub(super) fn new(plan: Plan) -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        let fixture = Fixture {
            dir,
            plan,
            logs: Cell::new(0),
        };
        fixture.write_change_file(fixture.path(), "app.db", fixture.new_name());
        let config = json!({
            "app": match plan.app { App::Phonebook => "phonebook", App::Shop => "shop" },
            "old": fixture.path().join("app.db"),
            "new": fixture.path().join(fixture.new_name()),
            "dir": fixture.path(),
            "writers": plan.writers,
            "rows": plan.rows,
            "seed": 7,
            "premade": plan.premade,
            "pause_s": 0.004,
        });
        std::fs::write(fixture.config(), config.to_string()).expect("the config");
        let mut seed = fixture.start(python("app.py").arg("seed").arg(fixture.config()));
        assert_eq!(seed.wait(), Some(0), "{}", seed.err());
        fixture
    }

    /// Writes a change file for these ends into a folder.
    pub(super) fn write_change_file(&self, folder: &Path, old: &str, new: &str) {
        let pairs = match self.plan.app {
            App::Phonebook => PHONEBOOK_PAIRS,
            App::Shop => SHOP_PAIRS,
        };
        let limits = self.plan.limits;
        let text = format!(
            "version: 1\nchange: live\nold: {{ sqlite: {old} }}\nnew: {{ sqlite: {new} }}\n\
             limits: {limits}\npairs:{pairs}"
        );
        std::fs::write(folder.join("contraflow.yaml"), text).expect("the change file");
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The file of a side.
    pub(super) fn file(&self, side: &str) -> PathBuf {
        let name = if side == "old" {
            "app.db"
        } else {
            self.new_name()
        };
        self.path().join(name)
    }

    pub(super) fn new_name(&self) -> &'static str {
        if self.plan.same_file {
            "app.db"
        } else {
            "app-v2.db"
        }
    }

    /// The tables of the new end, referring ones first.
    pub(super) fn new_tables(&self) -> &'static [&'static str] {
        match self.plan.app {
            App::Phonebook => &["contacts"],
            App::Shop => &["items", "purchases", "clients"],
        }
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.json")
    }

    fn start(&self, command: &mut Command) -> Process {
        self.logs.set(self.logs.get() + 1);
        let log = self.path().join(format!("log-{}", self.logs.get()));
        Process::start(command, &log)
    }

    /// Starts a verb in a folder.
    pub(super) fn spawn_in(
        &self,
        folder: &Path,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
        command
            .args(args)
            .current_dir(folder)
            .envs(settings.iter().copied());
        self.start(&mut command)
    }

    /// Starts a verb.
    pub(super) fn spawn(&self, args: &[&str], settings: &[(&str, &str)]) -> Process {
        self.spawn_in(self.path(), args, settings)
    }

    /// Starts `contraflow run`, and waits until it has the run.
    pub(super) fn run(&self) -> Process {
        self.run_with(&[])
    }

    /// As [`Fixture::run`], with settings in the environment.
    pub(super) fn run_with(&self, settings: &[(&str, &str)]) -> Process {
        let mut process = self.spawn(&["run"], settings);
        until("the run is taken", || {
            !process.runs() || self.status()["running"]["pid"] == process.id()
        });
        process
    }

    /// Runs a verb to its end.
    pub(super) fn verb(&self, args: &[&str]) -> Done {
        self.verb_in(self.path(), args)
    }

    /// Runs a verb in a folder to its end.
    pub(super) fn verb_in(&self, folder: &Path, args: &[&str]) -> Done {
        let mut process = self.spawn_in(folder, args, &[]);
        let code = process.wait();
        Done {
            code,
            out: process.out(),
            err: process.err(),
        }
    }

    /// Runs a verb that must be granted.
    pub(super) fn must(&self, args: &[&str]) -> Done {
        let done = self.verb(args);
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}{}", self.history());
        done
    }

    /// Waits for a phase, `lag` or `held`.
    pub(super) fn wait_for(&self, what: &str) {
        self.must(&["wait", "--for", what, "--timeout", "80s"]);
    }

    /// The status as a document.
    pub(super) fn status(&self) -> Value {
        self.verb(&["status", "--json"]).json()
    }

    /// Waits until the status says so.
    pub(super) fn finds(&self, what: &str, so: impl Fn(&Value) -> bool) {
        let mut status = self.status();
        let reached = reached_in_time(|| {
            status = self.status();
            so(&status)
        });
        assert!(reached, "{what}: {status:#}{}", self.history());
    }

    /// The end of every log, for a failure's message.
    pub(super) fn history(&self) -> String {
        let mut text = String::new();
        for number in 0..=self.logs.get() {
            let path = self.path().join(format!("log-{number}.err"));
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            if !last.is_empty() {
                text.push_str(&format!("\n-- log {number}\n{}", last.join("\n")));
            }
        }
        text
    }

    /// Starts the application.
    pub(super) fn writers(&self) -> Writers<'_> {
        let start = |index: usize| {
            let mut command = python("app.py");
            command
                .arg("write")
                .arg(self.config())
                .arg(index.to_string());
            self.start(&mut command)
        };
        let processes = (0..self.plan.writers).map(start).collect();
        Writers {
            fixture: self,
            processes,
            pauses: 0,
        }
    }

    /// Has both ends read by somebody who shares no code with the engine.
    pub(super) fn report(&self, authority: &str) -> Value {
        let mut auditor = self.start(python("auditor.py").arg(self.config()).arg(authority));
        assert_eq!(auditor.wait(), Some(0), "{}", auditor.err());
        serde_json::from_str(&auditor.out()).expect("the auditor's report")
    }

    /// Everything in the file of a side, as SQL, our bookkeeping included.
    pub(super) fn dump(&self, side: &str) -> String {
        let mut dump = self.start(python("dump.py").arg(self.file(side)));
        assert_eq!(dump.wait(), Some(0), "{}", dump.err());
        dump.out()
    }

    /// Runs SQL on a side, behind everybody's back.
    pub(super) fn sql(&self, side: &str, sql: &str) {
        let db = rusqlite::Connection::open(self.file(side)).expect("a file");
        db.busy_timeout(super::process::PATIENCE)
            .expect("a timeout");
        db.execute_batch(sql).expect("the statements");
    }

    /// Whether somebody could write to the ledger and the ends now.
    pub(super) fn is_unlocked(&self) -> bool {
        let files = [".contraflow/live.db", "app.db", self.new_name()];
        files.into_iter().all(|name| {
            let db = rusqlite::Connection::open(self.path().join(name)).expect("a file");
            db.execute_batch("begin immediate; rollback").is_ok()
        })
    }

    /// One number from a side.
    pub(super) fn number(&self, side: &str, sql: &str) -> i64 {
        let db = rusqlite::Connection::open(self.file(side)).expect("a file");
        db.busy_timeout(super::process::PATIENCE)
            .expect("a timeout");
        db.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// While nobody writes: both ends hold the same, exactly one is open, nothing that was
    /// acknowledged is lost. The application must have been paused.
    pub(super) fn audit(&self, authority: &str) -> Value {
        self.must(&["verify"]);
        self.audit_still(authority)
    }

    /// As [`Fixture::audit`], when the flow is known to have caught up.
    pub(super) fn audit_still(&self, authority: &str) -> Value {
        let report = self.report(authority);
        let text = format!("{report:#}\n{}", self.history());
        for empty in ["divergent", "unknown", "problems", "lost"] {
            assert_eq!(report[empty], json!([]), "{empty} of {text:.4000}");
        }
        assert_eq!(report["orphans"], 0, "{text:.4000}");
        assert_eq!(report["open"], json!([authority]), "{text:.4000}");
        if !report["old"].is_null() && !report["new"].is_null() {
            assert_eq!(report["old"]["rows"], report["new"]["rows"], "{text:.4000}");
            assert_eq!(report["old"]["digest"], report["new"]["digest"]);
        }
        if self.plan.app == App::Phonebook {
            let sum = i64::from(self.plan.rows) * 100;
            assert_eq!(report[authority]["sum"], sum, "{text:.4000}");
        }
        report
    }
}

/// The application: processes that write until they are told to stop.
pub(super) struct Writers<'f> {
    fixture: &'f Fixture,
    processes: Vec<Process>,
    pauses: u32,
}

impl Writers<'_> {
    pub(super) fn healthy(&mut self) {
        for (index, process) in self.processes.iter_mut().enumerate() {
            let ended = !process.runs();
            let history = self.fixture.history();
            assert!(
                !ended,
                "writer {index} ended:\n{}{history:.4000}",
                process.err()
            );
        }
    }

    fn done(&self) -> u64 {
        let count = |index: usize| {
            let path = self.fixture.path().join(format!("acked-{index}"));
            std::fs::metadata(path).map_or(0, |meta| meta.len())
        };
        (0..self.processes.len()).map(count).sum()
    }

    /// Waits until the application has written a good deal more.
    pub(super) fn work(&mut self) {
        let goal = self.done() + 30_000;
        until("the application writes", || {
            self.healthy();
            self.done() >= goal
        });
    }

    /// Lets the application stand still, between two transactions.
    pub(super) fn pause(&mut self) {
        self.pauses += 1;
        let token = format!("t{}", self.pauses);
        std::fs::write(self.fixture.path().join("pause"), &token).expect("the pause");
        for index in 0..self.processes.len() {
            let path = self.fixture.path().join(format!("idle-{index}"));
            until("the application pauses", || {
                self.healthy();
                std::fs::read_to_string(&path)
                    .is_ok_and(|text| text.split(' ').next() == Some(token.as_str()))
            });
        }
    }

    /// Lets it go on.
    pub(super) fn resume(&mut self) {
        std::fs::remove_file(self.fixture.path().join("pause")).expect("the pause");
    }

    /// Stands still, is audited, goes on.
    pub(super) fn audited(&mut self, authority: &str) -> Value {
        self.pause();
        let report = self.fixture.audit(authority);
        self.resume();
        report
    }

    /// Ends the application.
    pub(super) fn finish(mut self) {
        std::fs::write(self.fixture.path().join("stop"), "").expect("the stop");
        for process in &mut self.processes {
            assert_eq!(process.wait(), Some(0), "{}", process.err());
        }
    }
}
