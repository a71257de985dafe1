//! The flow under 2 000 random schedules, and every mutant caught by them.

use contraflow_testkit::mutant::Mutant;
use contraflow_testkit::sim::{self, InMemory, Tally};

/// Schedules of the flow as it is.
const SEEDS: u64 = 2_000;

#[test]
fn all_seeds_hold() {
    let mut all = Tally::default();
    for seed in sim::seeds(0..SEEDS) {
        let tally = sim::run(&InMemory, seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        all.flows.events += tally.flows.events;
        all.flows.rows += tally.flows.rows;
        all.flows.superseded += tally.flows.superseded;
        all.flows.letters += tally.flows.letters;
        all.seals += tally.seals;
        all.cuts += tally.cuts;
        all.fenced += tally.fenced;
    }
    if sim::seeds(0..SEEDS) != (0..SEEDS) {
        return;
    }
    // Schedules that do not get anywhere prove nothing.
    let corners = [
        ("events", all.flows.events),
        ("rows of history", all.flows.rows),
        ("rows superseded", all.flows.superseded),
        ("letters", all.flows.letters),
        ("turns", all.seals),
        ("runs cut off", all.cuts),
        ("overtaken processes refused", all.fenced),
    ];
    for (what, times) in corners {
        assert!(times >= SEEDS / 10, "too few {what}: {corners:?}");
    }
}

fn caught(mutant: Mutant) -> u64 {
    let caught = (0..SEEDS).find(|seed| sim::fails(&InMemory, *seed, Some(mutant)));
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
    let again = || sim::run(&InMemory, seed, Some(Mutant::LatePosition)).unwrap_err();
    let failure = again();
    assert_eq!(failure.seed, seed);
    let whole = sim::Schedule::of(seed).steps.len();
    assert!(failure.steps.len() < whole / 2, "{failure}");
    let text = failure.to_string();
    assert!(
        text.starts_with(&format!("CONTRAFLOW_SEED={seed}: ")),
        "{text}"
    );
    assert_eq!(again().what, failure.what);
    assert_eq!(again().steps, failure.steps);
}
