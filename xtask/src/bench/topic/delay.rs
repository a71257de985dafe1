//! How old records are when a reader of the new topic sees them, while the change follows a
//! producer of 5 000 records per second; beside a reader of the old topic.

use std::time::Duration;

use anyhow::Result;

use super::cluster::Cluster;
use super::people::{Form, Person};
use super::stage::Stage;
use super::writer::{self, Load};
use crate::bench::frame::{Measure, Plan, quantile, quantiles};
use crate::shell;

/// Records that are there before.
const RECORDS: u64 = 100_000;
const BYTES: usize = 200;
/// For how long the producer writes.
const TIME: Duration = Duration::from_secs(20);

/// Milliseconds. The first window does not count.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let cluster = Cluster::start()?;
    let stage = Stage::raise(&cluster, Form::Json, (plan.records_or(RECORDS), BYTES))?;
    let ours = stage.start()?;
    stage.copied(&ours)?;
    let person = Person::of_number(1, BYTES);
    let load = Load {
        topic: stage.old(),
        value: &person.old,
        time: TIME,
    };
    let (mut mirror, mut authority, mut longest) = (Vec::new(), Vec::new(), Vec::new());
    for window in 0..=plan.runs {
        let topics = [&*ours.new, stage.old()];
        let ([new, old], ()) = writer::write(&cluster, load, topics, || Ok(()))?;
        let p99 = quantile(&new, 0.99);
        shell::note(&format!("{} records, p99 {p99:.0} ms", new.len()));
        if window > 0 {
            longest.push(quantile(&new, 1.0));
            mirror.extend(new);
            authority.extend(old);
        }
    }
    stage.verb(&["verify"])?;
    stage.strike(ours)?;
    let names = [
        ("topic-delay.p50", 0.5),
        ("topic-delay.p99", 0.99),
        ("topic-delay.max", 1.0),
    ];
    Ok(quantiles(names, &mirror, &authority, &longest))
}
