//! The stage of a benchmark over PostgreSQL: a server with an application's old table, our program
//! run over it, and the peer's table.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres::Client;
use tempfile::TempDir;

use super::people::{self, AS_IS, NEW_TABLE, OLD_TABLE, PEER_TABLE, Reshape};
use super::server::Server;
use crate::bench::frame::Plan;
use crate::bench::stage::process::{Run, build, verb};
use crate::bench::stage::{CHANGE_FILE, LEDGER_FOLDER};
use crate::shell::{self, Stopwatch};

/// Large enough that the start of a process is nothing beside it.
const ROWS: u64 = 2_000_000;
/// The name of the change.
const CHANGE: &str = "people";
/// The databases: the old end, the new one, and the peer's.
pub(super) const OLD: &str = "app";
pub(super) const NEW: &str = "app_v2";
pub(super) const PEER: &str = "peer";
/// Longer than it takes to follow anything here.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often the new end is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// The database that is always there.
const ADMIN: &str = "postgres";

/// What one copy took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub(super) rows_per_s: f64,
    /// The most memory that its processes ever held; nothing of the server's.
    pub(super) memory_mib: f64,
}

/// A server on which ours and the peer run in turns.
pub(super) struct Stage {
    server: Server,
    /// Where the new end and the peer's lie, when they are not beside the old one.
    far: Option<Server>,
    cores: Cores,
    program: PathBuf,
    reshape: Reshape,
    rows: u64,
    /// Goes when the server has ended.
    folder: TempDir,
}

/// Cores of the application and the old end, and of the new end and our program.
#[derive(Default)]
struct Cores {
    near: Option<String>,
    far: Option<String>,
}

impl Stage {
    /// Starts the server, makes the old table and the change, and runs nothing yet.
    pub(super) fn raise(reshape: Reshape, plan: Plan) -> Result<Stage> {
        Stage::of(reshape, plan, Cores::default(), false)
    }

    /// The same, with the new end and the peer's in a server of their own.
    pub(super) fn raise_between(reshape: Reshape, plan: Plan) -> Result<Stage> {
        Stage::of(reshape, plan, Cores::default(), true)
    }

    /// The same, with the new end in a server of its own and our program beside that one: as on
    /// two machines, of which the application and its server have one half of the cores each.
    pub(super) fn raise_apart(reshape: Reshape, plan: Plan) -> Result<Stage> {
        let all = std::thread::available_parallelism()?.get();
        ensure!(all > 1, "two machines need two cores");
        let cores = Cores {
            near: Some(format!("0-{}", all / 2 - 1)),
            far: Some(format!("{}-{}", all / 2, all - 1)),
        };
        Stage::of(reshape, plan, cores, true)
    }

    fn of(reshape: Reshape, plan: Plan, cores: Cores, between: bool) -> Result<Stage> {
        let rows = plan.records_or(ROWS);
        ensure!(rows > 1, "a table of one row measures nothing");
        let program = build()?;
        let folder = TempDir::with_prefix("contraflow-bench-")?;
        let server = Server::start(&folder.path().join("near"), cores.near.as_deref())?;
        let far = between.then(|| Server::start(&folder.path().join("far"), cores.far.as_deref()));
        let stage = Stage {
            server,
            far: far.transpose()?,
            cores,
            program,
            reshape,
            rows,
            folder,
        };
        let mut admin = stage.connect(ADMIN)?;
        let version: String = admin.query_one("show server_version", &[])?.get(0);
        shell::note(&format!("PostgreSQL {version}, {rows} rows"));
        for database in [OLD, NEW, PEER] {
            stage.empty(database)?;
        }
        let mut old = stage.connect(OLD)?;
        old.batch_execute(&people::create(OLD_TABLE))?;
        old.batch_execute(&people::fill(rows))?;
        old.batch_execute(&format!("vacuum analyze {OLD_TABLE}"))?;
        stage.write_change(reshape)?;
        Ok(stage)
    }

    fn write_change(&self, reshape: Reshape) -> Result<()> {
        // Where the application has a machine of its own, it is what counts.
        let limits = match self.cores.near {
            Some(_) => "{}",
            None => "{ copy_share_percent: 100 }",
        };
        let text = reshape.change(CHANGE, &self.url(OLD), &self.url(NEW), limits);
        fs::write(self.folder.path().join(CHANGE_FILE), text).context("cannot write the change")
    }

