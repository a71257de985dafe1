//! Everything that may happen next, and what must be true all the time.

use std::sync::Arc;

use contraflow_core::lease::{Gate, Ownership};
use contraflow_core::side::{Direction, Side};
use stateright::{Model, Property};

use super::rules::Rule;
use super::world::{Fate, Log, What, Whose, World, first, index, offsets};

pub(super) use super::world::Bounds;

impl Bounds {
    /// The least with which a change flips and carries back while two processes run.
    pub(super) const LEAST: Bounds = Bounds {
        old: 1,
        open: 0,
        new: 1,
        said: 1,
        asked: 1,
        started: 1,
        lost: 0,
        restored: 0,
    };
}

/// The protocol with two processes, and the rule that is broken in it.
#[derive(Clone, Debug)]
pub(super) struct Flip {
    bounds: Bounds,
    pub(super) lanes: usize,
    pub(super) broken: Option<Rule>,
}

/// What can happen, and should.
pub(super) const REACHED: [&str; 4] = [
    "a late record is left where it is",
    "carries back",
    "flips",
    "flips after a turn that failed",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The old producer writes, perhaps in a transaction that stays open.
    WriteOld {
        partition: usize,
        open: bool,
    },
    /// It ends that transaction.
    EndOld {
        partition: usize,
        fate: Fate,
    },
    /// The new producer writes.
    WriteNew {
        partition: usize,
    },
    /// The end of a transaction arrives at the broker.
    Arrive(Whose),
    /// Authority becomes visible.
    ShowAuthority,
    /// The start of a lane of the way back becomes visible.
    ShowStart(usize),
    /// Somebody says that the producers have stopped.
    Say(usize),
    /// Somebody asks for the turn.
    Ask(usize),
    /// A process goes on with what it is performing.
    Step(usize),
    /// A lane of a process goes on.
    Carry(usize, usize),
    /// The answer to a process is lost, or it gives up.
    Lose(usize),
    LoseLane(usize, usize),
    /// A process is killed, if it runs, and started again. One that is killed for good is one that
    /// makes no more steps.
    Start(usize),
    /// Somebody puts the standings back to what they were.
    Restore,
}

impl Flip {
    pub(super) fn new(bounds: Bounds, lanes: usize, broken: Option<Rule>) -> Flip {
        Flip {
            bounds,
            lanes,
            broken,
        }
    }

    /// What a process, a lane or a broker may do next.
    fn act(&self, world: &mut World, action: Action) -> Option<()> {
        let left = &mut world.left;
        match action {
            Action::WriteOld { partition, open } => {
                left.old = left.old.checked_sub(1)?;
                left.open = left.open.checked_sub(u8::from(open))?;
                let fate = if open { Fate::Open } else { Fate::Committed };
                world.old[partition].0.push((What::Own, fate));
                Some(())
            }
            Action::EndOld { partition, fate } => {
                let open = (What::Own, Fate::Open);
                world.old[partition].0.contains(&open).then_some(())?;
                world.old[partition].settle(false, fate);
                Some(())
            }
            Action::WriteNew { partition } => {
                left.new = left.new.checked_sub(1)?;
                let record = (What::Own, Fate::Committed);
                world.new[partition].0.push(record);
                Some(())
            }
            Action::Arrive(whose) => {
                world.commit(whose, self.broken != Some(Rule::CheckpointWithRecords))
            }
            Action::ShowAuthority => {
                (world.seen != world.control).then_some(())?;
                world.seen.clone_from(&world.control);
                Some(())
            }
            Action::ShowStart(lane) => {
                world.hidden[lane].then_some(())?;
                world.hidden[lane] = false;
                Some(())
            }
            Action::Say(p) => {
                left.said = left.said.checked_sub(1)?;
                self.say(world, p)
            }
            Action::Ask(p) => {
                left.asked = left.asked.checked_sub(1)?;
                self.ask(world, p)
            }
            Action::Step(p) => self.step(world, p),
            Action::Carry(p, lane) => self.carry(world, p, lane),
            Action::Lose(p) => {
                left.lost = left.lost.checked_sub(1)?;
                self.lose(world, p)
            }
            Action::LoseLane(p, lane) => {
                left.lost = left.lost.checked_sub(1)?;
                self.lose_lane(world, p, lane)
            }
            Action::Start(p) => {
                left.started = left.started.checked_sub(1)?;
                self.start(world, p);
                Some(())
            }
            Action::Restore => {
                left.restored = left.restored.checked_sub(1)?;
                let control = Arc::make_mut(&mut world.control);
                (control.old, control.new) = (first(Gate::Open), first(Gate::Closed));
                world.show_all();
                Some(())
            }
        }
    }
}

