//! Kafka, as far as the flip needs it: logs, transactional ids, and a control topic that shows what
//! was committed a moment later.

use std::sync::Arc;

use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::side::{Direction, Side};

use super::super::Ends;
use super::process::{Answer, Process};
use crate::kafka::control::{Control, Flip, Sealed};
use crate::kafka::native::TopicId;
use crate::kafka::place::TopicPlace;

/// A record is its producer's, or the copy of the one at a place of the other topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Own,
    Copy(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Open,
    Committed,
    Aborted,
}

/// One partition of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Log(pub(super) Vec<(What, Fate)>);

impl Log {
    pub(super) fn end(&self) -> u8 {
        u8::try_from(self.0.len()).expect("few records")
    }

    /// The last stable offset: readers of committed records come as far as this.
    pub(super) fn stable(&self) -> u8 {
        let open = self.0.iter().position(|(_, fate)| *fate == Fate::Open);
        open.map_or(self.end(), |at| u8::try_from(at).expect("few records"))
    }

    /// What counts between two places.
    pub(super) fn committed(&self, from: u8, to: u8) -> Vec<(u8, What)> {
        let all = (0..).zip(&self.0).map(|(at, record)| (at, *record));
        let counts =
            all.filter(|(at, (_, fate))| (from..to).contains(at) && *fate == Fate::Committed);
        counts.map(|(at, (what, _))| (at, what)).collect()
    }

    /// Decides about the open records of a lane, or of the producer.
    pub(super) fn settle(&mut self, of_lane: bool, becomes: Fate) {
        for (what, fate) in &mut self.0 {
            if *fate == Fate::Open && (*what != What::Own) == of_lane {
                *fate = becomes;
            }
        }
    }
}

/// What whoever moves authority writes at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Notes {
    pub(super) standings: Vec<(Side, Standing)>,
    pub(super) sealed: Option<Sealed>,
    pub(super) flip: Option<Flip>,
    /// Where the lanes of the way back begin.
    pub(super) starts: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Writes {
    Notes(Notes),
    /// Records up to here of the source.
    Batch(u8),
}

/// A transactional id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Id {
    /// Whose epoch is the newest.
    pub(super) holder: Option<usize>,
    /// A transaction whose end is on its way to the broker.
    pub(super) open: Option<Writes>,
}

/// Whose transactional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Coordinator,
    Lane(Direction, usize),
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    /// Records that the old producer writes.
    pub(super) old: u8,
    /// How many of them in transactions that stay open.
    pub(super) open: u8,
    /// Records that the new producer writes, also before it may.
    pub(super) new: u8,
    /// How often somebody says that the producers have stopped.
    pub(super) said: u8,
    /// How often a turn is asked for.
    pub(super) asked: u8,
    /// Processes that are started, beside the first.
    pub(super) started: u8,
    /// Answers that are lost, and steps that are given up.
    pub(super) lost: u8,
    /// How often the standings are put back by somebody who should not.
    pub(super) restored: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) old: Vec<Log>,
    pub(super) new: Vec<Log>,
    /// What is decided.
    pub(super) control: Arc<Control>,
    /// What its readers see.
    pub(super) seen: Arc<Control>,
    /// The checkpoints of the lanes, by direction.
    pub(super) marks: [Vec<Option<u8>>; 2],
    /// Lanes of the way back whose first checkpoint is not visible yet.
    pub(super) hidden: Vec<bool>,
    pub(super) coordinator: Id,
    pub(super) lanes: [Vec<Id>; 2],
    pub(super) processes: [Arc<Process>; 2],
    pub(super) left: Bounds,
    /// A promise that was broken in a step, not in a state.
    pub(super) fault: Option<&'static str>,
}

pub(super) fn index(direction: Direction) -> usize {
    match direction {
        Direction::Forward => 0,
        Direction::Reverse => 1,
    }
}

/// Places of the one topic of a side.
pub(super) fn places(next: &[u8]) -> Vec<TopicPlace> {
    vec![TopicPlace {
        topic: String::new(),
        id: TopicId([0; 16]),
        next: next.iter().map(|next| i64::from(*next)).collect(),
    }]
}

pub(super) fn offsets(places: &[TopicPlace]) -> Vec<u8> {
    let all = places.iter().flat_map(|place| &place.next);
    all.map(|next| u8::try_from(*next).expect("few records"))
        .collect()
}

/// A standing as expand writes it.
pub(super) fn first(gate: Gate) -> Option<Standing> {
    Some(Standing {
        gate,
        epoch: Epoch::FIRST,
        ledger: String::new(),
        mapping: String::new(),
    })
}