    /// Copies with our program.
    pub(super) fn ours(&self) -> Result<Copied> {
        self.settle()?;
        let run = self.start()?;
        let copied = self.copied(&run)?;
        self.strike(run)?;
        Ok(copied)
    }

    /// Waits until a run has copied history, and says what that took.
    pub(super) fn copied(&self, run: &Run) -> Result<Copied> {
        let time = run.wait_copied()?;
        Ok(Copied {
            rows_per_s: self.rows as f64 / time.as_secs_f64(),
            memory_mib: run.usage()?.memory_mib,
        })
    }

    /// Starts our program on the change.
    pub(super) fn start(&self) -> Result<Run> {
        Run::start_on(self.far(), &self.program, self.folder(), CHANGE)
    }

    /// Runs a verb of our program to its end.
    pub(super) fn verb(&self, args: &[&str]) -> Result<String> {
        verb(&self.program, self.folder(), args)
    }

    /// Gives up the change, so that the old database is as it was, and empties the new one.
    pub(super) fn strike(&self, run: Run) -> Result<()> {
        self.verb(&["abort", "--yes"])?;
        run.wait_end()?;
        self.empty(NEW)?;
        fs::remove_dir_all(self.folder().join(LEDGER_FOLDER)).context("cannot remove the ledger")
    }

    /// Makes a database anew.
    pub(super) fn empty(&self, database: &str) -> Result<()> {
        let mut admin = self.server_of(database).connect(ADMIN)?;
        admin.batch_execute(&format!("drop database if exists {database} with (force)"))?;
        admin.batch_execute(&format!("create database {database}"))?;
        Ok(())
    }

    /// Writes what earlier runs have left to write, so that nobody pays for another's pages.
    pub(super) fn settle(&self) -> Result<()> {
        for server in std::iter::once(&self.server).chain(&self.far) {
            server.connect(ADMIN)?.batch_execute("checkpoint")?;
        }
        Ok(())
    }

    pub(super) fn url(&self, database: &str) -> String {
        self.server_of(database).url(database)
    }

    /// Where a database lies.
    fn server_of(&self, database: &str) -> &Server {
        let far = self
            .far
            .as_ref()
            .filter(|_| [NEW, PEER].contains(&database));
        far.unwrap_or(&self.server)
    }

    /// Where the application runs.
    pub(super) fn near(&self) -> Option<&str> {
        self.cores.near.as_deref()
    }

    /// Where who reads the application's log runs.
    pub(super) fn far(&self) -> Option<&str> {
        self.cores.far.as_deref()
    }

    pub(super) fn connect(&self, database: &str) -> Result<Client> {
        self.server_of(database).connect(database)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the new end holds what the mapping makes of the old one, by plain SQL.
    pub(super) fn ends_agree(&self) -> Result<bool> {
        let [old, new] = self.reshape.columns();
        let old = self.digest(OLD, &people::digest(old, OLD_TABLE))?;
        Ok(old == self.digest(NEW, &people::digest(new, NEW_TABLE))?)
    }

    /// Whether a table of the peer's database holds what the old end holds.
    pub(super) fn peer_agrees(&self, table: &str) -> Result<bool> {
        let old = self.digest(OLD, &people::digest(AS_IS, OLD_TABLE))?;
        Ok(old == self.digest(PEER, &people::digest(AS_IS, table))?)
    }

    fn digest(&self, database: &str, sql: &str) -> Result<String> {
        let row = self.connect(database)?.query_one(sql, &[])?;
        Ok(row.try_get(0)?)
    }

    /// Makes the peer's table anew, with its key.
    pub(super) fn clear_peer(&self) -> Result<()> {
        let sql = people::create(PEER_TABLE);
        self.connect(PEER)?.batch_execute(&sql)?;
        self.settle()
    }

    /// Waits until a row of the new end answers a condition, and says how long after `since`.
    pub(super) fn arrives(&self, run: &Run, condition: &str, since: &Stopwatch) -> Result<f64> {
        let mut mirror = self.connect(NEW)?;
        let sql = format!("select count(*) from {NEW_TABLE} where {condition}");
        let statement = mirror.prepare(&sql)?;
        while mirror.query_one(&statement, &[])?.get::<_, i64>(0) == 0 {
            ensure!(
                since.read() < PATIENCE,
                "the application's writes do not arrive"
            );
            run.usage()?;
            shell::pause(LOOK);
        }
        Ok(since.read().as_secs_f64())
    }
}
