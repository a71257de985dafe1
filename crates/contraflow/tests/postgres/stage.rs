//! A change between databases, the application that writes to them, and an auditor in plain SQL
//! that shares no code with the program.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::load::Load;
use super::servers::{self, Server};
use crate::live::process::{Process, until};

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Where old and new lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    OneDatabase,
    TwoDatabases,
    FromSqlite,
}

/// An application and its change.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Makes and fills the old tables.
    pub(super) old: &'static str,
    /// Makes what the new end has before the change.
    pub(super) new: &'static str,
    /// `pairs` of the change file.
    pub(super) pairs: &'static str,
    /// `limits` of the change file.
    pub(super) limits: &'static str,
    /// What a client of `pgbench` does all the time at the old end.
    pub(super) script: &'static str,
    /// What is another word of the script at the new end.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    pub(super) clients: u32,
    /// Transactions per second of all clients.
    pub(super) rate: u32,
    /// Queries in pairs: what the old end says to the first, the new one says to the second.
    pub(super) audits: &'static [[&'static str; 2]],
    /// The least rows that the audits tell of.
    pub(super) rows: usize,
}

pub(super) struct Stage {
    pub(super) dir: TempDir,
    pub(super) plan: Plan,
    layout: Layout,
    servers: [&'static Server; 2],
    databases: [String; 2],
    logs: AtomicU32,
}

pub(super) fn psql(url: &str, sql: &str) -> Result<String, String> {
    let done = Command::new("psql")
        .args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", url])
        .args(["-c", sql])
        .output()
        .expect("psql is there");
    let said = |bytes| String::from_utf8(bytes).expect("text");
    match done.status.success() {
        true => Ok(said(done.stdout)),
        false => Err(format!("{sql}: {}", said(done.stderr))),
    }
}

fn place(side: &str) -> usize {
    usize::from(side == "new")
}

impl Stage {
    pub(super) fn new(plan: Plan, layout: Layout) -> Stage {
        Stage::on([servers::shared(), servers::shared()], plan, layout)
    }

