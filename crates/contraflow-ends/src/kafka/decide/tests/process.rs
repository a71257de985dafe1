//! A process, one step at a time: its runner with the product's phase machine, and its lanes.

use std::sync::Arc;

use contraflow_core::error::{Error, Kind};
use contraflow_core::lease::{Epoch, Gate, ownership};
use contraflow_core::phase::{self, Ask, Effect, Hold, Input, Mode, Phase, State};
use contraflow_core::side::{Direction, Side};

use super::super as decide;
use super::model::Flip;
use super::rules::{self, Rule, Step};
use super::world::{Log, Notes, What, Whose, World, Writes, first, index, offsets, places};
use crate::kafka::control::{Checkpoint, Control};
use crate::kafka::place;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Committed,
    Refused,
}

/// A lane that a process works on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    direction: Direction,
    at: At,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Where it will go on, once it was read; and whether the id was taken.
    Claiming {
        next: Option<u8>,
        taken: bool,
    },
    Ready {
        next: u8,
    },
    Sent {
        from: u8,
        next: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) runs: bool,
    /// Of the phase machine.
    pub(super) state: State,
    /// The effect that is being performed.
    pub(super) effect: Option<Effect>,
    step: u8,
    notes: Notes,
    answer: Option<Answer>,
    fence: Option<Vec<u8>>,
    compared: Option<Vec<u8>>,
    lanes: Vec<Option<Lane>>,
}

impl Process {
    pub(super) fn dead(lanes: usize) -> Process {
        Process {
            runs: false,
            state: State::declared(),
            effect: None,
            step: 0,
            notes: Notes::default(),
            answer: None,
            fence: None,
            compared: None,
            lanes: vec![None; lanes],
        }
    }

    pub(super) fn started(lanes: usize) -> Process {
        Process {
            runs: true,
            state: State {
                phase: Phase::Follow,
                ..State::declared()
            },
            ..Process::dead(lanes)
        }
    }

    fn die(&mut self) {
        *self = Process::dead(self.lanes.len());
    }

    /// The broker answers whoever still waits.
    pub(super) fn answered(&mut self, whose: Whose, answer: Answer) {
        match whose {
            Whose::Coordinator if self.waits() => self.answer = Some(answer),
            Whose::Coordinator => {}
            Whose::Lane(direction, lane) => {
                if let Some(lane) = &mut self.lanes[lane]
                    && lane.direction == direction
                    && matches!(lane.at, At::Sent { .. })
                {
                    lane.answer = Some(answer);
                }
            }
        }
    }

    fn waits(&self) -> bool {
        self.effect.is_some() && self.notes != Notes::default()
    }

    /// Tells the machine, and does with its decision what the runner does.
    fn input(&mut self, input: &Input) {
        (self.step, self.notes, self.answer) = (0, Notes::default(), None);
        match phase::decide(Mode::Topics, &self.state, input) {
            Ok(decision) => {
                let is_work = |effect: &Effect| {
                    !matches!(effect, Effect::Carry { .. } | Effect::Standby { .. })
                };
                self.state = decision.state;
                self.effect = decision.effects.into_iter().find(is_work);
            }
            Err(_) => return self.die(),
        }
        if !self.state.phase.is_turn() {
            (self.fence, self.compared) = (None, None);
        }
        let wanted = self.state.carries();
        for lane in &mut self.lanes {
            lane.take_if(|lane| wanted != Some(lane.direction));
        }
    }

    fn done(&mut self) {
        if let Some(effect) = self.effect {
            self.input(&Input::Done(effect));
        }
    }

    fn fails(&mut self) {
        self.input(&Input::Failed(Hold {
            code: None,
            reason: String::new(),
            hint: None,
        }));
    }

    /// Whoever was overtaken ends; everything else is told to the machine.
    fn failed(&mut self, error: &Error) {
        match error.kind {
            Kind::Fenced | Kind::Ambiguous | Kind::Internal => self.die(),
            _ => self.fails(),
        }
    }
}

impl Flip {
    /// A process is started: it asks both ends, whatever its ledger says.
    pub(super) fn start(&self, world: &mut World, p: usize) {
        *world.process(p) = Process::started(self.lanes);
        self.observe(world, p);
    }

    fn observe(&self, world: &mut World, p: usize) {
        let owner = ownership(world.seen.old.as_ref(), world.seen.new.as_ref());
        world.process(p).input(&Input::Observed(owner));
    }

    pub(super) fn ask(&self, world: &mut World, p: usize) -> Option<()> {
        let process = world.process(p);
        let rests = process.effect.is_none() && process.state.phase == Phase::Follow;
        if !process.runs || !rests {
            return None;
        }
        process.input(&Input::Asked(Ask::Cutover { accept_loss: false }));
        // The gates are what keeps a turn from failing; none of them keeps a promise.
        process.done();
        Some(())
    }

