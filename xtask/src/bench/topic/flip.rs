//! How long writers pause at the flip: from the moment the old ones have stopped until the new ones
//! may start, less the window in which nothing must come; beside how long the last record of the
//! old ones takes to a reader of the new topic.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cluster::Cluster;
use super::people::{Form, Person};
use super::stage::Stage;
use super::writer::{self, Load};
use crate::bench::frame::{Measure, Plan, summary};
use crate::shell::{self, Stopwatch};

/// Records that are there before.
const RECORDS: u64 = 1_000_000;
const BYTES: usize = 200;
/// For how long the producer has written when it stops.
const TIME: Duration = Duration::from_secs(5);
/// `writers_quiet` of the change, which is not counted.
const WINDOW_MS: f64 = 1_000.0;

/// Milliseconds; each run is a change of its own.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let cluster = Cluster::start()?;
    let mut pairs = Vec::new();
    for _ in 0..plan.runs {
        pairs.push(once(&cluster, plan.records_or(RECORDS))?);
    }
    Ok(vec![summary("topic-flip.pause", "ms", &pairs)])
}

fn once(cluster: &Cluster, records: u64) -> Result<(f64, f64)> {
    let stage = Stage::raise(cluster, Form::Json, (records, BYTES))?;
    let ours = stage.start()?;
    stage.copied(&ours)?;
    stage.verb(&["verify"])?;
    let person = Person::of_number(1, BYTES);
    let load = Load {
        topic: stage.old(),
        value: &person.old,
        time: TIME,
    };
    let topics = [&*ours.new, stage.old()];
    let ([new, _], paused_ms) = writer::write(cluster, load, topics, || {
        let watch = Stopwatch::start();
        stage.verb(&["producer", "stopped"])?;
        let said = watch.read();
        stage.verb(&["cutover"])?;
        stage.verb(&["wait", "--for", "gate=producer-may-switch"])?;
        let paused = watch.read();
        shell::note(&format!(
            "`producer stopped` took {} ms, the rest {} ms",
            said.as_millis(),
            (paused - said).as_millis()
        ));
        Ok(paused.as_secs_f64() * 1_000.0 - WINDOW_MS)
    })?;
    ensure!(paused_ms > 0.0, "the window was not kept");
    stage.verb(&["verify"])?;
    stage.verb(&["contract", "--yes"])?;
    ours.run.wait_end()?;
    cluster.delete(&[&ours.new])?;
    stage.forget()?;
    let last_ms = new.last().context("no record came")?;
    Ok((paused_ms, *last_ms))
}