    /// As [`Stage::new`], with the ends on these servers.
    pub(super) fn on(servers: [&'static Server; 2], plan: Plan, layout: Layout) -> Stage {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let old = format!("old{number}");
        let new = match layout {
            Layout::OneDatabase => old.clone(),
            Layout::TwoDatabases | Layout::FromSqlite => format!("new{number}"),
        };
        servers[0].sql(&format!("create database {old}"));
        if new != old {
            servers[1].sql(&format!("create database {new}"));
        }
        let stage = Stage {
            dir: tempfile::tempdir().expect("a folder"),
            plan,
            layout,
            servers,
            databases: [old, new],
            logs: AtomicU32::new(0),
        };
        stage.fill();
        stage.declare(&stage.url("old"));
        stage
    }

    fn fill(&self) {
        if self.layout == Layout::FromSqlite {
            let db = rusqlite::Connection::open(self.dir.path().join("app.db")).expect("a file");
            db.pragma_update(None, "journal_mode", "wal").expect("wal");
            db.execute_batch(self.plan.old).expect("rows");
        } else {
            self.sql("old", self.plan.old);
        }
        self.sql("new", self.plan.new);
        self.acts(self.plan.script);
    }

    /// Has the application do this at the old end, and the same in other words at the new one.
    pub(super) fn acts(&self, script: &str) {
        let renamed = self.plan.renamed.iter();
        let new = renamed.fold(script.to_owned(), |text, (old, new)| text.replace(old, new));
        for (side, text) in [("old", script), ("new", &new)] {
            std::fs::write(self.script(side), text).expect("a script");
        }
    }

    pub(super) fn script(&self, side: &str) -> std::path::PathBuf {
        self.dir.path().join(side).with_extension("sql")
    }

    /// How to connect to a side.
    pub(super) fn url(&self, side: &str) -> String {
        let place = place(side);
        self.servers[place].url(&self.databases[place])
    }

    /// Writes the change file with this URL for the old end, and its role for the new one.
    pub(super) fn declare(&self, old: &str) {
        let mut words = old.split(' ');
        let role = words.find(|word| word.starts_with("user=carrier"));
        let new = self.url("new");
        let new = new.replace("user=postgres", role.unwrap_or("user=postgres"));
        let old = match self.layout {
            Layout::FromSqlite => "{ sqlite: app.db }".to_owned(),
            Layout::OneDatabase | Layout::TwoDatabases => format!("{{ postgres: \"{old}\" }}"),
        };
        let Plan { limits, pairs, .. } = self.plan;
        let text = format!(
            "version: 1\nchange: moved\nold: {old}\nnew: {{ postgres: \"{new}\" }}\n\
             limits: {limits}\npairs:\n{pairs}"
        );
        std::fs::write(self.dir.path().join("contraflow.yaml"), text).expect("the change file");
    }

    /// Connects as another role.
    pub(super) fn declare_as(&self, role: &str) {
        let url = self.url("old");
        self.declare(&url.replace("user=postgres", &format!("user={role}")));
    }

    pub(super) fn sql(&self, side: &str, sql: &str) -> String {
        psql(&self.url(side), sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// One number from a side; `None` where it does not answer, or has no such table yet.
    pub(super) fn number(&self, side: &str, sql: &str) -> Option<i64> {
        psql(&self.url(side), sql).ok()?.trim().parse().ok()
    }

    /// A session that has run something and goes on, and what it was told.
    pub(super) fn session(&self, side: &str, sql: &str) -> (Session, String) {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-At", "-d", &self.url(side)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is there");
        let stdin = child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{sql};\n\\echo done").expect("it listens");
        let said = child.stdout.as_mut().expect("a pipe");
        let lines = BufReader::new(said).lines();
        let lines = lines.map(|line| line.expect("it answers"));
        let told: Vec<String> = lines.take_while(|line| line != "done").collect();
        (Session(child), told.join(" "))
    }

    pub(super) fn sqlite(&self, sql: &str) -> String {
        let db = rusqlite::Connection::open(self.dir.path().join("app.db")).expect("a file");
        db.query_row(sql, [], |row| row.get(0)).expect("a text")
    }

    /// Everything that a side holds, in the new shape.
    pub(super) fn rows(&self, side: &str) -> String {
        let queries = self.plan.audits.iter();
        queries
            .map(|pair| self.sql(side, pair[place(side)]))
            .collect()
    }

    /// Both ends hold the same, and exactly one of them takes writes.
    pub(super) fn audit(&self, authority: &str) {
        let (old, new) = (self.rows("old"), self.rows("new"));
        let count = old.lines().count();
        assert!(count >= self.plan.rows, "{count} rows");
        assert!(old == new, "the ends differ: {}", differing(&old, &new));
        assert_eq!(self.open(), [authority]);
    }

    /// The sides that take writes.
    pub(super) fn open(&self) -> Vec<String> {
        let sql = "select side from contraflow.standing where gate = 'open'";
        let said = ["old", "new"].map(|side| self.sql(side, sql)).concat();
        let mut open: Vec<String> = said.lines().map(str::to_owned).collect();
        open.dedup();
        open
    }

    /// Tables, triggers, publications, slots and schemas of the old database.
    pub(super) fn declaration(&self) -> String {
        self.sql(
            "old",
            "select n.nspname || '.' || c.relname from pg_class c
               join pg_namespace n on n.oid = c.relnamespace
               where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
             union all select tgname from pg_trigger where not tgisinternal
             union all select pubname from pg_publication
             union all select slot_name from pg_replication_slots
               where database = current_database() order by 1",
        )
    }

    pub(super) fn nothing_is_left(&self) {
        for side in ["old", "new"] {
            let left = "select (select count(*) from pg_replication_slots
                  where database = current_database())
                + (select count(*) from pg_namespace where nspname = 'contraflow')
                + (select count(*) from pg_publication)
                + (select count(*) from pg_trigger where not tgisinternal)";
            assert_eq!(self.number(side, left), Some(0), "{side}");
        }
    }

    /// Starts the program, with settings in its environment.
    pub(super) fn start(&self, args: &[&str], settings: &[(&str, &str)]) -> Process {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .envs(settings.iter().copied());
        Process::start(&mut command, &self.dir.path().join(format!("log-{number}")))
    }

    /// A verb that must end like this and say all of that; what it said.
    pub(super) fn says(&self, args: &[&str], code: i32, parts: &[&str]) -> String {
        let mut process = self.start(args, &[]);
        let ended = process.wait();
        let said = process.out() + &process.err();
        assert_eq!(ended, Some(code), "{said}");
        for part in parts {
            assert!(said.contains(part), "nothing says {part:?}: {said}");
        }
        said
    }

    pub(super) fn status(&self) -> serde_json::Value {
        let mut status = self.start(&["status", "--json"], &[]);
        status.wait();
        serde_json::from_str(&status.out()).unwrap_or_default()
    }

    /// Starts `contraflow run`, to be killed at a point.
    pub(super) fn run(&self, crash_at: Option<&str>) -> Run<'_> {
        let setting = crash_at.map(|at| ("CONTRAFLOW_CRASH_AT", at));
        let settings: Vec<(&str, &str)> = setting.into_iter().collect();
        Run {
            stage: self,
            process: self.start(&["run"], &settings),
            was_killed: false,
        }
    }

