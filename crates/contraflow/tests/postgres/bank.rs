//! The accounts of `pgbench`, moved to a table of another shape.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use contraflow_testkit::server::Postgres;
use tempfile::TempDir;

use crate::live::process::{Process, until};

static SERVER: OnceLock<(TempDir, Postgres)> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn url(database: &str) -> String {
    let (_, server) = SERVER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("cf-pg-").tempdir();
        let folder = folder.expect("a folder");
        let server = Postgres::start(folder.path());
        (folder, server)
    });
    server.url(database)
}

/// Where old and new lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    OneDatabase,
    TwoDatabases,
    FromSqlite,
}

const OLD: &str = "create table pgbench_accounts (aid int not null primary key, bid int,
    abalance int, filler char(84))";
/// What the application does at the old end, and at the new one.
const SCRIPTS: [&str; 2] = [
    "\\set aid random(1, 3000)
\\set extra random(3001, 3100)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
insert into pgbench_accounts values (:extra, 1, :delta, 'new') on conflict (aid) do nothing;
delete from pgbench_accounts where aid = :extra + 1 and aid > 3000;
commit;
",
    "\\set aid random(1, 3000)
\\set extra random(3001, 3100)
\\set delta random(-5000, 5000)
begin;
update accounts set abalance = abalance + :delta * 0.01 where aid = :aid;
insert into accounts values (:extra, 1, :delta * 0.01, 'new') on conflict (aid) do nothing;
delete from accounts where aid = :extra + 1 and aid > 3000;
commit;
",
];

pub(super) struct Bank {
    dir: TempDir,
    layout: Layout,
    databases: [String; 2],
    logs: AtomicU32,
}

fn run_psql(url: &str, sql: &str) -> String {
    let done = Command::new("psql")
        .args([
            "-X",
            "-q",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-c",
            sql,
        ])
        .output()
        .expect("psql is there");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{sql}: {error}");
    String::from_utf8(done.stdout).expect("text")
}

impl Bank {
    pub(super) fn new(layout: Layout) -> Bank {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let old = format!("old{number}");
        let new = match layout {
            Layout::OneDatabase => old.clone(),
            Layout::TwoDatabases | Layout::FromSqlite => format!("new{number}"),
        };
        for database in [&old, &new] {
            let there = format!("select count(*) from pg_database where datname = '{database}'");
            if run_psql(&url("postgres"), &there).trim() == "0" {
                run_psql(&url("postgres"), &format!("create database {database}"));
            }
        }
        let bank = Bank {
            dir: tempfile::tempdir().expect("a folder"),
            layout,
            databases: [old, new],
            logs: AtomicU32::new(0),
        };
        bank.fill();
        bank.url(&url(&bank.databases[0]));
        bank
    }

