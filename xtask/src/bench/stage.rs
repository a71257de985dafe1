//! The stage of a benchmark over SQLite files: a folder with an application's old table, our
//! program run over it, and the peer, one statement that writes the same rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::shell::{self, Stopwatch};

pub(super) mod part;
mod phonebook;
pub(super) mod process;

pub(super) use phonebook::{Old, Reshape};
use process::{Run, build, verb};

/// The old file, the new one, the peer's, and the change.
pub(super) const OLD_FILE: &str = "app.db";
pub(super) const NEW_FILE: &str = "app-v2.db";
pub(super) const PEER_FILE: &str = "peer.db";
pub(super) const CHANGE_FILE: &str = "contraflow.yaml";
/// The name of the change.
const CHANGE: &str = "phonebook";
pub(super) const LEDGER_FOLDER: &str = ".contraflow";

/// Longer than it takes to follow a transaction, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);

/// What one copy took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    /// From the moment both ends stood to the last row.
    pub(super) rows_per_s: f64,
    /// By the CPU seconds of the process, its start included.
    pub(super) rows_per_cpu_s: f64,
    /// The most memory that the process ever held.
    pub(super) memory_mib: f64,
}

/// The most memory that this process ever held.
pub(super) fn own_memory_mib() -> Result<f64> {
    process::Usage::of("self").map(|usage| usage.memory_mib)
}

/// A folder in which ours and the peer run in turns.
pub(super) struct Stage {
    folder: TempDir,
    program: PathBuf,
    reshape: Reshape,
    rows: u64,
    /// The statement that makes the new table: the peer's is made as ours was.
    new_table: String,
}

impl Stage {
    /// Makes the old table, and lets both copy it once, which does not count: they must write the
    /// same rows.
    pub(super) fn raise(old: &Old, reshape: Reshape) -> Result<Stage> {
        let mut stage = Stage::set(old, reshape)?;
        let run = stage.start()?;
        run.wait_copied()?;
        let new = open(&stage.path(NEW_FILE))?;
        stage.new_table = new.query_row(
            "select sql from sqlite_schema where name = 'contacts'",
            [],
            |row| row.get(0),
        )?;
        drop(new);
        part::copy(&stage)?;
        let ours = open(&stage.path(NEW_FILE))?;
        let theirs = open(&stage.path(PEER_FILE))?;
        ensure!(
            phonebook::same(&ours, &theirs, "contacts", "contacts")?,
            "ours and the peer wrote different rows"
        );
        drop((ours, theirs));
        stage.strike(run)?;
        Ok(stage)
    }

    /// Makes the old table and the change, and runs nothing yet.
    pub(super) fn set(old: &Old, reshape: Reshape) -> Result<Stage> {
        let program = build()?;
        let folder = TempDir::with_prefix("contraflow-bench-")?;
        let rows = old.make(&folder.path().join(OLD_FILE))?;
        fs::write(folder.path().join(CHANGE_FILE), reshape.change())?;
        Ok(Stage {
            folder,
            program,
            reshape,
            rows,
            new_table: String::new(),
        })
    }

    /// Copies with our program.
    pub(super) fn ours(&self) -> Result<Copied> {
        let run = self.start()?;
        let moments = run.wait_copied()?;
        let usage = run.usage()?;
        self.strike(run)?;
        Ok(self.copied(moments, usage.cpu, usage.memory_mib))
    }

    /// Lets the peer copy; its file stays.
    pub(super) fn peer_stays(&self) -> Result<()> {
        part::copy(self).map(drop)
    }

    /// Copies with one statement across attached files.
    pub(super) fn peer(&self) -> Result<Copied> {
        let done = part::copy(self)?;
        remove_database(&self.path(PEER_FILE))?;
        Ok(self.copied(done.time, done.cpu, done.memory_mib))
    }

    fn copied(&self, time: Duration, cpu: Duration, memory_mib: f64) -> Copied {
        let rows = self.rows as f64;
        Copied {
            rows_per_s: rows / time.as_secs_f64(),
            rows_per_cpu_s: rows / cpu.as_secs_f64(),
            memory_mib,
        }
    }

    /// Starts our program on the change.
    pub(super) fn start(&self) -> Result<Run> {
        Run::start(&self.program, self.folder.path(), CHANGE)
    }

    /// Runs a verb of our program to its end.
    pub(super) fn verb(&self, args: &[&str]) -> Result<String> {
        verb(&self.program, self.folder.path(), args)
    }

    /// Lets the application update half of its rows in one transaction; says how long that took.
    pub(super) fn move_half(&self) -> Result<Duration> {
        let app = open(&self.path(OLD_FILE))?;
        let watch = Stopwatch::start();
        let sql = "update phonebook set city = 'moved' where id <= ?1";
        let updated = app.execute(sql, [self.half()])?;
        ensure!(updated as u64 == self.half(), "rows were lost");
        Ok(watch.read())
    }

    /// Waits until that has arrived; says how long it took.
    pub(super) fn wait_moved(&self, run: &Run) -> Result<Duration> {
        let watch = Stopwatch::start();
        let mirror = open(&self.path(NEW_FILE))?;
        // Changes arrive in the order of the application.
        let sql = "select city = 'moved' from contacts where id = ?1";
        while !mirror.query_row(sql, [self.half()], |row| row.get::<_, bool>(0))? {
            ensure!(watch.read() < PATIENCE, "the transaction does not arrive");
            run.usage()?;
            shell::pause(LOOK);
        }
        Ok(watch.read())
    }

    fn half(&self) -> u64 {
        (self.rows / 2).max(1)
    }

    /// Gives up the change, so that the old file is as it was, and removes the new one.
    pub(super) fn strike(&self, run: Run) -> Result<()> {
        self.verb(&["abort", "--yes"])?;
        run.wait_end()?;
        remove_database(&self.path(NEW_FILE))?;
        remove_database(&self.path(PEER_FILE))?;
        fs::remove_dir_all(self.path(LEDGER_FOLDER)).context("cannot remove the ledger")
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether both ends hold the same rows, by values in order of the key. Only for a change
    /// that renames.
    pub(super) fn ends_agree(&self) -> Result<bool> {
        let (old, new) = (open(&self.path(OLD_FILE))?, open(&self.path(NEW_FILE))?);
        phonebook::same(&old, &new, "phonebook", "contacts")
    }
}

/// Opens a file as an application does.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let db = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    db.busy_timeout(BUSY_WAIT)?;
    Ok(db)
}

/// Longer than anybody holds a lock.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// Removes a database with what lies beside it.
fn remove_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if let Err(error) = fs::remove_file(&name)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            bail!("cannot remove {}: {error}", path.display());
        }
    }
    Ok(())
}
