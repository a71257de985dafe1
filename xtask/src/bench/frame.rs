//! The frame of every benchmark: interleaved runs, median and spread, one table, one JSON form.

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::shell;

/// A benchmark: its name, the pairs of runs that count unless asked otherwise, its measurement.
pub(super) type Benchmark = (&'static str, usize, fn(Plan) -> Result<Vec<Measure>>);

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Pairs of runs that count.
    pub(super) runs: usize,
    /// How many rows or records there are, where that was asked for.
    pub(super) records: Option<u64>,
}

impl Plan {
    /// How many rows or records there are: as asked for, or as usual.
    pub(super) fn records_or(self, usual: u64) -> u64 {
        self.records.unwrap_or(usual)
    }
}

/// The version of the JSON form.
const VERSION: u32 = 1;

/// One figure beside its peer's. Higher is better for rates; less is better for `ms` and `MiB`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    /// What was measured.
    pub(super) name: &'static str,
    /// Our median.
    pub(super) ours: f64,
    /// The peer's median.
    pub(super) peer: f64,
    /// What both are counted in.
    pub(super) unit: &'static str,
    /// Ours through the peer's: the median over pairs of runs.
    pub(super) ratio: f64,
    /// Pairs of runs that counted.
    pub(super) runs: usize,
    /// How far the middle half of the ratios reaches, through the median ratio.
    pub(super) spread: f64,
}

/// Runs the named benchmarks; without a name, lists them.
pub(super) fn run(args: &[String], benchmarks: &[Benchmark]) -> Result<bool> {
    let Asked {
        names,
        json,
        runs,
        records,
    } = Asked::read(args)?;
    if names.is_empty() {
        for (name, _, _) in benchmarks {
            shell::say(name);
        }
        return Ok(true);
    }
    ensure!(
        !cfg!(debug_assertions),
        "this build is not optimised: start it as `cargo xtask bench`"
    );
    let mut chosen = Vec::new();
    for name in names {
        match benchmarks.iter().find(|(known, ..)| *known == name) {
            Some(benchmark) => chosen.push(benchmark),
            None => bail!("there is no benchmark `{name}`"),
        }
    }
    if !json {
        shell::say(&heading());
    }
    for (_, usual, measure) in chosen {
        let runs = runs.unwrap_or(*usual);
        for measured in measure(Plan { runs, records })? {
            let line = if json {
                measured.json()
            } else {
                measured.row()
            };
            shell::say(&line);
        }
    }
    Ok(true)
}

/// Runs both in turns after one pair that does not count. Each run says its own rate.
pub(super) fn interleave(
    name: &'static str,
    unit: &'static str,
    plan: Plan,
    mut ours: impl FnMut() -> Result<f64>,
    mut peer: impl FnMut() -> Result<f64>,
) -> Result<Measure> {
    ours()?;
    peer()?;
    Ok(summary(name, unit, &pairs(plan, ours, peer)?))
}

/// Runs both in turns, the peer first and ours first alternately. Each run says what it measured,
/// of which [`measure`] makes as many figures as there are.
pub(super) fn pairs<T>(
    plan: Plan,
    mut ours: impl FnMut() -> Result<T>,
    mut peer: impl FnMut() -> Result<T>,
) -> Result<Vec<(T, T)>> {
    let mut pairs = Vec::with_capacity(plan.runs);
    for i in 0..plan.runs {
        let pair = if i % 2 == 0 {
            let first = peer()?;
            (ours()?, first)
        } else {
            let first = ours()?;
            (first, peer()?)
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

/// One figure of pairs of runs.
pub(super) fn measure<T>(
    name: &'static str,
    unit: &'static str,
    pairs: &[(T, T)],
    figure: impl Fn(&T) -> f64,
) -> Measure {
    let figures = pairs
        .iter()
        .map(|(ours, peer)| (figure(ours), figure(peer)));
    summary(name, unit, &figures.collect::<Vec<_>>())
}

/// What pairs of rates come to.
pub(super) fn summary(name: &'static str, unit: &'static str, pairs: &[(f64, f64)]) -> Measure {
    let ratios: Vec<f64> = pairs.iter().map(|(ours, peer)| ours / peer).collect();
    let ratio = median(&ratios);
    Measure {
        name,
        ours: median(&pairs.iter().map(|(ours, _)| *ours).collect::<Vec<_>>()),
        peer: median(&pairs.iter().map(|(_, peer)| *peer).collect::<Vec<_>>()),
        unit,
        ratio,
        runs: pairs.len(),
        spread: (quantile(&ratios, 0.75) - quantile(&ratios, 0.25)) / ratio,
    }
}

/// Figures of many single times, by quantile: each name with its share. The spread is that of the
/// longest time of each run.
pub(super) fn quantiles<const N: usize>(
    names: [(&'static str, f64); N],
    ours: &[f64],
    peers: &[f64],
    longest: &[f64],
) -> Vec<Measure> {
    let spread = (quantile(longest, 0.75) - quantile(longest, 0.25)) / median(longest);
    let of = |(name, share): (&'static str, f64)| {
        let (ours, peer) = (quantile(ours, share), quantile(peers, share));
        Measure {
            name,
            ours,
            peer,
            unit: "ms",
            ratio: ours / peer,
            runs: longest.len(),
            spread,
        }
    };
    names.map(of).into()
}

pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a share of the values lies, between two of them if need be.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    values[below] + (values[above] - values[below]) * place.fract()
}

fn heading() -> String {
    format!(
        "{:<32} {:>12} {:>12} {:<10} {:>6} {:>5} {:>7}",
        "name", "ours", "peer", "unit", "ratio", "runs", "spread"
    )
}

/// Three figures or more.
fn rounded(value: f64) -> String {
    let decimals = if value.abs() < 100.0 { 2 } else { 0 };
    format!("{value:.decimals$}")
}

impl Measure {
    fn row(&self) -> String {
        format!(
            "{:<32} {:>12} {:>12} {:<10} {:>6.3} {:>5} {:>6.1}%",
            self.name,
            rounded(self.ours),
            rounded(self.peer),
            self.unit,
            self.ratio,
            self.runs,
            self.spread * 100.0
        )
    }

    fn json(&self) -> String {
        json!({
            "version": VERSION,
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.ratio,
            "runs": self.runs,
            "spread": self.spread,
        })
        .to_string()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    names: Vec<String>,
    json: bool,
    runs: Option<usize>,
    records: Option<u64>,
}

impl Asked {
    fn read(args: &[String]) -> Result<Asked> {
        let mut asked = Asked {
            names: Vec::new(),
            json: false,
            runs: None,
            records: None,
        };
        for arg in args {
            let Some(option) = arg.strip_prefix("--") else {
                asked.names.push(arg.clone());
                continue;
            };
            let (option, number) = option.split_once('=').unwrap_or((option, ""));
            match (option, number.parse().ok().filter(|number| *number > 0)) {
                ("json", _) => asked.json = true,
                ("runs", Some(runs)) => asked.runs = Some(usize::try_from(runs)?),
                ("records", Some(records)) => asked.records = Some(records),
                _ => bail!("`{arg}` is not an option: --json, --runs=N, --records=N"),
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests;
