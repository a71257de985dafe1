//! The same copy at growing sizes: time must grow with the rows and not faster.

use anyhow::{Result, ensure};

use super::frame::{Measure, Plan, measure as figure, pairs};
use super::stage::{Old, Reshape, Stage};
use crate::shell;

/// The sizes, and what their figures are called.
const SIZES: [(u64, &str); 4] = [
    (10_000, "scaling.1e4"),
    (100_000, "scaling.1e5"),
    (1_000_000, "scaling.1e6"),
    (10_000_000, "scaling.1e7"),
];
/// The size that is left out where it would take too long, and what is too long.
const LARGE: u64 = 10_000_000;
const LARGE_S_MAX: f64 = 60.0;

/// Rows per second at every size, and the exponent of the time over the rows.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let rows_max = plan.records_or(u64::MAX);
    let mut measures: Vec<Measure> = Vec::new();
    let mut done = Vec::new();
    for (rows, name) in SIZES {
        let rate = measures.last().map(|measure| measure.ours);
        if rows > rows_max || (rows == LARGE && !affordable(rows, rate)) {
            shell::note(&format!("{name} is left out"));
            continue;
        }
        // A run of the largest size takes as long as all others together.
        let runs = if rows == LARGE { 1 } else { plan.runs };
        let stage = Stage::raise(&Old { rows, huge: 0 }, Reshape::Rename)?;
        let pairs = pairs(Plan { runs, ..plan }, || stage.ours(), || stage.peer())?;
        measures.push(figure(name, "rows/s", &pairs, |copied| copied.rows_per_s));
        done.push(rows as f64);
    }
    ensure!(done.len() > 1, "one size has no growth");
    let of = |rate: fn(&Measure) -> f64| -> Vec<(f64, f64)> {
        let sizes = done.iter().zip(&measures);
        sizes
            .map(|(rows, measure)| (rows.ln(), (rows / rate(measure)).ln()))
            .collect()
    };
    let (ours, distance) = line(&of(|measure| measure.ours));
    let (peer, _) = line(&of(|measure| measure.peer));
    measures.push(Measure {
        name: "scaling.exponent",
        ours,
        peer,
        unit: "",
        ratio: ours / peer,
        runs: done.len(),
        spread: distance,
    });
    Ok(measures)
}

fn affordable(rows: u64, rate: Option<f64>) -> bool {
    let full = std::env::var("CONTRAFLOW_BENCH_FULL").is_ok_and(|full| full == "1");
    full || rate.is_some_and(|rate| rows as f64 / rate < LARGE_S_MAX)
}

/// The slope of the line through points of logarithms, by least squares, and how far the farthest
/// point lies from it, as a share of its value.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let both: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let slope = both / along;
    let distance = points
        .iter()
        .map(|point| (point.1 - y - slope * (point.0 - x)).exp_m1().abs())
        .fold(0.0, f64::max);
    (slope, distance)
}

#[cfg(test)]
mod tests;
