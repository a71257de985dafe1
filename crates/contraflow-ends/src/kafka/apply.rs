//! The writer of topics: records, checkpoint and a copy of it in the consumer group, in one
//! transaction of the target.

use std::collections::BTreeMap;
use std::iter::StepBy;
use std::ops::RangeFrom;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Resume, StoredLetter, fenced,
};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, LaneId, Lease};
use contraflow_core::log::Place;
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{Key, Record};
use contraflow_core::side::Direction;

use super::barrier::Barrier;
use super::control::{self, AUTHORITY, Checkpoint, Contents, Control, LANES, Note};
use super::copies::{self, Copies, broken, without_envelope};
use super::decide;
use super::letters::{self, Parked};
use super::park::{self, At, Turn};
use super::place;
use super::producer::{self, Producer};
use super::refused::Number;
use super::resume;
use super::{Context, client};

/// How long is tried to find out who has a lane that is ours no longer, and the pause between.
const OWNER_MAX: Duration = Duration::from_secs(30);
const OWNER_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Writer {
    context: Context,
    lane: Option<Lane>,
}

/// A lane that is ours, as long as nobody else claims it.
struct Lane {
    producer: Producer,
    /// Bytes of its batches, by what the topics took when the lane was claimed.
    batch_bytes: u64,
    /// Names the group that keeps a copy of the checkpoint.
    group: client::Brief,
    direction: Direction,
    lane: LaneId,
    token: u64,
    /// Letters of this lane that stand.
    parked: BTreeMap<At, Parked>,
    /// Numbers of new letters: no other lane gives them out.
    ids: StepBy<RangeFrom<u64>>,
}

/// Numbers of letters behind the last one, for one lane alone.
fn ids(lane: LaneId, last: Option<u64>) -> StepBy<RangeFrom<u64>> {
    let lanes = u64::from(LANES);
    let rounds = last.map_or(0, |last| last / lanes + 1);
    (rounds * lanes + 1 + u64::from(lane.0)..).step_by(usize::from(LANES))
}

/// A lane whose id is ours, and what stands of it.
struct Taken {
    producer: Producer,
    control: Control,
    epoch: Epoch,
    found: Option<Checkpoint>,
    /// Everything that was committed before lies before it.
    barrier: Barrier,
}

/// Why a transaction failed, and what it had to write.
struct Failed<'s, 'r>(Error, &'s [&'r Record]);

impl Lane {
    /// The keys of the letters that stand.
    fn standing(&self) -> BTreeMap<At, Key> {
        let key = |parked: &Parked| parked.stored.letter.source_key.clone();
        let all = self.parked.iter();
        all.map(|(at, parked)| (*at, key(parked))).collect()
    }

    fn keep(&mut self, letters: Vec<Parked>) {
        let at = |letter: Parked| letter.at().map(|at| (at, letter));
        self.parked.extend(letters.into_iter().filter_map(at));
    }
}

impl Writer {
    pub(super) fn new(context: Context) -> Writer {
        Writer {
            context,
            lane: None,
        }
    }

    /// A broker that ends a transaction because it took too long fences its owner too. Nobody has
    /// taken the lane over then, so it is claimed again: also where what was read is older than our
    /// own claim. Where a broker was lost such transactions end, so it is asked for a while.
    fn overtaken(&self, error: Error, lease: &Lease) -> Error {
        if error.kind != Kind::Fenced {
            return error;
        }
        let clock = &self.context.clock;
        let deadline = clock.elapsed() + OWNER_MAX;
        loop {
            match control::checkpoint(&self.context, lease.direction, lease.lane) {
                Ok(Some(found)) if found.token <= lease.token => {
                    let message = "the broker has ended a transaction of ours";
                    return Error::new(Kind::Transient, Code::END_FAILED, message).because(error);
                }
                Err(unread) if unread.kind == Kind::Transient && clock.elapsed() < deadline => {
                    clock.sleep(OWNER_LOOK);
                }
                Ok(_) | Err(_) => return error,
            }
        }
    }

    /// What was refused, when that is why a transaction failed. The lane stays ours.
    fn refused(&self, lane: &mut Lane, lease: &Lease, failed: Failed<'_, '_>) -> Result<Applied> {
        let Failed(error, sent) = failed;
        if error.kind != Kind::Data {
            return Err(error);
        }
        let refusals = lane.producer.refused();
        let is_large = refusals.iter().any(|refusal| refusal.too_large);
        if is_large && producer::batch_bytes(&self.context)? < lane.batch_bytes {
            let message = "the topics take less at once than they did: the lane is claimed anew";
            return Err(Error::new(Kind::Transient, Code::END_SETTING, message));
        }
        let taken = self.take(lease.lane, lease.direction, lane.batch_bytes)?;
        let is_ours =
            |found: &Checkpoint| (found.token, found.sequence) == (lease.token, lease.sequence);
        if taken.epoch != lease.epoch || !taken.found.as_ref().is_some_and(is_ours) {
            return Err(fenced("the lane was claimed by somebody else"));
        }
        lane.producer = taken.producer;
        Ok(Applied {
            refused: copies::refused(refusals, sent),
            ..Applied::default()
        })
    }

