//! The programs that stand beside ours: `psql`, `pgbench` and `pg_recvlogical` of the server's
//! package, and `pgcopydb` where it is installed.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::people::{self, OLD_TABLE, PEER_TABLE};
use super::stage::{Copied, OLD, PEER, Stage};
use crate::bench::stage::process::Usage;
use crate::shell::{self, Stopwatch};

/// Where Debian keeps the programs of each version; its commands elsewhere are wrappers.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How often a peer is looked at: its peak of memory is gone when it has ended.
const LOOK: Duration = Duration::from_millis(2);
/// The slot and the publication of the peer that reads the log.
const SLOT: &str = "bench_peer";

/// A program of the newest version that is installed.
fn program(name: &str) -> Command {
    let folders = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = folders
        .filter_map(|folder| {
            let version: u32 = folder.file_name().to_str()?.parse().ok()?;
            Some((version, folder.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.is_file())
        .max();
    Command::new(newest.map_or_else(|| PathBuf::from(name), |(_, path)| path))
}

/// Waits until all have ended well, and says how long after `watch` and their peaks of memory.
fn ended(watch: &Stopwatch, children: &mut [(&str, Child)]) -> Result<(Duration, f64)> {
    let mut peaks = vec![0.0_f64; children.len()];
    let mut open = children.len();
    while open > 0 {
        shell::pause(LOOK);
        open = 0;
        for ((name, child), peak) in children.iter_mut().zip(&mut peaks) {
            // One that has just ended has no memory to tell of.
            if let Ok(usage) = Usage::of(&child.id().to_string()) {
                *peak = peak.max(usage.memory_mib);
            }
            match child.try_wait()? {
                None => open += 1,
                Some(status) => ensure!(status.success(), "{name} failed"),
            }
        }
    }
    Ok((watch.read(), peaks.iter().sum()))
}

/// Copies the old table as it is, from `psql` to `psql`, into a table that has its key.
pub(super) fn copy(stage: &Stage) -> Result<Copied> {
    stage.clear_peer()?;
    let psql = |database: &str, sql: &str| {
        let mut command = program("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"]);
        command.arg(stage.url(database)).args(["-c", sql]);
        command
    };
    let watch = Stopwatch::start();
    let mut from = psql(OLD, &format!("copy {OLD_TABLE} to stdout"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start psql")?;
    let rows = from.stdout.take().context("stdout is piped")?;
    let to = psql(PEER, &format!("copy {PEER_TABLE} from stdin"))
        .stdin(Stdio::from(rows))
        .spawn()
        .context("cannot start psql")?;
    let (time, memory_mib) = ended(&watch, &mut [("psql", from), ("psql", to)])?;
    Ok(Copied {
        rows_per_s: stage.rows() as f64 / time.as_secs_f64(),
        memory_mib,
    })
}

/// What `pgcopydb` says of its version, where it is installed.
pub(super) fn pgcopydb_version() -> Option<String> {
    let said = Command::new("pgcopydb").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

/// Copies the old table as it is with `pgcopydb`, into a table that has its key.
pub(super) fn pgcopydb(stage: &Stage) -> Result<Copied> {
    stage.empty(PEER)?;
    let table = people::create(OLD_TABLE);
    stage.connect(PEER)?.batch_execute(&table)?;
    stage.settle()?;
    let said = fs::File::create(stage.folder().join("pgcopydb.log"))?;
    let mut command = Command::new("pgcopydb");
    command.args(["copy", "table-data", "--restart", "--table-jobs", "2"]);
    command.arg("--dir").arg(stage.folder().join("pgcopydb"));
    command.args(["--source", &stage.url(OLD), "--target", &stage.url(PEER)]);
    command.stdin(Stdio::null()).stdout(said.try_clone()?);
    let watch = Stopwatch::start();
    let child = command.stderr(said).spawn()?;
    let (time, memory_mib) = ended(&watch, &mut [("pgcopydb", child)])?;
    Ok(Copied {
        rows_per_s: stage.rows() as f64 / time.as_secs_f64(),
        memory_mib,
    })
}

/// Keeps the log of the old table for the peer from now on.
pub(super) fn keep_log(stage: &Stage) -> Result<()> {
    let mut old = stage.connect(OLD)?;
    old.batch_execute(&format!("create publication {SLOT} for table {OLD_TABLE}"))?;
    let sql = format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
    old.batch_execute(&sql)?;
    Ok(())
}

/// Lets the server forget what it kept for the peer.
pub(super) fn drop_log(stage: &Stage) -> Result<()> {
    let mut old = stage.connect(OLD)?;
    // Its sender may not have noticed yet that nobody reads.
    old.batch_execute(&format!(
        "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots
         where slot_name = '{SLOT}' and active_pid is not null"
    ))?;
    old.batch_execute(&format!("select pg_drop_replication_slot('{SLOT}')"))?;
    old.batch_execute(&format!("drop publication {SLOT}"))?;
    Ok(())
}

/// Reads the log up to a place to nowhere, and says how long that took and its peak of memory.
pub(super) fn read_log(stage: &Stage, end: &str) -> Result<(Duration, f64)> {
    let watch = Stopwatch::start();
    let child = reader(stage, &["-E", end])?;
    ended(&watch, &mut [("pg_recvlogical", child)])
}

/// Has the log of the old table read to nowhere while something is done.
pub(super) fn while_read<T>(stage: &Stage, work: impl FnOnce() -> Result<T>) -> Result<T> {
    keep_log(stage)?;
    let mut child = reader(stage, &[])?;
    let done = work();
    ensure!(child.try_wait()?.is_none(), "pg_recvlogical has ended");
    child.kill()?;
    child.wait()?;
    drop_log(stage)?;
    done
}

fn reader(stage: &Stage, more: &[&str]) -> Result<Child> {
    let mut command = shell::on(stage.far(), program("pg_recvlogical").get_program());
    command.args(["-d", &stage.url(OLD), "-S", SLOT, "--start", "--no-loop"]);
    command.args(["-f", "/dev/null", "-o", "proto_version=1", "-o"]);
    command.arg(format!("publication_names={SLOT}")).args(more);
    let child = command.stdin(Stdio::null()).spawn();
    child.context("cannot start pg_recvlogical")
}

/// Makes the tables of `pgbench` in the old database.
pub(super) fn pgbench_tables(stage: &Stage, scale: u32) -> Result<()> {
    let mut command = program("pgbench");
    command.args(["-i", "-q", "-s", &scale.to_string()]);
    let done = command.arg(stage.url(OLD)).output();
    let done = done.context("cannot start pgbench")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "pgbench says: {said}");
    Ok(())
}

/// Transactions per second of `pgbench` at the old end, with this script.
pub(super) fn pgbench(stage: &Stage, script: &str, clients: u32, time: Duration) -> Result<f64> {
    let file = stage.folder().join("pgbench.sql");
    fs::write(&file, script)?;
    let mut command = shell::on(stage.near(), program("pgbench").get_program());
    command.args(["-n", "-M", "prepared", "-j", "2"]);
    command.args(["-c", &clients.to_string()]);
    command.args(["-T", &time.as_secs().to_string()]);
    command.arg("-f").arg(&file).arg(stage.url(OLD));
    let done = command.output().context("cannot start pgbench")?;
    let text = String::from_utf8_lossy(&done.stdout);
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "pgbench says: {text}{said}");
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.and_then(|rest| rest.split_whitespace().next());
    tps.context("pgbench tells no tps")?
        .parse()
        .context("pgbench tells no number")
}