impl World {
    pub(super) fn new(bounds: Bounds, lanes: usize) -> World {
        let control = Arc::new(Control {
            old: first(Gate::Open),
            new: first(Gate::Closed),
            ..Control::default()
        });
        let processes = [Process::started(lanes), Process::dead(lanes)];
        World {
            old: vec![Log::default(); lanes],
            new: vec![Log::default(); lanes],
            seen: Arc::clone(&control),
            control,
            marks: [vec![None; lanes], vec![None; lanes]],
            hidden: vec![false; lanes],
            coordinator: Id::default(),
            lanes: [vec![Id::default(); lanes], vec![Id::default(); lanes]],
            processes: processes.map(Arc::new),
            left: bounds,
            fault: None,
        }
    }

    pub(super) fn process(&mut self, p: usize) -> &mut Process {
        Arc::make_mut(&mut self.processes[p])
    }

    pub(super) fn log(&mut self, side: Side, partition: usize) -> &mut Log {
        match side {
            Side::Old => &mut self.old[partition],
            Side::New => &mut self.new[partition],
        }
    }

    pub(super) fn ends(&self) -> Ends {
        let visible: Vec<u8> = self.old.iter().map(Log::stable).collect();
        let written: Vec<u8> = self.old.iter().map(Log::end).collect();
        Ends {
            visible: places(&visible),
            written: places(&written),
        }
    }

    pub(super) fn id(&mut self, whose: Whose) -> &mut Id {
        match whose {
            Whose::Coordinator => &mut self.coordinator,
            Whose::Lane(direction, lane) => &mut self.lanes[index(direction)][lane],
        }
    }

    /// `InitProducerId`: an open transaction is aborted, a committed one is complete afterwards.
    pub(super) fn take(&mut self, whose: Whose, by: usize) {
        let id = self.id(whose);
        let before = id.holder.replace(by);
        let aborted = id.open.take().is_some();
        match whose {
            Whose::Coordinator => self.show_all(),
            Whose::Lane(direction, lane) if aborted => {
                let log = self.log(direction.target(), lane);
                log.settle(true, Fate::Aborted);
            }
            Whose::Lane(..) => {}
        }
        if let (Some(before), true) = (before, aborted) {
            self.process(before).answered(whose, Answer::Refused);
        }
    }

    /// Begins a transaction, writes, and sends its end. False when somebody else has the id.
    pub(super) fn send(&mut self, whose: Whose, by: usize, writes: Writes, copies: &[u8]) -> bool {
        if self.id(whose).holder != Some(by) {
            return false;
        }
        if let Whose::Lane(direction, lane) = whose {
            let records = copies.iter().map(|at| (What::Copy(*at), Fate::Open));
            self.log(direction.target(), lane).0.extend(records);
        }
        self.id(whose).open = Some(writes);
        true
    }

    /// `EndTxn` arrives, in time.
    pub(super) fn commit(&mut self, whose: Whose, with_checkpoint: bool) -> Option<()> {
        let id = self.id(whose);
        let (writes, by) = (id.open.take()?, id.holder?);
        match (writes, whose) {
            (Writes::Notes(notes), _) => self.write(notes),
            (Writes::Batch(next), Whose::Lane(direction, lane)) => {
                self.log(direction.target(), lane)
                    .settle(true, Fate::Committed);
                if with_checkpoint {
                    self.marks[index(direction)][lane] = Some(next);
                }
                self.fault = match (direction, &self.control.flip) {
                    (Direction::Forward, Some(_)) => Some("carried forward after the flip"),
                    (Direction::Reverse, None) => Some("carried back before the flip"),
                    _ => self.fault,
                };
            }
            (Writes::Batch(_), Whose::Coordinator) => return None,
        }
        self.process(by).answered(whose, Answer::Committed);
        Some(())
    }

    fn write(&mut self, notes: Notes) {
        let Notes {
            standings,
            sealed,
            flip,
            starts,
        } = notes;
        let control = Arc::make_mut(&mut self.control);
        let at_once = sealed.is_none() && flip.is_none() && starts.is_none();
        for (side, standing) in standings {
            match side {
                Side::Old => control.old = Some(standing),
                Side::New => control.new = Some(standing),
            }
        }
        if sealed.is_some() {
            control.sealed = sealed;
        }
        if flip.is_some() {
            if control.flip.is_some() {
                self.fault = Some("flipped twice");
            }
            control.flip = flip;
        }
        if let Some(starts) = starts {
            self.hidden = vec![true; starts.len()];
            self.marks[index(Direction::Reverse)] = starts.into_iter().map(Some).collect();
        }
        // Nobody decides otherwise because of a fence or a lift, so it does not matter who sees it.
        if at_once {
            self.show_all();
        }
    }

    /// Everything committed is visible.
    pub(super) fn show_all(&mut self) {
        self.seen.clone_from(&self.control);
        self.hidden.fill(false);
    }

    pub(super) fn is_shown(&self) -> bool {
        self.seen == self.control && !self.hidden.contains(&true)
    }
}
