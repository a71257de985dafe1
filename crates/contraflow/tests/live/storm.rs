//! Everything at once: deaths, freezes, turns and holds in an order that a seed decides. With
//! `CONTRAFLOW_SOAK=1` many seeds and long storms; `CONTRAFLOW_STORM=<seed>` replays one.

use std::time::Duration;

use super::fixture::{Fixture, Plan, Writers};
use super::process::{Process, pause};
use super::zombies::{notices, second_instance};

/// What a short storm and a long one last, in rounds.
const SHORT: u32 = 8;
const LONG: u32 = 40;

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Storm<'f> {
    fixture: &'f Fixture,
    writers: Writers<'f>,
    runner: Process,
    dice: Dice,
}

impl Storm<'_> {
    fn authority(&self) -> &'static str {
        if self.fixture.status()["authority"] == "new" {
            "new"
        } else {
            "old"
        }
    }

    fn turn(&self) -> &'static str {
        match self.authority() {
            "new" => "rollback",
            _ => "cutover",
        }
    }

    fn round(&mut self) -> &'static str {
        match self.dice.roll(6) {
            0 => {
                self.runner.kill();
                self.runner = self.fixture.run();
                "kill"
            }
            1 => {
                assert_eq!(self.runner.terminate(), Some(0), "{}", self.runner.err());
                self.runner = self.fixture.run();
                "restart"
            }
            2 => {
                self.fixture.must(&["hold"]);
                self.writers.work();
                self.fixture.must(&["resume"]);
                "hold"
            }
            3 => {
                self.freeze();
                "freeze"
            }
            4 => {
                self.die_in_a_turn();
                "die in a turn"
            }
            _ => {
                self.fixture.must(&[self.turn()]);
                "turn"
            }
        }
    }

    /// The runner hangs, somebody takes its place, it comes back.
    fn freeze(&mut self) {
        self.runner.signal("-STOP");
        self.runner.until_stopped();
        if !self.fixture.is_unlocked() {
            self.runner.signal("-CONT");
            return;
        }
        let second = second_instance(self.fixture);
        let zombie = std::mem::replace(&mut self.runner, second);
        notices(self.fixture, zombie);
    }

    /// Runner and verb are both killed at some moment of a turn.
    fn die_in_a_turn(&mut self) {
        let mut verb = self.fixture.spawn(&[self.turn()], &[]);
        pause(Duration::from_millis(self.dice.roll(400)));
        self.runner.kill();
        verb.kill();
        self.runner = self.fixture.run();
    }

    fn audit(&mut self) {
        self.writers.pause();
        // Requests are answered in order: whatever was asked before is over when this is answered.
        self.fixture.must(&["verify"]);
        self.fixture.audit_still(self.authority());
        self.writers.resume();
    }
}

fn storm(plan: Plan, seed: u64, rounds: u32) {
    let fixture = Fixture::new(plan);
    let writers = fixture.writers();
    let runner = fixture.run();
    fixture.wait_for("follow");
    let mut storm = Storm {
        fixture: &fixture,
        writers,
        runner,
        dice: Dice(seed),
    };
    let mut done = Vec::new();
    for _ in 0..rounds {
        storm.writers.work();
        done.push(storm.round());
        let story = format!("seed {seed}: {done:?}");
        std::fs::write(fixture.path().join("log-0.err"), story).expect("the story");
        storm.audit();
    }
    storm.writers.finish();
}

fn seeds() -> Vec<u64> {
    match std::env::var("CONTRAFLOW_STORM") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) if std::env::var_os("CONTRAFLOW_SOAK").is_some() => (1..=12).collect(),
        Err(_) => vec![1],
    }
}

fn storms(plan: Plan) {
    for seed in seeds() {
        let long = std::env::var_os("CONTRAFLOW_SOAK").is_some();
        storm(plan, seed, if long { LONG } else { SHORT });
    }
}

#[test]
fn the_phonebook_weathers_a_storm() {
    storms(Plan {
        writers: 3,
        ..Plan::PHONEBOOK
    });
}

#[test]
fn the_shop_weathers_a_storm() {
    storms(Plan {
        same_file: true,
        ..Plan::SHOP
    });
}
