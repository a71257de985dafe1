//! A folder with databases and a change file, and the program run in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use rusqlite::types::FromSql;

/// A folder of its own for one test.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

/// What one command answered.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Asserts on the exit code and on a part of what was said, wherever it was.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(said, "nothing says {part:?}: {self:#?}");
        }
    }
}

/// The change of most tests: one table, one rename.
pub(crate) const CHANGE: &str = "\
version: 1
change: c
old: { sqlite: app.db }
new: { sqlite: v2.db }
pairs:
  - {old: t, new: t2, key: [id], mapping: [{rename: {from: a, to: b}}]}
";

/// Its old table.
pub(crate) const TABLE: &str = "
create table t (id integer primary key, a text, n integer);
insert into t values (1, 'x', 10), (2, 'y', 20), (3, null, null);
";

impl Desk {
    pub(crate) fn new() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        Desk { dir }
    }

    /// [`CHANGE`] over [`TABLE`].
    pub(crate) fn usual() -> Desk {
        let desk = Desk::new();
        desk.change(CHANGE);
        desk.sql("app.db", TABLE);
        desk
    }

    /// [`CHANGE`] over tables of one's own.
    pub(crate) fn over(sql: &str) -> Desk {
        let desk = Desk::new();
        desk.change(CHANGE);
        desk.sql("app.db", sql);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the change file.
    pub(crate) fn change(&self, text: &str) {
        std::fs::write(self.path("contraflow.yaml"), text).unwrap();
    }

    /// Runs statements as the application, in WAL mode.
    pub(crate) fn sql(&self, file: &str, sql: &str) {
        let db = self.open(file);
        db.execute_batch(sql).unwrap();
    }

    pub(crate) fn open(&self, file: &str) -> Connection {
        let db = Connection::open(self.path(file)).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db
    }

    pub(crate) fn one<T: FromSql>(&self, file: &str, sql: &str) -> T {
        self.open(file)
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }

    /// All declarations of a file, as text; without `sqlite_sequence`, which SQLite makes for our
    /// journal and lets nobody drop.
    pub(crate) fn schema(&self, file: &str) -> String {
        let sql = "select coalesce(group_concat(sql, char(10)), '') from (select sql from
                   sqlite_schema where sql is not null and name not like 'sqlite_%' order by name)";
        self.one(file, sql)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        // A verb that never ends must not keep the others waiting.
        let mut command = Command::new("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_contraflow")]);
        let done = self.told(command, args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: done.status.code().expect("it ends by itself"),
            out: text(done.stdout),
            err: text(done.stderr),
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.told(Command::new(env!("CARGO_BIN_EXE_contraflow")), args)
    }

    fn told(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .current_dir(self.folder())
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null());
        command
    }

    /// Starts `contraflow run`; it ends with the returned value.
    pub(crate) fn start(&self) -> Running<'_> {
        self.start_as(self.command(&["run"]))
    }

    pub(crate) fn start_as(&self, mut command: Command) -> Running<'_> {
        let open = |name: &str| {
            let mut options = File::options();
            let file = options.create(true).append(true).open(self.path(name));
            file.unwrap()
        };
        let child = command
            .stdout(open("run.out"))
            .stderr(open("run.err"))
            .spawn()
            .unwrap();
        Running { desk: self, child }
    }

    /// What every `run` so far has said on stderr.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("run.err")).unwrap_or_default()
    }

    /// Waits as a pipeline does.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        let done = self.run(&["wait", "--for", what, "--timeout", "30s"]);
        assert_eq!(done.code, 0, "{done:#?}\n{}", self.log());
    }
}

/// A running `contraflow run`.
pub(crate) struct Running<'d> {
    desk: &'d Desk,
    child: Child,
}

impl Running<'_> {
    /// Waits for it to end by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits for it to end by itself, and takes what it has said.
    pub(crate) fn said(mut self) -> Done {
        let code = self
            .child
            .wait()
            .unwrap()
            .code()
            .expect("it ends by itself");
        let take = |name: &str| {
            let path = self.desk.path(name);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            text
        };
        Done {
            code,
            out: take("run.out"),
            err: take("run.err"),
        }
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap().code()
    }

    /// Waits as a pipeline does.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        self.desk.wait_for(what);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
