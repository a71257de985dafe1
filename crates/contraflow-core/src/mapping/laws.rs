//! Whether a mapping keeps its promises: on generated rows that look for trouble, and on real ones.
//!
//! Every case goes through the stored form of the complement. A broken law comes with the smallest
//! row that breaks it; of real rows only the field is named.

mod cases;
mod sample;

use serde::Serialize;

use crate::mapping::{Law, Mapping};
use crate::record::Image;
use crate::side::{Direction, Side};

use cases::{Failure, Tried};
use sample::Generator;

/// Rows generated per side.
const GENERATED: usize = 256;
/// Counterexamples kept per law, of generated and of real rows each:
/// one is enough to act, a few show the pattern.
const BROKEN_MAX: usize = 5;

/// A law that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Every row maps, unless the mapping is declared partial.
    Total,
    /// Up, then down, gives the old row back.
    OldComesBack,
    /// Down, then up, gives the new row back.
    NewComesBack,
    /// The key of the row is the mapped key.
    KeyKept,
    /// The same row gives the same result, and a second way round changes nothing more.
    Settled,
    /// An edit of one field of the target changes only the source fields it is made from.
    Local,
    /// An edit of the target survives the way back and forth: no note outlives what it explains.
    EditKept,
}

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Made by the generator.
    Generated,
    /// A row of the end.
    Real,
}

/// What was checked and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct LawReport {
    /// One result per law.
    pub laws: Vec<LawResult>,
    /// Rows that became letters.
    pub letters: usize,
    /// Rows whose target needs a complement, of all that were mapped.
    pub with_complement: usize,
    /// Rows that were mapped.
    pub mapped: usize,
    /// The median complement, in bytes, of those that need one.
    pub complement_bytes_p50: usize,
    /// The 99th percentile of the same.
    pub complement_bytes_p99: usize,
}

/// The result for one law.
#[derive(Clone, Debug, Serialize)]
pub struct LawResult {
    /// The law.
    pub law: Proof,
    /// How many cases were tried.
    pub cases: usize,
    /// Cases that break it; at most five generated and five real ones are kept.
    pub broken: Vec<Counterexample>,
}

/// A case that breaks a law.
#[derive(Clone, Debug, Serialize)]
pub struct Counterexample {
    /// Whether it was generated or is a real row.
    pub case: Case,
    /// The side it starts from.
    pub side: Side,
    /// The field that differs, or where mapping failed.
    pub path: String,
    /// The kinds of what was expected and found, or the reason of the failure.
    pub detail: String,
    /// The shrunk row as JSON, if it was generated.
    pub row: Option<String>,
}

impl LawReport {
    /// Whether every law held in every case.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.laws.iter().all(|law| law.broken.is_empty())
    }
}

/// Checks all laws on generated rows and on the given real ones, old side first.
#[must_use]
pub fn check_laws(mapping: &Mapping, samples: [&[Image]; 2], seed: u64) -> LawReport {
    let mut generator = Generator::new(seed);
    let mut report = Report::default();
    for (side, real) in Side::BOTH.into_iter().zip(samples) {
        let shape = mapping.shape(side).clone();
        for _ in 0..GENERATED {
            let row = generator.row(&shape);
            report.check(mapping, side, &row, Case::Generated, &mut generator);
        }
        for image in real {
            report.check(mapping, side, image, Case::Real, &mut generator);
        }
    }
    report.finish()
}

#[derive(Default)]
struct Report {
    results: Vec<LawResult>,
    letters: usize,
    mapped: usize,
    bytes: Vec<usize>,
}

impl Report {
    fn check(
        &mut self,
        mapping: &Mapping,
        side: Side,
        image: &Image,
        case: Case,
        generator: &mut Generator,
    ) {
        let seed = generator.next();
        let tried = cases::try_all(mapping, side, image, seed);
        self.mapped += 1;
        self.letters += usize::from(tried.letter);
        self.bytes
            .extend(tried.complement.filter(|bytes| *bytes > 0));
        for (law, failure) in tried.proofs {
            let at = match self.results.iter().position(|result| result.law == law) {
                Some(at) => at,
                None => {
                    self.results.push(LawResult {
                        law,
                        cases: 0,
                        broken: Vec::new(),
                    });
                    self.results.len() - 1
                }
            };
            let result = &mut self.results[at];
            result.cases += 1;
            let kept = result
                .broken
                .iter()
                .filter(|broken| broken.case == case)
                .count();
            if let Some(failure) = failure.filter(|_| kept < BROKEN_MAX) {
                let counterexample = explain(mapping, side, image, case, law, failure, seed);
                result.broken.push(counterexample);
            }
        }
    }

    fn finish(mut self) -> LawReport {
        self.bytes.sort_unstable();
        let percentile = |percent: usize| {
            let last = self.bytes.len().saturating_sub(1);
            self.bytes.get(last * percent / 100).copied().unwrap_or(0)
        };
        LawReport {
            letters: self.letters,
            with_complement: self.bytes.len(),
            mapped: self.mapped,
            complement_bytes_p50: percentile(50),
            complement_bytes_p99: percentile(99),
            laws: self.results,
        }
    }
}

/// Shrinks a generated row while the same law stays broken, and describes what is left.
fn explain(
    mapping: &Mapping,
    side: Side,
    image: &Image,
    case: Case,
    law: Proof,
    failure: Failure,
    seed: u64,
) -> Counterexample {
    let (mut image, mut failure) = (image.clone(), failure);
    let shape = mapping.shape(side);
    if case == Case::Generated {
        for (i, field) in shape.fields.iter().enumerate() {
            for simple in sample::simple(field) {
                let mut smaller = image.clone();
                smaller.row.0[i] = simple;
                let Tried { proofs, .. } = cases::try_all(mapping, side, &smaller, seed);
                let still = proofs.into_iter().find(|(broken, _)| *broken == law);
                if let Some((_, Some(same))) = still {
                    (image, failure) = (smaller, same);
                    break;
                }
            }
        }
    }
    Counterexample {
        case,
        side,
        path: failure.path,
        detail: failure.detail,
        row: (case == Case::Generated).then(|| sample::shown(&image.row, shape)),
    }
}

/// Whether letters are what the mapping announced.
fn may_fail(mapping: &Mapping) -> bool {
    mapping.law() >= Law::Partial
}

/// The direction that leads away from a side.
fn away(side: Side) -> Direction {
    side.direction()
}
