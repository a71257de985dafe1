//! History from one topic to another, beside the bare loop and beside MirrorMaker.

use anyhow::Result;

use super::cluster::Cluster;
use super::mirror_maker::{self, Tuning};
use super::people::Form;
use super::stage::{Copied, Stage};
use crate::bench::frame::{Measure, Plan, measure as figure, pairs};

/// Records of 200 bytes, and of one KB: a fifth as many.
const RECORDS: u64 = 5_000_000;
const SMALL: usize = 200;
const LARGE: usize = 1_000;
const FEWER: u64 = 5;

/// Names of a size's figures: beside the bare loop, and beside MirrorMaker in each way.
struct Names {
    bare: [&'static str; 2],
    mirror_makers: &'static [(Tuning, [&'static str; 2])],
}

/// A topic gets another name.
pub(in crate::bench) fn raw(plan: Plan) -> Result<Vec<Measure>> {
    let cluster = Cluster::start()?;
    let small = Names {
        bare: ["topic-copy.200b", "topic-copy.200b.memory"],
        mirror_makers: &[
            (
                Tuning::AsShipped,
                [
                    "topic-copy.200b.mirror-maker",
                    "topic-copy.200b.mirror-maker.memory",
                ],
            ),
            (
                Tuning::Tuned,
                [
                    "topic-copy.200b.mirror-maker-tuned",
                    "topic-copy.200b.mirror-maker-tuned.memory",
                ],
            ),
        ],
    };
    let large = Names {
        bare: ["topic-copy.1kb", "topic-copy.1kb.memory"],
        mirror_makers: &[
            (
                Tuning::AsShipped,
                [
                    "topic-copy.1kb.mirror-maker",
                    "topic-copy.1kb.mirror-maker.memory",
                ],
            ),
            (
                Tuning::Tuned,
                [
                    "topic-copy.1kb.mirror-maker-tuned",
                    "topic-copy.1kb.mirror-maker-tuned.memory",
                ],
            ),
        ],
    };
    both(&cluster, Form::Raw, plan, [small, large])
}

/// A topic of JSON gets another schema.
pub(in crate::bench) fn json(plan: Plan) -> Result<Vec<Measure>> {
    let cluster = Cluster::start()?;
    let [small, large] = [
        ["topic-copy-json.200b", "topic-copy-json.200b.memory"],
        ["topic-copy-json.1kb", "topic-copy-json.1kb.memory"],
    ]
    .map(|bare| Names {
        bare,
        mirror_makers: &[],
    });
    both(&cluster, Form::Json, plan, [small, large])
}

/// A topic of Avro gets another schema.
pub(in crate::bench) fn avro(plan: Plan) -> Result<Vec<Measure>> {
    let cluster = Cluster::start_with_registry()?;
    let [small, large] = [
        ["topic-copy-avro.200b", "topic-copy-avro.200b.memory"],
        ["topic-copy-avro.1kb", "topic-copy-avro.1kb.memory"],
    ]
    .map(|bare| Names {
        bare,
        mirror_makers: &[],
    });
    both(&cluster, Form::Avro, plan, [small, large])
}

fn both(
    cluster: &Cluster,
    form: Form,
    plan: Plan,
    [small, large]: [Names; 2],
) -> Result<Vec<Measure>> {
    let records = plan.records_or(RECORDS);
    let stage = Stage::raise(cluster, form, (records, SMALL))?;
    let mut measures = size(&stage, plan, &small)?;
    drop(stage);
    let stage = Stage::raise(cluster, form, ((records / FEWER).max(1), LARGE))?;
    measures.extend(size(&stage, plan, &large)?);
    Ok(measures)
}

/// Records per second and peaks of memory. The bare loop writes the records as they are.
fn size(stage: &Stage<'_>, plan: Plan, names: &Names) -> Result<Vec<Measure>> {
    stage.rehearse()?;
    let mut others = Vec::new();
    let bare = || {
        let tunings = names.mirror_makers.iter();
        let copies = tunings.map(|(tuning, _)| mirror_maker::copy(stage, *tuning));
        others.push(copies.collect::<Result<Vec<Copied>>>()?);
        stage.bare()
    };
    let pairs = pairs(plan, || stage.ours(), bare)?;
    let mut measures = figures(names.bare, &pairs);
    for (at, (_, names)) in names.mirror_makers.iter().enumerate() {
        let ours = pairs.iter().map(|(ours, _)| *ours);
        let others = others.iter().map(|copies| copies[at]);
        measures.extend(figures(*names, &ours.zip(others).collect::<Vec<_>>()));
    }
    Ok(measures)
}

fn figures([rate, memory]: [&'static str; 2], pairs: &[(Copied, Copied)]) -> Vec<Measure> {
    vec![
        figure(rate, "records/s", pairs, |copied| copied.records_per_s),
        figure(memory, "MiB", pairs, |copied| copied.memory_mib),
    ]
}
