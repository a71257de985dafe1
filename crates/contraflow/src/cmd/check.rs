//! `contraflow check`: everything that is wrong with a change, before anything is written.

use std::path::PathBuf;

use contraflow_core::end::Most;
use contraflow_core::error::{Problem, Severity};
use contraflow_core::mapping::{LawReport, check_laws};
use contraflow_core::record::Image;
use contraflow_core::side::Side;
use contraflow_engine::compare::sample;
use contraflow_engine::keying;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;

/// Real rows that the laws are tried on, per table.
const MOST: Most = Most {
    rows: 1_000,
    bytes: 4 << 20,
};

/// Check a change file, its mapping and both ends. Touches nothing.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// Try the laws of the mapping too: on generated rows and on real ones.
    #[arg(long)]
    pub laws: bool,
    /// Replays the generated rows of an earlier check.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Serialize)]
struct Checked<'s> {
    schema: &'static str,
    change: &'s str,
    warnings: &'s [Problem],
    laws: Vec<PairLaws<'s>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    producers: Vec<Producers>,
}

/// How the producers of a new topic must choose partitions.
#[derive(Serialize)]
struct Producers {
    new: String,
    keys: u64,
    explained_by: Vec<&'static str>,
    partitioner: String,
}

/// Keys of records that were tried, and those that do not come back.
#[derive(Clone, Copy, Serialize)]
struct KeyLaws {
    broken: u64,
    tried: u64,
}

#[derive(Serialize)]
struct PairLaws<'s> {
    old: &'s str,
    new: &'s str,
    law: &'static str,
    holds: bool,
    report: Option<LawReport>,
    keys: KeyLaws,
}

/// Checks. Exit 0 when nothing is in the way, 1 when a law is broken, 2 for problems.
///
/// # Errors
/// When an end cannot be read.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let session = match Session::open(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let context = &session.context;
    let placed = session.placed()?;
    let (errors, mut warnings): (Vec<Problem>, Vec<Problem>) = placed
        .problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Error);
    warnings.extend_from_slice(&session.warnings);
    if !errors.is_empty() {
        out.problems(&file, &[errors, warnings].concat())?;
        return Ok(Exit::Error);
    }
    if !warnings.is_empty() {
        out.warnings(&file, &warnings)?;
    }
    let laws = laws(&session, args)?;
    let topics = placed.topics.into_iter();
    let producers = topics.map(|(new, probed, partitioner)| Producers {
        new,
        keys: probed.keys,
        explained_by: probed.explain.iter().map(|way| way.name()).collect(),
        partitioner,
    });
    let producers: Vec<Producers> = producers.collect();
    for pair in &laws {
        out.human(&format!("{} -> {}: {}", pair.old, pair.new, pair.law))?;
        if let Some(report) = &pair.report {
            tell(report, out)?;
        }
        if pair.keys.tried > 0 {
            let KeyLaws { broken, tried } = pair.keys;
            out.human(&format!(
                "  keys          {broken} of {tried} do not come back"
            ))?;
        }
    }
    for topic in &producers {
        out.human(&format!(
            "producers of {} choose partitions by {}; {} keys were looked at",
            topic.new, topic.partitioner, topic.keys
        ))?;
    }
    let holds = laws.iter().all(|pair| pair.holds);
    out.human(if holds {
        "nothing is in the way"
    } else {
        "the mapping loses data"
    })?;
    out.document(&Checked {
        schema: "contraflow.check/1",
        change: &context.change,
        warnings: &warnings,
        laws,
        producers,
    })?;
    Ok(if holds { Exit::Yes } else { Exit::No })
}

/// What holds of each pair's mapping.
fn laws<'s>(session: &'s Session, args: &Args) -> anyhow::Result<Vec<PairLaws<'s>>> {
    let context = &session.context;
    let mut laws = Vec::new();
    for pair in context.pair_ids() {
        let bound = context.pair(pair);
        let report = args.laws.then(|| {
            let rows = Side::BOTH.map(|side| real_rows(session, side, pair));
            check_laws(&bound.mapping, [&rows[0], &rows[1]], args.seed)
        });
        let (broken, tried) = match args.laws {
            true => keying::laws(context, pair)?,
            false => (0, 0),
        };
        laws.push(PairLaws {
            old: &bound.old,
            new: &bound.new,
            law: bound.mapping.law().name(),
            holds: broken == 0 && report.as_ref().is_none_or(LawReport::holds),
            report,
            keys: KeyLaws { broken, tried },
        });
    }
    Ok(laws)
}

/// Rows of a table, or none when it is not there yet.
fn real_rows(session: &Session, side: Side, pair: contraflow_core::record::PairId) -> Vec<Image> {
    let read = || {
        let bound = session.context.side(side);
        let mut structure = bound.switch()?;
        if side == Side::New && structure.standing()?.is_none() {
            return Ok(Vec::new());
        }
        sample(&session.context, side, pair, MOST).map(|sample| sample.rows)
    };
    read().unwrap_or_default()
}

fn tell(report: &LawReport, out: &mut Output) -> anyhow::Result<()> {
    for law in &report.laws {
        let name = format!("{:?}", law.law);
        let verdict = if law.broken.is_empty() {
            "holds"
        } else {
            "BROKEN"
        };
        out.human(&format!("  {name:<14}{verdict:<7} in {} cases", law.cases))?;
        for broken in &law.broken {
            out.human(&format!(
                "    {} of the {} side: {}",
                broken.path, broken.side, broken.detail
            ))?;
            if let Some(row) = &broken.row {
                out.human(&format!("    generated row: {row}"))?;
            }
        }
    }
    out.human(&format!(
        "  complement    {} of {} rows need one, {} bytes at the median, {} at the 99th percentile",
        report.with_complement,
        report.mapped,
        report.complement_bytes_p50,
        report.complement_bytes_p99
    ))?;
    Ok(())
}
