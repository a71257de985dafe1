//! What the application loses: transactions per second of `pgbench` at the old end while history
//! is copied and while it is followed, beside the same without us. The application and its server
//! have cores of their own, as on a machine of their own.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::barrier;
use super::people::{OLD_TABLE, Reshape};
use super::programs;
use super::stage::{OLD, Stage};
use crate::bench::frame::{Measure, Plan, measure as figure, pairs};
use crate::shell::{self, Stopwatch};

const CLIENTS: u32 = 8;
/// For how long `pgbench` writes at a time.
const WINDOW: Duration = Duration::from_secs(15);

/// Transactions per second in two windows: from the start of the copy, and after it.
#[derive(Clone, Copy)]
struct Tps {
    copy: f64,
    follow: f64,
}

/// Transactions per second.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let stage = Stage::raise_apart(Reshape::Rename)?;
    loosen(&stage)?;
    alone(&stage)?;
    let pairs = pairs(plan, || carried(&stage), || alone(&stage))?;
    ensure!(!pairs.is_empty(), "nothing was measured");
    let mut measures = vec![
        figure("pg-overhead.tps", "tps", &pairs, |tps| {
            f64::midpoint(tps.copy, tps.follow)
        }),
        figure("pg-overhead.copy", "tps", &pairs, |tps| tps.copy),
        figure("pg-overhead.follow", "tps", &pairs, |tps| tps.follow),
    ];
    measures.extend(barrier::measure(&stage, plan, || window(&stage).map(drop))?);
    Ok(measures)
}

/// Leaves room in every page, as a table in use has it. Where updates fill a dense table, the
/// first window would be the slowest, whoever has it.
fn loosen(stage: &Stage) -> Result<()> {
    let mut old = stage.connect(OLD)?;
    for sql in [
        format!("alter table {OLD_TABLE} set (fillfactor = 70)"),
        format!("vacuum full {OLD_TABLE}"),
        format!("vacuum analyze {OLD_TABLE}"),
    ] {
        old.batch_execute(&sql)?;
    }
    Ok(())
}

fn window(stage: &Stage) -> Result<f64> {
    stage.settle()?;
    programs::pgbench(stage, CLIENTS, WINDOW)
}

fn alone(stage: &Stage) -> Result<Tps> {
    Ok(Tps {
        copy: window(stage)?,
        follow: window(stage)?,
    })
}

fn carried(stage: &Stage) -> Result<Tps> {
    stage.settle()?;
    let run = stage.start()?;
    let watch = Stopwatch::start();
    let copy = programs::pgbench(stage, CLIENTS, WINDOW)?;
    let window_s = watch.read().as_secs_f64();
    let copied_s = run.wait_copied()?.as_secs_f64();
    shell::note(&format!(
        "history was copied in {copied_s:.1} s, the window took {window_s:.1} s"
    ));
    let follow = window(stage)?;
    stage.strike(run)?;
    Ok(Tps { copy, follow })
}
