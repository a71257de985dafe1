//! For how long at a time the write lock of a file is taken: while history is copied, while changes
//! follow, and when the old table goes. Seen by an observer that shares nothing with our program
//! but the file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::frame::{Measure, Plan, quantile, quantiles};
use super::stage::{self, NEW_FILE, OLD_FILE, Old, PEER_FILE, Reshape, Stage};
use crate::shell::{self, Stopwatch};

const ROWS: u64 = 1_000_000;
/// Between two tries of the observer: what a figure may be short or long by.
const LOOK: Duration = Duration::from_micros(200);
/// What an application is promised, in milliseconds.
const PROMISED: f64 = 20.0;

/// Milliseconds of each transaction, ours and the peer's, and the longest of ours in each run.
#[derive(Default)]
struct Held {
    ours: Vec<f64>,
    peers: Vec<f64>,
    longest: Vec<f64>,
}

impl Held {
    fn add(&mut self, ours: Vec<f64>, peers: Vec<f64>) {
        self.longest.push(quantile(&ours, 1.0));
        self.ours.extend(ours);
        self.peers.extend(peers);
    }
}

/// Milliseconds of each transaction.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let (mut copy, mut follow) = (Held::default(), Held::default());
    let (mut journal, mut contract) = (Held::default(), Held::default());
    for _ in 0..plan.runs {
        let rows = plan.records_or(ROWS);
        let stage = Stage::raise(&Old { rows, huge: 0 }, Reshape::Rename)?;
        let (new, old) = (stage.path(NEW_FILE), stage.path(OLD_FILE));
        let ((), their_copy) = watched(&stage.path(PEER_FILE), || stage.peer_stays())?;
        let theirs = drop_at_once(&stage.path(PEER_FILE))?;
        let (run, ours) = watched(&new, || {
            let run = stage.start()?;
            run.wait_copied()?;
            Ok(run)
        })?;
        copy.add(ours, their_copy);
        let moved = stage.move_half()?.as_secs_f64() * 1_000.0;
        let ((_, in_old), in_new) = watched(&new, || watched(&old, || stage.wait_moved(&run)))?;
        follow.add(in_new, vec![moved]);
        journal.add(in_old, vec![moved]);
        stage.verb(&["cutover"])?;
        let (_, ours) = watched(&old, || stage.verb(&["contract", "--yes"]))?;
        contract.add(ours, vec![theirs]);
        run.wait_end()?;
    }
    let all = [&copy, &follow, &journal, &contract];
    ensure!(
        all.iter().all(|held| !held.ours.is_empty()),
        "no lock was seen"
    );
    let seen = all.iter().flat_map(|held| &held.ours);
    let long = seen.clone().filter(|&&ms| ms > PROMISED).count();
    shell::note(&format!(
        "{} transactions of ours were seen, {long} of them longer than {PROMISED} ms",
        seen.count()
    ));
    let names = [
        ("sqlite-held.copy.p50", 0.5),
        ("sqlite-held.copy.p99", 0.99),
        ("sqlite-held.copy.max", 1.0),
    ];
    let mut measures = quantiles(names, &copy.ours, &copy.peers, &copy.longest);
    for (name, held) in [
        ("sqlite-held.follow.max", &follow),
        ("sqlite-held.journal.max", &journal),
        ("sqlite-held.contract.max", &contract),
    ] {
        measures.extend(quantiles(
            [(name, 1.0)],
            &held.ours,
            &held.peers,
            &held.longest,
        ));
    }
    Ok(measures)
}

/// How long it takes to drop the table by one statement.
fn drop_at_once(file: &Path) -> Result<f64> {
    let db = stage::open(file)?;
    let watch = Stopwatch::start();
    db.execute_batch("drop table contacts")?;
    Ok(watch.read().as_secs_f64() * 1_000.0)
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
    let (mut seen, mut taken, mut open): (Vec<f64>, Option<(f64, u64)>, _) =
        (Vec::new(), None, None);
    while !over.load(Ordering::Acquire) {
        shell::pause(LOOK);
        let Some((asks, reads)) = open.as_ref() else {
            open = opened(file).zip(opened(file));
            continue;
        };
        let now = ms();
        if is_free(asks)? {
            seen.extend(taken.take().map(|(since, _)| ms() - since));
            continue;
        }
        let version = version(reads)?;
        match taken {
            Some((_, before)) if before == version => {}
            // One has ended, and the next has begun before we looked.
            Some((since, _)) => {
                seen.push(now - since);
                taken = Some((now, version));
            }
            None => taken = Some((now, version)),
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

/// Differs after every commit of somebody else.
fn version(db: &Connection) -> Result<u64> {
    Ok(db.query_row("pragma data_version", [], |row| row.get(0))?)
}
