//! Cutovers and rollbacks in turns under writer processes: for how long writes are refused,
//! beside how long the same writes take while nothing turns.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::frame::{Measure, Plan, measure as figure, median, quantiles};
use super::stage::part::writer::{Write, Writers};
use super::stage::{Old, Reshape, Stage};
use crate::shell::{self, Stopwatch};

const ROWS: u64 = 100_000;
const WRITERS: usize = 4;
/// A window in which writes are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows without our program, and windows after the last turn.
const WINDOWS: usize = 5;
/// After a turn, until every write that it refused was accepted and told.
const SETTLE: Duration = Duration::from_millis(300);
/// A turn that the gates refuse is asked for again.
const TRIES: usize = 10;

/// What the writers did in one window.
struct Seen {
    writes: Vec<Write>,
    per_s: f64,
}

/// Refusals per turn in milliseconds, and writes per second.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let rows = plan.records_or(ROWS);
    let stage = Stage::set(&Old { rows, huge: 0 }, Reshape::Rename)?;
    let mut writers = Writers::start(&stage, WRITERS)?;
    shell::pause(WINDOW);
    writers.take()?;
    let alone = windows(&mut writers)?;
    let run = stage.start()?;
    run.wait_copied()?;
    let (mut quiet, mut turns, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..plan.runs {
        writers.take()?;
        quiet.push(window(&mut writers)?);
        let verb = if i % 2 == 0 { "cutover" } else { "rollback" };
        writers.take()?;
        let watch = Stopwatch::start();
        times.push(turn(&stage, verb)?);
        shell::pause(SETTLE);
        turns.push(seen(writers.take()?, watch.read()));
    }
    let after = windows(&mut writers)?;
    writers.end()?;
    stage.verb(&["verify"])?;
    ensure!(stage.ends_agree()?, "the ends differ");
    drop(run);
    let took = median(&times);
    shell::note(&format!("a turn took {took:.0} ms, compare included"));
    Ok(measures(&alone, &quiet, &turns, &after))
}

fn windows(writers: &mut Writers) -> Result<Vec<Seen>> {
    writers.take()?;
    (0..WINDOWS).map(|_| window(writers)).collect()
}

fn window(writers: &mut Writers) -> Result<Seen> {
    let watch = Stopwatch::start();
    shell::pause(WINDOW);
    let time = watch.read();
    Ok(seen(writers.take()?, time))
}

fn seen(writes: Vec<Write>, time: Duration) -> Seen {
    let per_s = writes.len() as f64 / time.as_secs_f64();
    Seen { writes, per_s }
}

/// One turn, and how long the verb took in milliseconds.
fn turn(stage: &Stage, verb: &str) -> Result<f64> {
    for _ in 1..TRIES {
        let watch = Stopwatch::start();
        match stage.verb(&[verb]) {
            Ok(_) => return Ok(watch.read().as_secs_f64() * 1_000.0),
            Err(refused) => shell::note(&format!("{refused:#}")),
        }
        shell::pause(WINDOW);
    }
    let watch = Stopwatch::start();
    stage.verb(&[verb])?;
    Ok(watch.read().as_secs_f64() * 1_000.0)
}

fn measures(alone: &[Seen], quiet: &[Seen], turns: &[Seen], after: &[Seen]) -> Vec<Measure> {
    let refused = |seen: &Seen| -> Vec<f64> {
        let writes = seen.writes.iter();
        writes.filter_map(|write| write.refused_ms).collect()
    };
    let all: Vec<f64> = turns.iter().flat_map(refused).collect();
    let took: Vec<f64> = quiet
        .iter()
        .flat_map(|seen| seen.writes.iter().map(|write| write.took_ms))
        .collect();
    let longest: Vec<f64> = turns
        .iter()
        .map(|seen| refused(seen).into_iter().fold(0.0, f64::max))
        .collect();
    let (count, writes) = (all.len(), took.len());
    shell::note(&format!(
        "{count} writes were refused in {} turns; {writes} writes between them",
        turns.len()
    ));
    let names = [
        ("sqlite-cutover.refused.p50", 0.5),
        ("sqlite-cutover.refused.p99", 0.99),
        ("sqlite-cutover.refused.max", 1.0),
    ];
    let mut measures = quantiles(names, &all, &took, &longest);
    for (name, ours, peer) in [
        ("sqlite-cutover.writes.follow", quiet, alone),
        ("sqlite-cutover.writes.turns", turns, quiet),
        ("sqlite-cutover.writes.after", after, alone),
    ] {
        let rates = |seen: &[Seen]| seen.iter().map(|seen| seen.per_s).collect::<Vec<_>>();
        let pairs: Vec<_> = rates(ours).into_iter().zip(rates(peer)).collect();
        measures.push(figure(name, "writes/s", &pairs, |rate| *rate));
    }
    measures
}