    /// Takes a lane's id, and looks who has it. In this order: an earlier owner can commit nothing
    /// any more, and whoever moved authority before this moment is seen. A barrier sees to it that
    /// whatever they committed is read, whoever led the partitions then and leads them now.
    fn take(&self, lane: LaneId, direction: Direction, batch_bytes: u64) -> Result<Taken> {
        let (context, names) = (&self.context, &self.context.names);
        let producer = Producer::take_for(context, &names.lane(direction, lane), batch_bytes)?;
        let partitions = [AUTHORITY, control::partition(lane)];
        let mut at = control::in_control(context, &partitions);
        at.push((names.letters.clone(), letters::of_lane(lane)));
        let barrier = Barrier::commit(&producer, context, at)?;
        let found = Contents::read(context, &partitions, Some(&barrier))?.unwrap_or_default();
        let control = found.control()?;
        Ok(Taken {
            epoch: decide::carry(&control, self.context.role.side, direction)?,
            found: found.checkpoint(direction, lane)?,
            producer,
            control,
            barrier,
        })
    }

    /// Writes what can be written, parks the rest, and moves the checkpoint.
    fn commit(
        &self,
        lane: &mut Lane,
        (records, letters): (&[Record], &[Letter]),
        through: &Position,
        lease: &Lease,
    ) -> Result<Applied> {
        let next = place::decode(through).ok_or_else(|| broken("a position of something else"))?;
        let sorted = park::sort(records, letters, &lane.standing(), Turn::Theirs);
        let mut parked = Vec::new();
        if !sorted.parked.is_empty() {
            letters::make(&self.context)?;
            let (direction, new) = (lane.direction, sorted.parked);
            parked = letters::park(&self.context, direction, new, &next, &mut lane.ids)?;
        }
        let at = Checkpoint {
            token: lease.token,
            sequence: lease.sequence + 1,
            next,
        };
        let note = Note::checkpoint(lane.direction, lease.lane, &at);
        let copies = Copies {
            context: &self.context,
            direction: lane.direction,
            late: false,
            from: &at.next,
        };
        let written = self.transaction(&lane.producer, || {
            copies.send(&lane.producer, &sorted.sent)?;
            for letter in &parked {
                letter.send(&lane.producer, &self.context)?;
            }
            note.send(&lane.producer, &self.context)?;
            lane.producer
                .offsets(&lane.group, &client::offsets(&at.next, Some(lane.lane))?)
        });
        if let Err(error) = written {
            return self.refused(lane, lease, Failed(error, &sorted.sent));
        }
        let applied = Applied {
            records: sorted.sent.len() as u64,
            letters: parked.len() as u64,
            ..Applied::default()
        };
        lane.keep(parked);
        Ok(applied)
    }

    /// Everything that is handed over, or nothing.
    fn transaction(
        &self,
        producer: &Producer,
        hand_over: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        producer.begin()?;
        hand_over()?;
        self.context.probe.at(Point::COMMIT_BEFORE)?;
        producer.commit()?;
        self.context.probe.at(Point::COMMIT_AFTER)
    }

