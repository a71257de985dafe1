//! The flow under 2 000 random schedules, and every mutant caught by them.

use contraflow_testkit::mutant::Mutant;
use contraflow_testkit::sim;

/// Schedules of the flow as it is, in two halves that run side by side.
const SEEDS: u64 = 2_000;

fn seeds(range: std::ops::Range<u64>) {
    let one = std::env::var("CONTRAFLOW_SEED").ok();
    let one = one.map(|seed| seed.parse::<u64>().expect("a seed is a number"));
    for seed in one.map_or(range, |seed| seed..seed + 1) {
        if let Err(failure) = sim::run(seed, None) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_first_half_of_the_seeds_hold() {
    seeds(0..SEEDS / 2);
}

#[test]
fn the_second_half_of_the_seeds_hold() {
    seeds(SEEDS / 2..SEEDS);
}

fn caught(mutant: Mutant) -> u64 {
    let caught = (0..SEEDS).find(|seed| sim::fails(*seed, Some(mutant)));
    caught.unwrap_or_else(|| panic!("{mutant:?} was not noticed"))
}

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL {
        caught(*mutant);
    }
}

#[test]
fn a_failure_is_shrunk_and_replays() {
    let seed = caught(Mutant::LatePosition);
    let failure = sim::run(seed, Some(Mutant::LatePosition)).unwrap_err();
    assert_eq!(failure.seed, seed);
    let whole = sim::Schedule::of(seed).steps.len();
    assert!(failure.steps.len() < whole / 2, "{failure}");
    let text = failure.to_string();
    assert!(
        text.starts_with(&format!("CONTRAFLOW_SEED={seed}: ")),
        "{text}"
    );
    assert_eq!(
        sim::run(seed, Some(Mutant::LatePosition)).unwrap_err().what,
        failure.what
    );
}