    fn fill(&self) {
        if self.layout == Layout::FromSqlite {
            let db = rusqlite::Connection::open(self.dir.path().join("app.db")).expect("a file");
            db.pragma_update(None, "journal_mode", "wal").expect("wal");
            let rows = "create table pgbench_accounts (aid integer primary key, bid integer,
                  abalance integer, filler text);
                with recursive n (x) as (select 1 union all select x + 1 from n where x < 500)
                insert into pgbench_accounts select x, 1, x * 7, 'x' from n";
            db.execute_batch(rows).expect("rows");
            return;
        }
        self.sql("old", OLD);
        self.sql(
            "old",
            "insert into pgbench_accounts select n, n % 10, n, 'x' from generate_series(1, 3000) n",
        );
        for (name, script) in ["old.sql", "new.sql"].iter().zip(SCRIPTS) {
            std::fs::write(self.dir.path().join(name), script).expect("a script");
        }
    }

    /// Gives the table of the old end to a role that nobody logs in as.
    pub(super) fn owned_by(&self, role: &str) {
        self.sql("old", &format!("create role {role}"));
        self.sql(
            "old",
            &format!("alter table pgbench_accounts owner to {role}"),
        );
    }

    /// Writes the change file with this URL for the old end.
    pub(super) fn url(&self, old: &str) {
        let role = old
            .split("user=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let role = role
            .filter(|_| old.contains("carrier"))
            .unwrap_or("postgres");
        let new = url(&self.databases[1]).replace("user=postgres", &format!("user={role}"));
        let old = match self.layout {
            Layout::FromSqlite => "{ sqlite: app.db }".to_owned(),
            Layout::OneDatabase | Layout::TwoDatabases => format!("{{ postgres: \"{old}\" }}"),
        };
        let text = format!(
            "version: 1\nchange: bank\nold: {old}\nnew: {{ postgres: \"{new}\" }}\n\
             limits: {{ fence_max: 5s }}\npairs:\n  - old: pgbench_accounts\n    new: accounts\n    \
             key: [aid]\n    mapping:\n      - rename: {{ from: bid, to: branch }}\n      \
             - convert: {{ field: abalance, to: \"decimal(20,2)\", factor: \"0.01\", on_fail: letter }}\n"
        );
        std::fs::write(self.dir.path().join("contraflow.yaml"), text).expect("the change file");
    }

    /// Connects to the old end as another role.
    pub(super) fn url_as(&self, role: &str) {
        self.url(&url(&self.databases[0]).replace("user=postgres", &format!("user={role}")));
    }

    pub(super) fn sql(&self, side: &str, sql: &str) -> String {
        let place = usize::from(side == "new");
        run_psql(&url(&self.databases[place]), sql)
    }

    /// A session that has run something and goes on until its input ends.
    pub(super) fn session(&self, side: &str, sql: &str) -> Child {
        use std::io::{BufRead, BufReader, Write};
        let place = usize::from(side == "new");
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-At", "-d", &url(&self.databases[place])])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is there");
        let stdin = child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{sql};\n\\echo done").expect("it listens");
        let mut line = String::new();
        let said = child.stdout.as_mut().expect("a pipe");
        BufReader::new(said)
            .read_line(&mut line)
            .expect("it answers");
        assert_eq!(line.trim(), "done");
        child
    }

    pub(super) fn sqlite(&self, sql: &str) -> String {
        let db = rusqlite::Connection::open(self.dir.path().join("app.db")).expect("a file");
        db.query_row(sql, [], |row| row.get(0)).expect("a text")
    }

    /// Every account of a side, in the new shape.
    pub(super) fn accounts(&self, side: &str) -> String {
        let sql = if side == "old" {
            "select aid, bid, (abalance * 0.01)::numeric(20,2), filler from pgbench_accounts \
             order by aid"
        } else {
            "select aid, branch, abalance, filler from accounts order by aid"
        };
        self.sql(side, sql)
    }

    /// Both ends hold the same, and exactly one of them takes writes.
    pub(super) fn audit(&self, authority: &str) {
        let (old, new) = (self.accounts("old"), self.accounts("new"));
        assert!(old.lines().count() >= 3_000, "{} rows", old.lines().count());
        assert!(old == new, "the ends differ");
        let open = "select string_agg(side, ' ') from contraflow.standing where gate = 'open'";
        let open: Vec<String> = ["old", "new"].map(|side| self.sql(side, open)).to_vec();
        let mut open: Vec<&str> = open
            .iter()
            .flat_map(|text| text.split_whitespace())
            .collect();
        open.dedup();
        assert_eq!(open, [authority]);
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
            assert_eq!(self.sql(side, left).trim(), "0", "{side}");
        }
    }

    fn start(&self, args: &[&str], settings: &[(&str, &str)]) -> Process {
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

    /// Starts `contraflow run`, to be killed at a point.
    pub(super) fn run(&self, crash_at: Option<&str>) -> Run<'_> {
        let settings: Vec<(&str, &str)> = crash_at
            .map(|at| ("CONTRAFLOW_CRASH_AT", at))
            .into_iter()
            .collect();
        Run {
            bank: self,
            process: self.start(&["run"], &settings),
        }
    }

    /// Starts the application: it writes where it is let, all the time.
    pub(super) fn load(&self) -> Load<'_> {
        let load = Load {
            bank: self,
            child: std::cell::RefCell::new(None),
        };
        load.resume();
        load
    }
}

/// A run that is started again when it was killed.
pub(super) struct Run<'b> {
    bank: &'b Bank,
    process: Process,
}

impl Run<'_> {
    fn revive(&mut self) {
        if !self.process.runs() {
            self.ends();
            self.process = self.bank.start(&["run"], &[]);
        }
    }

    pub(super) fn reaches(&mut self, phase: &str) {
        until(phase, || {
            self.revive();
            let mut status = self.bank.start(&["status", "--json"], &[]);
            status.wait();
            status.out().contains(&format!("\"phase\": \"{phase}\""))
        });
    }

    /// Asks for something until it is granted: the run may be killed on the way.
    pub(super) fn asks(&mut self, args: &[&str]) {
        self.revive();
        let mut verb = self.bank.start(args, &[]);
        let code = verb.wait();
        assert_eq!(
            code,
            Some(0),
            "{args:?}: {}\n{}",
            verb.err(),
            self.process.err()
        );
    }

    /// Waits for its end.
    pub(super) fn ends(&mut self) {
        let code = self.process.wait();
        let told = self.process.err();
        // A verb that found nobody does the work itself, and has the run for a moment.
        let is_refused = code == Some(2) && told.contains("CF0306");
        assert!(is_refused || matches!(code, None | Some(0)), "{told}");
    }
}

/// The application.
pub(super) struct Load<'b> {
    bank: &'b Bank,
    child: std::cell::RefCell<Option<Child>>,
}

impl Load<'_> {
    pub(super) fn resume(&self) {
        let url = |place: usize| url(&self.bank.databases[place]);
        let path = self.bank.dir.path();
        // Whoever is refused at one end goes on at the other.
        let script = format!(
            "PATH=\"$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH\"
             while true; do
               pgbench -n -c 2 -R 150 -T 5 -f {old} '{}'; pgbench -n -c 2 -R 150 -T 5 -f {new} '{}'
             done",
            url(0),
            url(1),
            old = shown(&path.join("old.sql")),
            new = shown(&path.join("new.sql")),
        );
        let child = Command::new("bash")
            .args(["-c", &script])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        *self.child.borrow_mut() = Some(child);
    }

    /// Returns when no transaction of it is under way.
    pub(super) fn pause(&self) {
        let Some(mut child) = self.child.borrow_mut().take() else {
            return;
        };
        let group = format!("-{}", child.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(child.wait());
        let busy = "select count(*) from pg_stat_activity where application_name = 'pgbench'
                    and datname = current_database()";
        until("the application stands still", || {
            ["old", "new"]
                .iter()
                .all(|side| self.bank.sql(side, busy).trim() == "0")
        });
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            let group = format!("-{}", child.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).status());
            drop(child.wait());
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
