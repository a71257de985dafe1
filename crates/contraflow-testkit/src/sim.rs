//! The flow under random schedules, shrunk to the steps that matter.
//!
//! A seed makes a schedule: transactions of the application, late visibility, batches, ranges of
//! history that are read at one time and carried at another, cuts at named points, processes that
//! are overtaken and go on all the same, turns both ways. The product's own
//! [`contraflow_engine::flow::Flow`] and [`contraflow_core::lease::ownership`] run over ends in
//! memory, in one thread. At the end everything heals, and the mirror must show exactly what the
//! mapping makes of the authority.

mod audit;
mod ground;
mod process;
mod schedule;
mod world;
mod writer;

use crate::mutant::Mutant;
pub use ground::{Ground, InMemory, Store};
pub use schedule::{Schedule, Step};
pub use world::Tally;
use world::World;

/// A failure, shrunk.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// The steps that are left of its schedule.
    pub steps: Vec<Step>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "CONTRAFLOW_SEED={}: {}", self.seed, self.what)?;
        for step in &self.steps {
            writeln!(f, "  {step:?}")?;
        }
        write!(
            f,
            "replay: CONTRAFLOW_SEED={} cargo test --test main seeds_hold",
            self.seed
        )
    }
}

/// Runs one seed and says what it got to.
///
/// # Errors
/// The failure, shrunk.
pub fn run(ground: &dyn Ground, seed: u64, mutant: Option<Mutant>) -> Result<Tally, Box<Failure>> {
    let schedule = Schedule::of(seed);
    World::play(ground, &schedule, mutant).map_err(|what| {
        let (steps, what) = shrunk(ground, &schedule, mutant, what);
        Box::new(Failure { seed, what, steps })
    })
}

/// Whether one seed fails, without shrinking.
#[must_use]
pub fn fails(ground: &dyn Ground, seed: u64, mutant: Option<Mutant>) -> bool {
    World::play(ground, &Schedule::of(seed), mutant).is_err()
}

/// The one seed that `CONTRAFLOW_SEED` names, or all of a test's own.
///
/// # Panics
/// When the variable is not a number.
#[must_use]
pub fn seeds(own: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(seed) = std::env::var("CONTRAFLOW_SEED") else {
        return own;
    };
    let seed: u64 = seed.parse().expect("`CONTRAFLOW_SEED` is a number");
    seed..seed + 1
}

/// Leaves out steps as long as it still fails: halves first, single steps last.
fn shrunk(
    ground: &dyn Ground,
    schedule: &Schedule,
    mutant: Option<Mutant>,
    what: String,
) -> (Vec<Step>, String) {
    let (mut schedule, mut what) = (schedule.clone(), what);
    let mut size = schedule.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < schedule.steps.len() {
            let mut fewer = schedule.clone();
            let end = (at + size).min(fewer.steps.len());
            fewer.steps.drain(at..end);
            match World::play(ground, &fewer, mutant) {
                Err(still) => (schedule, what) = (fewer, still),
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    (schedule.steps, what)
}
