//! Cutovers and rollbacks in turns under eight writers: for how long writes are refused, beside
//! how long the same writes take while nothing turns.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::people::Reshape;
use super::stage::Stage;
use super::writers::{Write, Writers};
use crate::bench::frame::{Measure, Plan, measure as figure, median, quantile, quantiles};
use crate::shell::{self, Stopwatch};

const WRITERS: u64 = 8;
/// A window in which writes are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows without our program.
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

/// What they did in the windows of each kind.
struct Times {
    alone: Vec<Seen>,
    quiet: Vec<Seen>,
    turns: Vec<Seen>,
    took_ms: Vec<f64>,
}

/// Refusals per turn in milliseconds, and writes per second.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let stage = Stage::raise(Reshape::Rename, plan)?;
    let (run, times) = Writers::during(&stage, WRITERS, |writers| {
        shell::pause(WINDOW);
        let alone = (0..WINDOWS).map(|_| window(writers)).collect();
        let run = stage.start()?;
        run.wait_copied()?;
        let (mut quiet, mut turns, mut took_ms) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..plan.runs {
            quiet.push(window(writers));
            let verb = if i % 2 == 0 { "cutover" } else { "rollback" };
            writers.take();
            let watch = Stopwatch::start();
            let turned_ms = turn(&stage, verb)?;
            took_ms.push(turned_ms);
            shell::pause(SETTLE);
            let seen = seen(writers.take(), watch.read());
            let longest = longest_refused(&seen);
            shell::note(&format!(
                "{verb}: {turned_ms:.0} ms, the longest refused write {longest:.1} ms"
            ));
            turns.push(seen);
        }
        let times = Times {
            alone,
            quiet,
            turns,
            took_ms,
        };
        Ok((run, times))
    })?;
    stage.verb(&["verify"])?;
    ensure!(stage.ends_agree()?, "the ends differ");
    drop(run);
    measures(&times)
}

fn window(writers: &Writers) -> Seen {
    writers.take();
    let watch = Stopwatch::start();
    shell::pause(WINDOW);
    let time = watch.read();
    seen(writers.take(), time)
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

/// From the first try to the acceptance, of the writes that were refused on the way or not.
fn took(seen: &Seen, was_refused: bool) -> Vec<f64> {
    let writes = seen.writes.iter();
    let of_kind = writes.filter(|write| write.was_refused == was_refused);
    of_kind.map(|write| write.took_ms).collect()
}

fn longest_refused(seen: &Seen) -> f64 {
    took(seen, true).into_iter().fold(0.0, f64::max)
}

fn measures(times: &Times) -> Result<Vec<Measure>> {
    let Times {
        alone,
        quiet,
        turns,
        took_ms,
    } = times;
    let refused: Vec<f64> = turns.iter().flat_map(|seen| took(seen, true)).collect();
    let others: Vec<f64> = turns.iter().flat_map(|seen| took(seen, false)).collect();
    let usual: Vec<f64> = quiet.iter().flat_map(|seen| took(seen, false)).collect();
    ensure!(!refused.is_empty(), "no write was refused");
    let longest: Vec<f64> = turns.iter().map(longest_refused).collect();
    shell::note(&format!(
        "a turn took {:.0} ms, compare included; {} writes were refused in {} turns; of the {} \
         others at the time the longest took {:.1} ms; {} writes between them",
        median(took_ms),
        refused.len(),
        turns.len(),
        others.len(),
        quantile(&others, 1.0),
        usual.len(),
    ));
    let names = [
        ("pg-cutover.refused.p50", 0.5),
        ("pg-cutover.refused.p99", 0.99),
        ("pg-cutover.refused.max", 1.0),
    ];
    let mut measures = quantiles(names, &refused, &usual, &longest);
    for (name, ours, peer) in [
        ("pg-cutover.writes.follow", quiet, alone),
        ("pg-cutover.writes.turns", turns, quiet),
    ] {
        let rates = |seen: &[Seen]| seen.iter().map(|seen| seen.per_s).collect::<Vec<_>>();
        let pairs: Vec<_> = rates(ours).into_iter().zip(rates(peer)).collect();
        measures.push(figure(name, "writes/s", &pairs, |rate| *rate));
    }
    Ok(measures)
}