    pub(super) fn say(&self, world: &mut World, p: usize) -> Option<()> {
        let process = &world.processes[p];
        if !process.runs || process.effect.is_some() {
            return None;
        }
        world.take(Whose::Coordinator, p);
        let stopped = decide::stopped(&world.seen, Side::Old, world.ends(), 0).ok()?;
        Arc::make_mut(&mut world.control).stopped = Some(stopped);
        world.show_all();
        Some(())
    }

    /// The next step of whatever a process is performing. What nobody else can notice happens in the
    /// same step: taking in an answer, and deciding right before what was decided is sent.
    pub(super) fn step(&self, world: &mut World, p: usize) -> Option<()> {
        let received = self.receive(world, p);
        let stepped = match world.processes[p].effect {
            Some(Effect::Drain { .. }) => {
                let drained = self.is_drained(&world.processes[p]);
                drained.then(|| {
                    world.process(p).done();
                    self.compare(world, p);
                })
            }
            Some(Effect::Observe) => {
                self.observe(world, p);
                Some(())
            }
            Some(effect) => self.moves(world, p, effect),
            None => None,
        };
        stepped.or(received)
    }

    /// Takes in that a commit was answered and can be seen by everybody.
    fn receive(&self, world: &mut World, p: usize) -> Option<()> {
        let effect = world.processes[p].effect?;
        let steps = self.steps(effect);
        let process = world.process(p);
        if steps.get(usize::from(process.step)) != Some(&Step::Receive) {
            return None;
        }
        match process.answer? {
            Answer::Refused => process.die(),
            Answer::Committed if !world.is_shown() => return None,
            Answer::Committed => {
                let process = world.process(p);
                process.answer = None;
                process.step += 1;
                if usize::from(process.step) == steps.len() {
                    process.done();
                }
            }
        }
        Some(())
    }

    fn steps(&self, effect: Effect) -> Vec<Step> {
        let flips = matches!(effect, Effect::Flip { .. });
        rules::moves(self.broken, flips, self.lanes)
    }

    fn is_drained(&self, process: &Process) -> bool {
        let fence = process.fence.iter().flatten();
        let passed = |(lane, fence): (&Option<Lane>, &u8)| match lane {
            Some(Lane {
                at: At::Ready { next },
                ..
            }) => next >= fence,
            _ => false,
        };
        self.broken == Some(Rule::DrainBeforeSeal) || process.lanes.iter().zip(fence).all(passed)
    }

    fn compare(&self, world: &mut World, p: usize) {
        let compared = self.compared(world, p);
        let process = world.process(p);
        match compared {
            Some(compared) => {
                process.compared = Some(compared);
                process.done();
            }
            None => process.fails(),
        }
    }

    /// The audit behind the fence: how far the new topic was compared, when nothing differs.
    fn compared(&self, world: &World, p: usize) -> Option<Vec<u8>> {
        let fence = world.processes[p].fence.as_ref()?;
        let mut compared = Vec::new();
        for ((old, new), goal) in world.old.iter().zip(&world.new).zip(fence) {
            let wanted = old.committed(0, *goal).into_iter();
            let wanted = wanted.map(|(at, _)| What::Copy(at));
            let head = new.stable();
            let found = new.committed(0, head).into_iter().map(|(_, what)| what);
            if self.broken != Some(Rule::DrainBeforeSeal) && !wanted.eq(found) {
                return None;
            }
            compared.push(head);
        }
        Some(compared)
    }

    /// A step in which authority moves.
    fn moves(&self, world: &mut World, p: usize, effect: Effect) -> Option<()> {
        let steps = self.steps(effect);
        let at = usize::from(world.processes[p].step);
        match steps.get(at)? {
            Step::Take => world.take(Whose::Coordinator, p),
            Step::Sweep(lane) => world.take(Whose::Lane(Direction::Forward, *lane), p),
            Step::Decide => match self.decide(world, p, effect) {
                Ok(Some(notes)) => world.process(p).notes = notes,
                Ok(None) => {
                    world.process(p).done();
                    return Some(());
                }
                Err(error) => {
                    world.process(p).failed(&error);
                    return Some(());
                }
            },
            Step::Send => {
                let mut notes = world.processes[p].notes.clone();
                if self.broken == Some(Rule::FlipAtOnce) {
                    notes.starts = None;
                }
                self.sends(world, p, notes);
            }
            Step::SendRest => {
                let starts = world.processes[p].notes.starts.clone();
                let rest = Notes {
                    starts,
                    ..Notes::default()
                };
                self.sends(world, p, rest);
            }
            Step::Receive => return None,
        }
        let process = world.process(p);
        if !process.runs {
            return Some(());
        }
        process.step += 1;
        if at + 1 == steps.len() {
            process.done();
        } else if steps[at] != Step::Take && steps[at + 1] == Step::Send {
            return self.moves(world, p, effect);
        }
        Some(())
    }

