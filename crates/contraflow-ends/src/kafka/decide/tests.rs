//! The protocol of the flip under every order of its steps: two processes of which either may be a
//! zombie at any time, lanes of both directions, crashes and restarts anywhere, answers that are
//! lost, transactions that stay open, and producers that write when they should not.
//!
//! What is decided is the product's own: [`contraflow_core::phase::decide`] and the decisions
//! beside this file. What Kafka does is [`world`], what a process does one step at a time is
//! [`process`]. Every rule of the protocol can be broken, and must be missed then.

use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model};

use super::{Control, STOPPED_MAX, Stopped, said};
use model::{Action, Bounds, Flip};
use rules::Rule;

mod model;
mod process;
mod rules;
mod world;

/// What goes wrong, or can happen, and the steps to it.
type Found = Vec<(&'static str, Vec<Action>, Option<&'static str>)>;

/// Explores until everything was seen or something is wrong, and prints how much that was.
#[expect(
    clippy::print_stdout,
    reason = "how much was explored is what it shows"
)]
fn explored(name: &str, flip: Flip) -> Found {
    let checker = flip.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries().into_iter();
    let mut found: Found = found
        .map(|(name, path)| {
            let fault = path.last_state().fault;
            (name, path.into_actions(), fault)
        })
        .collect();
    found.sort_unstable_by_key(|(name, ..)| *name);
    let (states, steps) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, up to {steps} steps deep");
    found
}

/// Whether something went wrong, and what.
fn wrong(found: &Found) -> Option<String> {
    let mut found = found.iter();
    let (name, actions, fault) = found.find(|(name, ..)| !model::REACHED.contains(name))?;
    let steps = actions.len();
    Some(format!(
        "not {name} ({fault:?}) after {steps} steps: {actions:?}"
    ))
}

/// All promises hold, and what can happen at all does happen.
fn holds(name: &str, bounds: Bounds, lanes: usize) -> Vec<&'static str> {
    let found = explored(name, Flip::new(bounds, lanes, None));
    assert_eq!(wrong(&found), None, "{name}");
    found.into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn the_flip_keeps_its_promises_in_every_order() {
    let least = Bounds::LEAST;
    holds("the least", least, 1);
    holds("an answer is lost", Bounds { lost: 1, ..least }, 1);
    let again = Bounds { asked: 2, ..least };
    let happens = holds("a turn is asked for again", again, 1);
    assert_eq!(happens, model::REACHED, "something never happens");
}

#[test]
fn the_flip_keeps_its_promises_beside_open_transactions_and_with_two_lanes() {
    let least = Bounds {
        new: 0,
        ..Bounds::LEAST
    };
    let open = Bounds {
        old: 2,
        open: 1,
        ..least
    };
    holds("a transaction stays open", open, 1);
    holds("two lanes", least, 2);
}

/// More of it: one scene, and all of them in a soak.
#[test]
fn the_flip_keeps_its_promises_when_more_happens_soak() {
    let least = Bounds::LEAST;
    let restarts = Bounds {
        started: 2,
        ..least
    };
    holds("two restarts", restarts, 1);
    if std::env::var_os("CONTRAFLOW_SOAK").is_none() {
        return;
    }
    let records = Bounds { new: 2, ..least };
    holds("two records of the new producer", records, 1);
    let again = Bounds {
        asked: 2,
        lost: 1,
        ..least
    };
    holds("an answer is lost and a turn asked for again", again, 1);
    holds("two lanes and both producers", least, 2);
}

#[test]
#[expect(clippy::print_stdout, reason = "what was found is what it shows")]
fn every_rule_is_missed_when_it_is_broken() {
    for rule in Rule::ALL {
        let bounds = match rule {
            Rule::NeverAgain => Bounds {
                restored: 1,
                ..Bounds::LEAST
            },
            Rule::RereadWhenUnknown => Bounds {
                lost: 1,
                ..Bounds::LEAST
            },
            _ => Bounds::LEAST,
        };
        let name = format!("without {rule:?}");
        let found = explored(&name, Flip::new(bounds, 1, Some(rule)));
        let wrong = wrong(&found).unwrap_or_else(|| panic!("{rule:?} may be forgotten"));
        println!("{name}: {wrong}");
    }
}

/// Whoever said so may have started them again since.
#[test]
fn that_producers_have_stopped_counts_for_an_hour() {
    let stopped = Stopped {
        at_ms: 5_000,
        ends: Vec::new(),
    };
    let control = Control {
        stopped: Some(stopped),
        ..Control::default()
    };
    let after = |time: Duration| {
        let ms = u64::try_from(time.as_millis()).expect("an hour");
        said(&control, 5_000 + ms).is_some()
    };
    assert!(after(Duration::ZERO) && after(STOPPED_MAX));
    assert!(!after(STOPPED_MAX + Duration::from_millis(1)));
}
