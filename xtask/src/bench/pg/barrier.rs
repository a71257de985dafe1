//! How long a read waits until what the log has shown is visible, while the application writes.
//!
//! Ours is a read of no row behind the barrier, with the mark in the log that follows it; the peer
//! is the same read by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contraflow_core::clock::Clock;
use contraflow_core::end::{End, Feed, Lookup, Remove, Role, Start, Table};
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::position::Position;
use contraflow_core::probe::Silent;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;
use contraflow_ends::postgres::Postgres;

use super::people::OLD_TABLE;
use super::stage::{OLD, Stage};
use crate::bench::frame::{Measure, Plan, quantiles};
use crate::shell::{self, Stopwatch};

/// The pause between two reads.
const BETWEEN: Duration = Duration::from_millis(5);
/// Events per batch, as the flow takes them.
const EVENTS: usize = 4_000;

/// Time since it was made.
struct Since(Stopwatch);

impl Clock for Since {
    fn unix_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.0.read()
    }

    fn sleep(&self, time: Duration) {
        shell::pause(time);
    }
}

/// Milliseconds while `load` runs, as often as there are runs.
pub(super) fn measure(
    stage: &Stage,
    plan: Plan,
    load: impl Fn() -> Result<()>,
) -> Result<Vec<Measure>> {
    let clock = Arc::new(Since(Stopwatch::start()));
    let end = Postgres::new(&stage.url(OLD), clock, Arc::new(Silent));
    let role = Arc::new(role(&end)?);
    let face = "the end has every face";
    let mut structure = end.structure(&role).context(face)?;
    structure.expand(&Standing {
        gate: Gate::Open,
        epoch: Epoch::FIRST,
        ledger: "bench".to_owned(),
        mapping: "none".to_owned(),
    })?;
    let mut feed = end.feed(&role).context(face)?;
    feed.open(&Start::Earliest)?;
    let received = Mutex::new(feed.received());
    let (mut ours, mut peers, mut longest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let mut reads = [
            end.lookup(&role).context(face)?,
            end.lookup(&role).context(face)?,
        ];
        let over = AtomicBool::new(false);
        let [behind, bare] = std::thread::scope(|scope| {
            let reader = scope.spawn(|| times(&mut reads, &received, &over));
            let follower = scope.spawn(|| follow(feed.as_mut(), &received, &over));
            let done = load();
            over.store(true, Ordering::Release);
            follower
                .join()
                .map_err(|_| anyhow!("the follower died"))??;
            let times = reader.join().map_err(|_| anyhow!("the reader died"))?;
            done.and(times)
        })?;
        longest.push(behind.iter().copied().fold(0.0, f64::max));
        ours.extend(behind);
        peers.extend(bare);
    }
    drop(feed);
    structure.remove(Remove::Bookkeeping)?;
    let names = [
        ("pg-overhead.barrier.p50", 0.5),
        ("pg-overhead.barrier.p99", 0.99),
        ("pg-overhead.barrier.max", 1.0),
    ];
    Ok(quantiles(names, &ours, &peers, &longest))
}

fn role(end: &Postgres) -> Result<Role> {
    let found = end.inspect(OLD_TABLE, &["id".to_owned()])?;
    let shape = found.context("the old table is there")?.shape;
    Ok(Role {
        change: "barrier".to_owned(),
        side: Side::Old,
        tables: vec![Table {
            name: OLD_TABLE.to_owned(),
            native: vec![true; shape.fields.len()],
            declared: vec![None; shape.fields.len()],
            shape,
            created: false,
        }],
    })
}

fn follow(feed: &mut dyn Feed, received: &Mutex<Position>, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Acquire) {
        let through = feed.next(EVENTS)?.through;
        *received.lock().unwrap_or_else(PoisonError::into_inner) = through.clone();
        feed.confirm(&through)?;
    }
    Ok(())
}

/// Behind the barrier and without one, in turns.
fn times(
    [behind, bare]: &mut [Box<dyn Lookup>; 2],
    received: &Mutex<Position>,
    over: &AtomicBool,
) -> Result<[Vec<f64>; 2]> {
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Acquire) {
        let at = received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ours.push(read(behind.as_mut(), &at)?);
        peers.push(read(bare.as_mut(), &Position::new([]))?);
        shell::pause(BETWEEN);
    }
    Ok([ours, peers])
}

fn read(lookup: &mut dyn Lookup, at: &Position) -> Result<f64> {
    let watch = Stopwatch::start();
    lookup.get(PairId(0), &[], at)?;
    Ok(watch.read().as_secs_f64() * 1_000.0)
}
