//! For how long at a time a file's write lock is taken while history is copied into it, seen by an
//! observer that shares nothing with our program but the file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::frame::{Measure, Plan, median, quantile};
use super::stage::{self, NEW_FILE, Old, PEER_FILE, Reshape, Stage};
use crate::shell::{self, Stopwatch};

const ROWS: u64 = 1_000_000;
/// Between two tries of the observer: what a figure may be short or long by.
const LOOK: Duration = Duration::from_micros(200);
/// The name of the lane's table: its sequence tells one transaction of ours from the next.
const LANE: &str = "_contraflow_phonebook_new_lane";

/// Milliseconds of each transaction.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let old = Old {
        rows: stage::rows_or(ROWS)?,
        huge: 0,
    };
    let stage = Stage::raise(&old, Reshape::Rename)?;
    let (mut ours, mut peers, mut longest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let (run, seen) = watched(&stage.path(NEW_FILE), || {
            let run = stage.start()?;
            run.wait_copied()?;
            Ok(run)
        })?;
        stage.strike(run)?;
        longest.push(quantile(&seen, 1.0));
        ours.extend(seen);
        let (_, seen) = watched(&stage.path(PEER_FILE), || stage.peer())?;
        peers.extend(seen);
    }
    ensure!(!ours.is_empty() && !peers.is_empty(), "no lock was seen");
    let long = ours.iter().filter(|&&ms| ms > 20.0).count();
    shell::note(&format!(
        "{} transactions of ours were seen, {long} of them longer than 20 ms",
        ours.len()
    ));
    let spread = (quantile(&longest, 0.75) - quantile(&longest, 0.25)) / median(&longest);
    let held = |(name, share): (&'static str, f64)| {
        let (ours, peer) = (quantile(&ours, share), quantile(&peers, share));
        Measure {
            name,
            ours,
            peer,
            unit: "ms",
            ratio: ours / peer,
            runs: plan.runs,
            spread,
        }
    };
    Ok([
        ("sqlite-held.p50", 0.5),
        ("sqlite-held.p99", 0.99),
        ("sqlite-held.max", 1.0),
    ]
    .map(held)
    .into())
}

/// Does something, and says for how long the lock of a file was taken at a time meanwhile.
fn watched<T: Send>(file: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<(T, Vec<f64>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let observer = scope.spawn(|| observe(file, &over));
        let done = work();
        over.store(true, Ordering::Release);
        let seen = observer
            .join()
            .map_err(|_| anyhow::anyhow!("the observer died"))?;
        Ok((done?, seen?))
    })
}

fn observe(file: &Path, over: &AtomicBool) -> Result<Vec<f64>> {
    let watch = Stopwatch::start();
    let ms = || watch.read().as_secs_f64() * 1_000.0;
    let (mut seen, mut taken, mut db): (Vec<f64>, Option<(f64, u64)>, _) = (Vec::new(), None, None);
    while !over.load(Ordering::Acquire) {
        shell::pause(LOOK);
        let Some(db) = db.as_ref() else {
            db = opened(file);
            continue;
        };
        let now = ms();
        if is_free(db)? {
            seen.extend(taken.take().map(|(since, _)| ms() - since));
            continue;
        }
        let sequence = sequence(db);
        match taken {
            Some((_, before)) if before == sequence => {}
            Some((since, _)) => {
                seen.push(now - since);
                taken = Some((now, sequence));
            }
            None => taken = Some((now, sequence)),
        }
    }
    Ok(seen)
}

/// The file, once it is there and in the mode in which it stays.
fn opened(file: &Path) -> Option<Connection> {
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    db.busy_timeout(Duration::ZERO).ok()?;
    let mode: String = db
        .query_row("pragma journal_mode", [], |row| row.get(0))
        .ok()?;
    (mode == "wal").then_some(db)
}

fn is_free(db: &Connection) -> Result<bool> {
    match db.execute_batch("begin immediate; rollback") {
        Ok(()) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
        Err(error) => Err(error).context("the observer cannot look"),
    }
}

/// How many transactions of ours were committed; nothing else moves it.
fn sequence(db: &Connection) -> u64 {
    let sql = format!("select coalesce(sum(sequence), 0) from {LANE}");
    db.query_row(&sql, [], |row| row.get(0)).unwrap_or(0)
}