impl Model for Flip {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.bounds, self.lanes)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // What follows a broken promise is of no interest.
        if world.fault.is_some() {
            return;
        }
        for partition in 0..self.lanes {
            for open in [false, true] {
                actions.push(Action::WriteOld { partition, open });
            }
            for fate in [Fate::Committed, Fate::Aborted] {
                actions.push(Action::EndOld { partition, fate });
            }
            actions.push(Action::WriteNew { partition });
            actions.push(Action::ShowStart(partition));
            for direction in Direction::BOTH {
                actions.push(Action::Arrive(Whose::Lane(direction, partition)));
            }
        }
        actions.push(Action::Arrive(Whose::Coordinator));
        actions.push(Action::ShowAuthority);
        actions.push(Action::Restore);
        for (p, process) in world.processes.iter().enumerate() {
            actions.push(Action::Start(p));
            if !process.runs {
                continue;
            }
            actions.extend([
                Action::Say(p),
                Action::Ask(p),
                Action::Step(p),
                Action::Lose(p),
            ]);
            for lane in 0..self.lanes {
                actions.extend([Action::Carry(p, lane), Action::LoseLane(p, lane)]);
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.act(&mut next, action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Flip>> {
        let mut all = vec![
            Property::always("never both directions", |_, world: &World| {
                world.fault.is_none()
            }),
            Property::always("carried once, in order", |_, world| carried(world)),
            Property::always("carried before the flip", |_, world| is_whole(world)),
            Property::always(
                "carried back once, in order, from the starts",
                |_, world| carried_back(world),
            ),
        ];
        if self.bounds.restored == 0 {
            all.extend([
                Property::always(
                    "nobody needs to guess who has authority",
                    |_, world: &World| world.control.ownership() != Ownership::Ambiguous,
                ),
                Property::always("the flip stands with its starts", |_, world| {
                    stands_together(world)
                }),
                Property::sometimes(REACHED[0], |_, world: &World| {
                    let late = |log: &Log| log.0.iter().any(|record| record.0 == What::Own);
                    flipped_at(world).is_some_and(|ends| {
                        let behind = |(log, end): (&Log, &u8)| {
                            late(&Log(log.0[usize::from(*end)..].to_vec()))
                        };
                        world.old.iter().zip(&ends).any(behind)
                    })
                }),
                Property::sometimes(REACHED[1], |_, world: &World| {
                    let back = |log: &Log| log.0.contains(&(What::Copy(1), Fate::Committed));
                    flipped_at(world).is_some() && world.old.iter().any(back)
                }),
                Property::sometimes(REACHED[2], |_, world| flipped_at(world).is_some()),
                Property::sometimes(REACHED[3], |flip: &Flip, world: &World| {
                    flipped_at(world).is_some() && world.left.asked + 1 < flip.bounds.asked
                }),
            ]);
        }
        all
    }
}

/// The ends of the old topic in the flip.
fn flipped_at(world: &World) -> Option<Vec<u8>> {
    let flip = world.control.flip.as_ref();
    flip.map(|flip| offsets(&flip.old_ends))
}

/// The copies in a log name records of the other one, each once and in order.
fn copies(log: &Log, of: &Log) -> Option<Vec<u8>> {
    let mut copies = Vec::new();
    for (_, what) in log.committed(0, log.end()) {
        if let What::Copy(at) = what {
            let record = of.0.get(usize::from(at));
            let counts = record == Some(&(What::Own, Fate::Committed));
            if !counts || copies.last().is_some_and(|last| *last >= at) {
                return None;
            }
            copies.push(at);
        }
    }
    Some(copies)
}

fn own(log: &Log, until: u8) -> Vec<u8> {
    let all = log.committed(0, until).into_iter();
    all.filter(|(_, what)| *what == What::Own)
        .map(|(at, _)| at)
        .collect()
}

/// Forward: what the checkpoint says was carried has been, and nothing else.
fn carried(world: &World) -> bool {
    let marks = &world.marks[index(Direction::Forward)];
    let logs = world.old.iter().zip(&world.new).zip(marks);
    let mut all = logs.map(|((old, new), mark)| match (copies(new, old), mark) {
        (Some(copies), mark) => copies == own(old, mark.unwrap_or(0)),
        (None, _) => false,
    });
    all.all(|holds| holds)
}

/// Everything of the old producers before the flip was carried, and nothing before it is open.
fn is_whole(world: &World) -> bool {
    let Some(ends) = flipped_at(world) else {
        return true;
    };
    let logs = world.old.iter().zip(&world.new).zip(&ends);
    let mut all = logs.map(|((old, new), end)| {
        let copies = copies(new, old).unwrap_or_default();
        let before: Vec<u8> = copies.into_iter().filter(|at| at < end).collect();
        old.stable() >= *end && before == own(old, *end)
    });
    all.all(|holds| holds)
}

/// Back: every record of the new producers up to the checkpoint, whenever it was written.
fn carried_back(world: &World) -> bool {
    let marks = &world.marks[index(Direction::Reverse)];
    let logs = world.old.iter().zip(&world.new).zip(marks);
    let mut all = logs.map(|((old, new), mark)| match (copies(old, new), mark) {
        (Some(copies), mark) => copies == own(new, mark.unwrap_or(0)),
        (None, _) => false,
    });
    all.all(|holds| holds)
}

fn stands_together(world: &World) -> bool {
    let marks = &world.marks[index(Direction::Reverse)];
    let by_new = matches!(
        world.control.ownership(),
        Ownership::Held { by: Side::New, .. }
    );
    world.control.flip.is_none() || by_new && marks.iter().all(Option::is_some)
}
