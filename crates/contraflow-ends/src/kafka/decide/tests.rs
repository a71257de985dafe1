//! The protocol of the flip under every order of its steps: two processes of which either may be a
//! zombie at any time, lanes of both directions, crashes and restarts anywhere, answers that are
//! lost, transactions that stay open, and producers that write when they should not.
//!
//! What is decided is the product's own: [`contraflow_core::phase::decide`] and the decisions
//! beside this file. What Kafka does is [`world`], what a process does one step at a time is
//! [`process`]. Every rule of the protocol can be broken, and must be missed then.

use std::time::Instant;

use stateright::{Checker, Model};

use model::{Bounds, Flip};
use rules::Rule;

mod model;
mod process;
mod rules;
mod world;

/// Explores everything within bounds, and prints how much that was.
fn explored(name: &str, flip: Flip) -> Vec<(&'static str, usize)> {
    let began = Instant::now();
    let checker = flip
        .checker()
        .finish_when(stateright::HasDiscoveries::AnyFailures)
        .timeout(std::time::Duration::from_secs(40))
        .spawn_bfs()
        .join();
    let mut found: Vec<(&'static str, usize)> = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| {
            let a = path.into_actions();
            if !model::REACHED.contains(&name) {
                println!("{name}: {a:?}");
            }
            (name, a.len())
        })
        .collect();
    found.sort_unstable();
    let (states, steps) = (checker.unique_state_count(), checker.max_depth());
    let took = began.elapsed().as_secs_f32();
    println!("{name}: {states} states, up to {steps} steps deep, {took:.1} s: {found:?}");
    found
}

/// What may happen, by name, with how many lanes.
const SCENES: [(&str, Bounds, usize); 6] = [
    ("least", Bounds::LEAST, 1),
    (
        "lost",
        Bounds {
            lost: 1,
            ..Bounds::LEAST
        },
        1,
    ),
    (
        "asked",
        Bounds {
            asked: 2,
            ..Bounds::LEAST
        },
        1,
    ),
    (
        "old",
        Bounds {
            old: 2,
            open: 1,
            ..Bounds::LEAST
        },
        1,
    ),
    (
        "new",
        Bounds {
            new: 2,
            ..Bounds::LEAST
        },
        1,
    ),
    (
        "started",
        Bounds {
            started: 2,
            ..Bounds::LEAST
        },
        1,
    ),
];

#[test]
fn the_flip_keeps_its_promises_in_every_order() {
    for (name, bounds, lanes) in SCENES {
        explored(name, Flip::new(bounds, lanes, None));
    }
    explored(
        "two lanes",
        Flip::new(
            Bounds {
                old: 1,
                new: 0,
                said: 1,
                started: 1,
                ..Bounds::LEAST
            },
            2,
            None,
        ),
    );
}

#[test]
fn every_rule_is_missed_when_it_is_broken() {
    for rule in Rule::ALL {
        for (name, bounds, lanes) in SCENES {
            let restored = u8::from(rule == Rule::NeverAgain);
            let flip = Flip::new(Bounds { restored, ..bounds }, lanes, Some(rule));
            let found = explored(&format!("{rule:?} in {name}"), flip);
            if found.iter().any(|(name, _)| !model::REACHED.contains(name)) {
                break;
            }
        }
    }
}
