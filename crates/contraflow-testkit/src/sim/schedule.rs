//! What happens, in order. Each step carries its own chance, so that leaving one out does not
//! change the others.

use crate::chance::Chance;
use crate::memory::Style;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A transaction of the application at the authority.
    Write(u64),
    /// A transaction of an application that has not heard of the turn, at the mirror.
    Stray(u64),
    /// A pending transaction becomes visible.
    Reveal(u64),
    /// The flow steps; its feed hands out at most so many events at once.
    Flow(u64),
    /// The feed receives a batch and the flow stops before it is applied.
    Receive,
    /// The next range of history is read; a transaction falls in between.
    Read(u64),
    /// What was read first is handed to the flow.
    Offer,
    /// Keys are carried again.
    Recarry(u64),
    /// The run is cut off after so many named points.
    Cut(u64),
    /// The process dies.
    Kill,
    /// Another process takes over, and this one does not know.
    Overtake,
    /// An overtaken process goes on.
    Zombie(u64),
    /// The next step of a turn.
    Turn,
    /// A fence is ended early.
    Lift,
    /// Milliseconds pass.
    Pass(u64),
}

/// A whole schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The seed it was made of.
    pub seed: u64,
    /// The kind of feed of both ends.
    pub style: Style,
    /// Rows that were there before the change.
    pub history: u64,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Schedule {
        let mut chance = Chance::new(seed);
        let style = if chance.once_in(3) {
            Style::Journal
        } else {
            Style::Log
        };
        let history = chance.below(12);
        let turns = chance.once_in(2);
        let length = if turns { 60 } else { 20 } + chance.below(100);
        let steps = (0..length).map(|_| step(&mut chance, turns)).collect();
        Schedule {
            seed,
            style,
            history,
            steps,
        }
    }
}

fn step(chance: &mut Chance, turns: bool) -> Step {
    let own = chance.draw();
    match chance.below(if turns { 112 } else { 100 }) {
        0..25 => Step::Write(own),
        25..27 => Step::Stray(own),
        27..37 => Step::Reveal(own),
        37..58 => Step::Flow(1 + own % 6),
        58..62 => Step::Receive,
        62..73 => Step::Read(own),
        73..83 => Step::Offer,
        83..86 => Step::Recarry(own),
        86..89 => Step::Cut(own % 8),
        89 => Step::Kill,
        90..93 => Step::Overtake,
        93..97 => Step::Zombie(1 + own % 6),
        97 => Step::Lift,
        98..100 => Step::Pass(own % 40),
        _ => Step::Turn,
    }
}