    fn sends(&self, world: &mut World, p: usize, notes: Notes) {
        if !world.send(Whose::Coordinator, p, Writes::Notes(notes), &[]) {
            world.process(p).die();
        }
    }

    /// What the product writes for an effect, on what it reads in the control topic.
    fn decide(&self, world: &mut World, p: usize, effect: Effect) -> Result<Option<Notes>, Error> {
        let (ends, control) = (world.ends(), Arc::clone(&world.seen));
        let new_ends = world.new.iter().map(Log::end).collect();
        let process = world.process(p);
        let (epoch, control) = (process.state.epoch, &control);
        let mut notes = Notes::default();
        match effect {
            Effect::Fence { side } => {
                let standing = decide::fence(control, side, epoch, &ends, 0)?;
                process.fence = Some(offsets(&ends.written));
                notes.standings.push((side, standing));
            }
            Effect::Seal { .. } if self.broken == Some(Rule::SealBeforeFlip) => return Ok(None),
            Effect::Seal { side } => {
                let drained = match self.broken {
                    Some(Rule::SealLooksAtEnds) => place::encode(&ends.written),
                    _ => place::encode(&places(process.fence.as_deref().unwrap_or_default())),
                };
                let compared = process.compared.as_deref().unwrap_or_default();
                let compared = place::encode(&places(compared));
                let (standing, sealed) =
                    decide::seal(control, side, epoch, ends, &drained, &compared)?;
                notes.standings.push((side, standing));
                notes.sealed = Some(sealed);
            }
            Effect::Flip { side } => {
                let control = self.before_flip(control, process, epoch, &ends);
                let flipped = decide::flip(&control, side, epoch, 0)?;
                let starts = match self.broken {
                    Some(Rule::StartWhereCompared) => new_ends,
                    _ => offsets(&flipped.checkpoint.next),
                };
                notes.flip = Some(flipped.flip);
                notes.starts = Some(starts);
                notes.standings.push((side, flipped.standing));
                if self.broken == Some(Rule::SealBeforeFlip) {
                    let closed = control.old.expect("it was just made");
                    notes.standings.push((side.other(), closed));
                }
            }
            Effect::Lift { side } => {
                let mut control = Control::clone(control);
                if self.broken == Some(Rule::LiftAsks)
                    && let Some(standing) = &mut control.old
                {
                    (standing.gate, standing.epoch) = (Gate::Fenced, epoch);
                }
                let Some(standing) = decide::lift(&control, side, epoch)? else {
                    return Ok(None);
                };
                notes.standings.push((side, standing));
            }
            _ => return Ok(None),
        }
        Ok(Some(notes))
    }

    /// What the flip decides on: as it was read, unless nobody looks.
    fn before_flip(
        &self,
        control: &Control,
        process: &Process,
        epoch: Epoch,
        ends: &decide::Ends,
    ) -> Control {
        let mut control = control.clone();
        let forgets = [Some(Rule::FlipAsks), Some(Rule::SealBeforeFlip)];
        if forgets.contains(&self.broken) {
            control.old = first(Gate::Closed);
            if let Some(old) = &mut control.old {
                old.epoch = epoch;
            }
            control.new = first(Gate::Closed);
        }
        if self.broken == Some(Rule::SealBeforeFlip) {
            let compared = process.compared.as_deref().unwrap_or_default();
            control.sealed = Some(crate::kafka::control::Sealed {
                old_ends: ends.written.clone(),
                new_compared: places(compared),
            });
        }
        control
    }

    /// The next step of a lane of a process.
    pub(super) fn carry(&self, world: &mut World, p: usize, k: usize) -> Option<()> {
        let process = &world.processes[p];
        let direction = process.state.carries().filter(|_| process.runs)?;
        let lane = process.lanes[k].clone().unwrap_or(Lane {
            direction,
            at: At::Claiming {
                next: None,
                taken: false,
            },
            answer: None,
        });
        let at = match lane.at {
            At::Claiming { next, taken } => self.claim(world, p, k, direction, (next, taken))?,
            At::Ready { next } => self.carries(world, p, k, direction, next)?,
            At::Sent { next, .. } => match lane.answer? {
                Answer::Committed => {
                    if self.broken == Some(Rule::CheckpointWithRecords) {
                        world.marks[index(direction)][k] = Some(next);
                    }
                    Some(At::Ready { next })
                }
                Answer::Refused => None,
            },
        };
        let process = world.process(p);
        match at {
            None => process.die(),
            Some(at) => {
                process.lanes[k] = Some(Lane {
                    direction,
                    at,
                    answer: None,
                });
            }
        }
        Some(())
    }