    /// Writes letters that can be written now, marked, and keeps the others.
    fn again(
        &self,
        lane: &mut Lane,
        (records, letters): (&[Record], &[Letter]),
        lease: &Lease,
    ) -> Result<Applied> {
        let sorted = park::sort(records, letters, &lane.standing(), Turn::Again);
        let tried = |letter: &Letter| {
            let at = (letter.pair, Place::of(&letter.source_key)?);
            lane.parked.get(&at).map(|parked| parked.tried(letter))
        };
        let kept: Vec<Parked> = sorted.parked.iter().filter_map(tried).collect();
        if sorted.sent.is_empty() && kept.is_empty() {
            return Ok(Applied::default());
        }
        let copies = Copies {
            context: &self.context,
            direction: lane.direction,
            late: false,
            from: &[],
        };
        let (mut payload, mut carried) = (Vec::new(), Vec::new());
        let written = self.transaction(&lane.producer, || {
            for (number, record) in (1..).map(Number).zip(&sorted.sent) {
                let place = Place::of(&record.source_key).ok_or_else(without_envelope)?;
                let Some(parked) = lane.parked.get(&(record.pair, place)) else {
                    continue;
                };
                let from = (parked.topic, Turn::Again);
                copies.send_one(&lane.producer, (number, record), from, &mut payload)?;
                parked.take_away(&lane.producer, &self.context)?;
                carried.push((record.pair, place));
            }
            let mut kept = kept.iter();
            kept.try_for_each(|letter| letter.send(&lane.producer, &self.context))
        });
        if let Err(error) = written {
            return self.refused(lane, lease, Failed(error, &sorted.sent));
        }
        lane.parked.retain(|at, _| !carried.contains(at));
        lane.keep(kept);
        Ok(Applied {
            records: carried.len() as u64,
            ..Applied::default()
        })
    }
}

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        if lane.0 >= LANES || self.context.role.side != direction.target() {
            return Err(fenced("this end has no such lane"));
        }
        let names = &self.context.names;
        control::has_room(&self.context, &names.control, control::partitions())?;
        control::has_room(&self.context, &names.letters, usize::from(LANES))?;
        let batch_bytes = producer::batch_bytes(&self.context)?;
        let Taken {
            producer,
            control,
            epoch,
            found,
            barrier,
        } = self.take(lane, direction, batch_bytes)?;
        let group = client::consumer(&self.context.cluster, &names.group(direction)).create();
        let group = group.map_err(|error| client::failure("making a client", error))?;
        let group = client::Brief(group);
        let token = found.as_ref().map_or(0, |found| found.token) + 1;
        let noted = decide::resume(&control, direction, found)?;
        let letters = letters::standing(&self.context, lane, &barrier)?;
        let at = (direction, lane);
        let places = resume::places(&self.context, &control, at, (noted, &letters))?;
        // Whoever is fenced can tell by it whether somebody took over.
        let claimed = Checkpoint {
            token,
            sequence: 0,
            next: places.clone().unwrap_or_default(),
        };
        producer.begin()?;
        Note::checkpoint(direction, lane, &claimed).send(&producer, &self.context)?;
        producer.commit()?;
        let last_id = letters.iter().map(|parked| parked.stored.id).max();
        let mut standing = letters;
        standing.retain(|parked| parked.stored.direction == direction);
        let mut taken = Lane {
            producer,
            batch_bytes,
            group,
            direction,
            lane,
            token,
            parked: BTreeMap::new(),
            ids: ids(lane, last_id),
        };
        taken.keep(standing);
        self.lane = Some(taken);
        let lease = Lease {
            lane,
            direction,
            epoch,
            token,
            sequence: 0,
        };
        self.context.probe.at(Point::LEASE_CLAIMED)?;
        let position = places.as_deref().map(place::encode);
        let chunks = Vec::new();
        Ok((lease, Resume { position, chunks }))
    }

    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        let Some(mut lane) = self.lane.take() else {
            return Err(fenced("the lane was not claimed"));
        };
        if lane.token != lease.token || lane.direction != lease.direction {
            return Err(fenced("the lane was claimed again"));
        }
        // After any error the producer is gone: what became of the transaction is found out by
        // the next claim.
        let done = match progress {
            Progress::Advance { through, .. } => {
                self.commit(&mut lane, (records, letters), through, lease)
            }
            Progress::Keys { .. } => self.again(&mut lane, (records, letters), lease),
            Progress::Chunk { .. } => Err(broken("a range of a log")),
        };
        let applied = done.map_err(|error| self.overtaken(error, lease))?;
        if matches!(progress, Progress::Advance { .. }) && applied.refused.is_empty() {
            lease.sequence += 1;
        }
        self.lane = Some(lane);
        Ok(applied)
    }

    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>> {
        let places = control::carried(&self.context, direction, None)?;
        if direction == Direction::Forward
            && let Some(control) = Control::read(&self.context)?
            && let Some(settled) = control.settled()
        {
            // Where it has ended, only late writes go on.
            let carried = places.unwrap_or_default();
            return Ok(Some(place::encode(&place::later(settled, &carried))));
        }
        Ok(places.as_deref().map(place::encode))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        if let Some(lane) = &self.lane {
            // Nobody else writes them while the lane is ours.
            let parked = lane.parked.values();
            return Ok(parked.map(|parked| parked.stored.clone()).collect());
        }
        let all = letters::all(&self.context)?.into_iter();
        let side = self.context.role.side;
        let here = all.filter(|parked| parked.stored.direction.target() == side);
        Ok(here.map(|parked| parked.stored).collect())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}