    /// Starts the application: it writes where it is let, all the time.
    pub(super) fn load(&self) -> Load<'_> {
        Load::start(self)
    }
}

/// A session of somebody who takes their time.
pub(super) struct Session(Child);

impl Session {
    /// Runs something more, and ends.
    pub(super) fn finish(mut self, sql: &str) {
        let mut stdin = self.0.stdin.take().expect("a pipe");
        writeln!(stdin, "{sql};").expect("it listens");
        drop(stdin);
        assert!(self.0.wait().expect("it ends").success());
    }
}

/// The first lines in which two texts differ.
fn differing<'t>(old: &'t str, new: &'t str) -> String {
    let lines = |text: &'t str| text.lines().collect::<std::collections::BTreeSet<_>>();
    let (old, new) = (lines(old), lines(new));
    let sample: Vec<_> = old.symmetric_difference(&new).take(10).collect();
    format!("{} and {} rows, {sample:?}", old.len(), new.len())
}

/// A run that is started again when it was killed.
pub(super) struct Run<'s> {
    pub(super) stage: &'s Stage,
    pub(super) process: Process,
    /// It was killed at least once.
    pub(super) was_killed: bool,
}

impl Run<'_> {
    fn revive(&mut self) {
        if !self.process.runs() {
            self.ends();
            self.process = self.stage.start(&["run"], &[]);
        }
    }

    pub(super) fn reaches(&mut self, phase: &str) {
        until(phase, || {
            self.revive();
            self.stage.status()["phase"] == phase
        });
    }

    /// Asks for something until it is granted: the run may be killed on the way.
    pub(super) fn asks(&mut self, args: &[&str]) {
        self.revive();
        let mut verb = self.stage.start(args, &[]);
        let code = verb.wait();
        let told = (verb.err(), self.process.err());
        assert_eq!(code, Some(0), "{args:?}: {}\n{}", told.0, told.1);
    }

    /// Asks for contract. On a machine with little time to spare the flow is behind for a moment.
    pub(super) fn contracts(&mut self) {
        self.asks(&["wait", "--for", "lag", "--timeout", "80s"]);
        self.asks(&["contract", "--yes"]);
    }

    /// Waits for its end.
    pub(super) fn ends(&mut self) {
        let code = self.process.wait();
        self.was_killed |= code.is_none();
        let told = self.process.err();
        // A verb that found nobody does the work itself, and has the run for a moment.
        let is_refused = code == Some(2) && told.contains("CF0306");
        assert!(is_refused || matches!(code, None | Some(0)), "{told}");
    }
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