    fn claim(
        &self,
        world: &mut World,
        p: usize,
        k: usize,
        direction: Direction,
        (next, taken): (Option<u8>, bool),
    ) -> Option<Option<At>> {
        let reads_first = self.broken == Some(Rule::ClaimTakesFirst);
        if !taken && (!reads_first || next.is_some()) {
            world.take(Whose::Lane(direction, k), p);
            return Some(Some(match next {
                Some(next) => At::Ready { next },
                None => At::Claiming { next, taken: true },
            }));
        }
        let mut control = Control::clone(&world.seen);
        if self.broken == Some(Rule::NeverAgain) {
            control.flip = None;
        }
        let may = decide::carry(&control, direction.target(), direction);
        if may.is_err() && self.broken != Some(Rule::ClaimAsks) {
            return Some(None);
        }
        let hidden = direction == Direction::Reverse && world.hidden[k];
        let mark = world.marks[index(direction)][k].filter(|_| !hidden);
        let checkpoint = mark.map(|next| Checkpoint {
            next: places(&[next]),
            ..Checkpoint::default()
        });
        let starts_anywhere = self.broken == Some(Rule::WayBackNeedsStart) && checkpoint.is_none();
        let from = match decide::resume(&control, direction, checkpoint) {
            Ok(_) | Err(_) if starts_anywhere => None,
            Ok(places) => places,
            // It is tried again.
            Err(_) => return None,
        };
        // A checkpoint is of its partition, a flip of all of them.
        let next = from.map_or(0, |places| {
            let places = offsets(&places);
            places.get(k).or(places.first()).copied().unwrap_or(0)
        });
        // As `resume.rs` does: what is copied already is not copied again.
        let target = world.log(direction.target(), k);
        let copied = target.committed(0, target.stable());
        let copied = copied.iter().filter_map(|(_, what)| match what {
            What::Copy(at) => Some(at + 1),
            What::Own => None,
        });
        let next = copied.max().map_or(next, |copied| copied.max(next));
        Some(Some(match taken {
            true => At::Ready { next },
            false => At::Claiming {
                next: Some(next),
                taken,
            },
        }))
    }

    /// Sends everything that is visible, as one transaction.
    fn carries(
        &self,
        world: &mut World,
        p: usize,
        k: usize,
        direction: Direction,
        next: u8,
    ) -> Option<Option<At>> {
        let log = world.log(direction.source(), k);
        let until = log.stable();
        if until <= next {
            return None;
        }
        let mut records = log.committed(next, until);
        if records.iter().any(|(_, what)| *what != What::Own) {
            // On the way back a copy may lie here only when it is of a late record, which a lane
            // that was still allowed to carried between the seal and the sweep: it is passed. At any
            // other the product stops.
            let ends = world.control.flip.as_ref();
            let ends = ends.map_or_else(Vec::new, |flip| offsets(&flip.old_ends));
            let is_late = |what: &What| match what {
                What::Copy(at) => ends.get(k).is_some_and(|end| at >= end),
                What::Own => true,
            };
            let all_late = records.iter().all(|(_, what)| is_late(what));
            if direction == Direction::Forward {
                return Some(None);
            }
            if !all_late {
                world.fault = Some("the way back began among copies");
                return Some(None);
            }
            records.retain(|(_, what)| *what == What::Own);
        }
        let copies: Vec<u8> = records.iter().map(|(at, _)| *at).collect();
        let whose = Whose::Lane(direction, k);
        let sent = world.send(whose, p, Writes::Batch(until), &copies);
        Some(sent.then_some(At::Sent {
            from: next,
            next: until,
        }))
    }

    /// The answer to a commit never comes, or a step is given up.
    pub(super) fn lose(&self, world: &mut World, p: usize) -> Option<()> {
        let process = world.process(p);
        let gives_up = matches!(
            process.effect?,
            Effect::Drain { .. } | Effect::Compare { .. }
        );
        if !gives_up && !process.waits() {
            return None;
        }
        process.fails();
        Some(())
    }

    pub(super) fn lose_lane(&self, world: &mut World, p: usize, k: usize) -> Option<()> {
        let lane = world.processes[p].lanes[k].clone()?;
        let At::Sent { from, .. } = lane.at else {
            return None;
        };
        let held = world.lanes[index(lane.direction)][k].holder == Some(p);
        let open = world.lanes[index(lane.direction)][k].open.is_some();
        let again = self.broken == Some(Rule::RereadWhenUnknown) && held && !open;
        world.process(p).lanes[k] = again.then_some(Lane {
            at: At::Ready { next: from },
            answer: None,
            ..lane
        });
        Some(())
    }
}
