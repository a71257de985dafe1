//! Both logs from the oldest record on, in order, record by record.
//!
//! Both logs of a pair are one sequence per partition: whatever differs is missing, extra, out of
//! order or changed. What was written cannot change, so nothing is read twice: an audit goes on
//! where it stopped, and behind a fence little is left. Only digests wait for their counterpart.
//!
//! A record that could not be carried is a letter, or was one and stands in the mirror out of its
//! turn. Both are looked for when a record has no counterpart.
//!
//! A log that is compacted may lack a record whose key has a newer one there. Whether one that
//! deletes its key was dropped or never came is seen by looking for the key once more.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::digest::row_digest;
use contraflow_core::end::{Feed, Start};
use contraflow_core::error::{self, Error, Result};
use contraflow_core::log::Place;
use contraflow_core::mapping::Mapped;
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Complement, Event, Image, Key, Op, Origin, PairId};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use super::finding::{Comparison, Finding, Kind};
use super::walk::stopped;
use apace::AHEAD_MAX;
use held::{Keys, held};
use parked::{Letters, Unmatched};
use unseen::{Dropped, KEYS_MAX, Share, Unseen};

use crate::context::Context;
use crate::tasks::Stop;

mod apace;
mod held;
mod parked;
mod shares;
#[cfg(test)]
mod two;
mod unseen;

/// Events read at once.
const EVENTS: usize = 4_000;
/// How long a record may be missing at the mirror while somebody carries.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause when neither side has more.
const PAUSE: Duration = Duration::from_millis(2);

/// Whether somebody carries meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stillness {
    /// Somebody does: the mirror may get more at any time.
    Moving,
    /// Nobody does: what the mirror has beyond the authority is extra.
    Settled,
}

/// A pass over both logs.
pub struct Audit {
    direction: Direction,
    authority: Box<dyn Feed>,
    mirror: Box<dyn Feed>,
    /// How far both were read, while they are closed.
    rests: Option<Box<[Position; 2]>>,
    /// Whether a side keeps no more than the newest record of each key, by pair.
    compacts: BTreeMap<PairId, [bool; 2]>,
    lanes: BTreeMap<Line, Lane>,
    /// The keys that are told apart where logs compact, and how many of them may wait.
    share: Share,
    room: usize,
    /// How many records may wait before both sides are brought to the same pace, and how many were
    /// left when that was done last.
    ahead_max: usize,
    unmet: usize,
    letters: Letters,
    is_whole: bool,
    result: Comparison,
}

/// A partition; what was written late to it has an order of its own.
type Line = (PairId, i32, bool);

/// Records of one partition that wait for their counterpart, by side.
#[derive(Default)]
struct Lane {
    waiting: [VecDeque<Entry>; 2],
    /// The oldest record that a side still has. What it has forgotten lies before it.
    first: [Option<Place>; 2],
    /// The newest one that was read.
    last: [Option<Place>; 2],
    /// Whether a side has forgotten any.
    forgetful: [bool; 2],
    compacts: [bool; 2],
    /// What a side has and the other one, which compacts, lacks.
    unseen: [Unseen; 2],
    /// The keys of which that is known.
    share: Share,
    unmatched: Unmatched,
}

struct Entry {
    place: Place,
    /// What the copy of the record is; `None` when it cannot be mapped.
    digest: Option<u128>,
    /// The digest of its key, if it has one.
    key: Option<u128>,
    /// It has no value: it deletes its key.
    deletes: bool,
}

impl Audit {
    /// Opens both logs at their oldest record.
    ///
    /// # Errors
    /// When a face is missing or an end cannot be read.
    pub fn open(context: &Context, direction: Direction) -> Result<Audit> {
        let open = |side: Side| -> Result<Box<dyn Feed>> {
            let mut feed = context.side(side).feed()?;
            feed.open(&Start::Earliest)?;
            Ok(feed)
        };
        let mut authority = open(direction.source())?;
        let mut mirror = open(direction.target())?;
        let mut compacts = BTreeMap::new();
        for pair in context.pair_ids() {
            let mut of_pair = [false; 2];
            of_pair[place(direction.source())] = authority.compacts(pair)?;
            of_pair[place(direction.target())] = mirror.compacts(pair)?;
            compacts.insert(pair, of_pair);
        }
        Ok(Audit {
            direction,
            authority,
            mirror,
            rests: None,
            compacts,
            lanes: BTreeMap::new(),
            share: Share::ALL,
            room: KEYS_MAX,
            ahead_max: AHEAD_MAX,
            unmet: 0,
            letters: Letters::default(),
            is_whole: false,
            result: Comparison::default(),
        })
    }

    /// Closes both logs until it goes on: who does not read must not stay connected, for what a
    /// client is told meanwhile piles up.
    ///
    /// # Errors
    /// When a face is missing.
    pub fn rest(&mut self, context: &Context) -> Result<()> {
        self.rests = Some(Box::new([
            self.authority.received(),
            self.mirror.received(),
        ]));
        self.authority = context.side(self.direction.source()).feed()?;
        self.mirror = context.side(self.direction.target()).feed()?;
        Ok(())
    }

    /// Opens both logs again, where they were left.
    ///
    /// # Errors
    /// When an end cannot be read, or what comes next is gone.
    pub fn wake(&mut self) -> Result<()> {
        let Some(places) = self.rests.take() else {
            return Ok(());
        };
        let [authority, mirror] = *places;
        self.authority.open(&Start::After(authority))?;
        self.mirror.open(&Start::After(mirror))
    }

    /// Where the authority's log ends now.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn head(&mut self) -> Result<Position> {
        Ok(self.authority.head()?.0)
    }

    /// Compares everything that the authority has up to `goal`, and what the mirror has by now, and
    /// says what was found so far.
    ///
    /// # Errors
    /// When an end cannot be read, or the compare is no longer wanted.
    pub fn go_on(
        &mut self,
        context: &Context,
        goal: &Position,
        stillness: Stillness,
        stop: &Stop,
    ) -> Result<Comparison> {
        let read = self.read(context, goal, stop)?;
        self.look_for_replays(context, stop)?;
        let mut told = self.look_for_deleted(context, self.direction.source(), stop)?;
        if stillness == Stillness::Settled {
            told &= self.look_for_deleted(context, self.direction.target(), stop)?;
        }
        if self.share != Share::ALL {
            told &= self.read_again(context, goal, stop)?;
        }
        let mut result = self.result.clone();
        result.unproven += u64::from(!read) + u64::from(!told);
        self.judge_rest(context, goal, stillness, &mut result);
        self.is_whole = result.is_clean() && result.parked == 0 && result.given_up == 0;
        Ok(result)
    }

    /// Reads the authority up to `goal`, and of the mirror what is there by then. Says whether it
    /// got there in time.
    fn read(&mut self, context: &Context, goal: &Position, stop: &Stop) -> Result<bool> {
        let (source, target) = (self.direction.source(), self.direction.target());
        let mut head = self.mirror.head()?.0;
        // A feed that knows how far its log reaches finds the way to there.
        self.authority.head()?;
        let mut looked_again = false;
        let mut since = context.clock.elapsed();
        loop {
            stopped(stop)?;
            self.keep_apace(context, stop)?;
            let mut came = 0;
            let reached =
                |end: Side, at: &Position, goal: &Position| context.side(end).end.reached(at, goal);
            if !reached(source, &self.authority.received(), goal) {
                let batch = self.authority.next(EVENTS)?;
                came += self.take(context, source, batch)?;
            }
            let read = reached(source, &self.authority.received(), goal);
            if read && !self.is_owed(context, goal) {
                let all = reached(target, &self.mirror.received(), &head);
                let waits = self.waits_for_newer(source);
                if all && waits && !looked_again {
                    // What overtook them may have been written since.
                    looked_again = true;
                    head = self.mirror.head()?.0;
                    continue;
                }
                if all {
                    return Ok(true);
                }
            }
            let batch = self.mirror.next(EVENTS)?;
            came += self.take(context, target, batch)?;
            if came > 0 {
                since = context.clock.elapsed();
                continue;
            }
            self.leave_parked(context)?;
            if context.clock.elapsed().saturating_sub(since) >= PATIENCE {
                return Ok(read && reached(target, &self.mirror.received(), &head));
            }
            context.clock.sleep(PAUSE);
        }
    }

    /// Whether every record had its counterpart when it was judged last. A letter may be carried
    /// since, or be readable now: then all is read anew.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Up to where the mirror was compared.
    pub fn compared(&self) -> Position {
        self.mirror.received()
    }

    /// Whether records of the authority that lie before the goal wait for the mirror.
    fn is_owed(&self, context: &Context, goal: &Position) -> bool {
        let source = self.direction.source();
        let mut fronts = self.lanes.iter().filter_map(|((pair, ..), lane)| {
            let front = lane.waiting[place(source)].front()?;
            Some((*pair, front.place))
        });
        fronts.any(|(pair, at)| self.is_before(context, goal, pair, at))
    }

    /// Whether a place of the authority lies before a position. What was written elsewhere has no
    /// place there, and lies before.
    fn is_before(&self, context: &Context, goal: &Position, pair: PairId, at: Place) -> bool {
        let source = self.direction.source();
        at.origin() != source || context.side(source).end.short_of(goal, pair, at) != *goal
    }

    /// Whether the mirror, which compacts, must have newer records than were read of it.
    fn waits_for_newer(&self, side: Side) -> bool {
        let mut lanes = self.lanes.values();
        lanes.any(|lane| lane.unseen[place(side)].awaited().next().is_some())
    }

    /// Records of a side that delete their key, and that the other one lacks: they were carried and
    /// dropped if nothing of the key is held there. Says whether that could be seen.
    fn look_for_deleted(&mut self, context: &Context, side: Side, stop: &Stop) -> Result<bool> {
        let here = place(side);
        let of_lane = |(at, lane): (&_, &Lane)| (*at, lane.unseen[here].deletions());
        let mut wanted: Keys = self.lanes.iter().map(of_lane).collect();
        wanted.retain(|_, keys| !keys.is_empty());
        if wanted.is_empty() {
            return Ok(true);
        }
        let Some(held) = held(context, side.other(), &wanted, stop)? else {
            return Ok(false);
        };
        for (at, lane) in &mut self.lanes {
            let held = held.get(at).cloned().unwrap_or_default();
            lane.unseen[here].excuse_all_but(&held);
        }
        Ok(true)
    }

    fn open_lane(&mut self, line: Line) {
        let (pair, partition, _) = line;
        let (authority, mirror) = (&self.authority, &self.mirror);
        self.lanes.entry(line).or_insert_with(|| {
            let mut lane = Lane {
                compacts: self.compacts.get(&pair).copied().unwrap_or_default(),
                share: self.share,
                ..Lane::default()
            };
            let of = |feed: &dyn Feed| feed.has_forgotten(pair, partition);
            lane.forgetful[place(self.direction.source())] = of(authority.as_ref());
            lane.forgetful[place(self.direction.target())] = of(mirror.as_ref());
            lane
        });
    }

    fn take(&mut self, context: &Context, side: Side, batch: Batch) -> Result<usize> {
        let count = batch.events.len() + batch.unreadable.len();
        for letter in batch.unreadable {
            match Place::of(&letter.source_key) {
                Some(at) => {
                    let line = (letter.pair, at.partition, at.is_late());
                    self.open_lane(line);
                    let lane = self.lanes.entry(line);
                    lane.or_default()
                        .unmatched
                        .unreadable(side, at, letter.reason);
                }
                None => self.result.unproven += 1,
            }
        }
        for event in batch.events {
            let pair = event.pair;
            let Some(at) = Place::of(&event.key) else {
                self.result.unproven += 1;
                continue;
            };
            let given_up = |feed: &dyn Feed| at.is_late() && feed.leaves_out(pair, at);
            if given_up(&*self.authority) || given_up(&*self.mirror) {
                self.result.given_up += 1;
                continue;
            }
            let replayed = matches!(event.origin, Origin::Replay(_));
            let entry = entry(context, side, at, event)?;
            let line = (pair, at.partition, at.is_late());
            self.open_lane(line);
            if replayed {
                let lane = self.lanes.entry(line).or_default();
                lane.unmatched.replayed(side, at, entry.digest);
                continue;
            }
            if let (Some(key), Some(others)) = (
                entry.key,
                self.lanes.get_mut(&(pair, at.partition, !at.is_late())),
            ) {
                others.unseen[place(side.other())].overtake(key);
            }
            let lane = self.lanes.entry(line).or_default();
            lane.take(pair, side, entry, &mut self.result);
            lane.settle(pair, self.direction, &mut self.result);
        }
        self.narrow();
        Ok(count)
    }

    /// What has no counterpart now that nothing more comes.
    fn judge_rest(
        &self,
        context: &Context,
        goal: &Position,
        stillness: Stillness,
        result: &mut Comparison,
    ) {
        let (source, target) = (self.direction.source(), self.direction.target());
        let stands = |pair: PairId, at: Place| self.letters.name(pair, at);
        for ((pair, _, late), lane) in &self.lanes {
            let owed = |at: Place| self.is_before(context, goal, *pair, at);
            lane.unmatched
                .judge(*pair, source, (&stands, &owed), result);
            let waiting = lane.waiting[place(source)].iter();
            for entry in waiting.filter(|entry| owed(entry.place)) {
                if stands(*pair, entry.place) {
                    result.parked += 1;
                } else if lane.has_nothing_left(target) {
                    // Whether it had the record cannot be seen any more.
                    result.find(finding(*pair, entry, Kind::Unproven));
                } else if !lane.is_excused(source, entry.place) {
                    result.find(finding(*pair, entry, Kind::Missing));
                }
            }
            for at in lane.unseen[place(source)].lost() {
                if !lane.is_excused(source, at) && !stands(*pair, at) {
                    result.find(found(*pair, at, Kind::Missing));
                }
            }
            let extra = lane.waiting[place(target)].iter();
            // Nobody carries what was written late until somebody asks for it.
            for entry in extra.filter(|_| *late || stillness == Stillness::Settled) {
                if stands(*pair, entry.place) {
                    result.parked += 1;
                } else if !lane.has_nothing_left(source) && !lane.is_excused(target, entry.place) {
                    result.find(finding(*pair, entry, Kind::Extra));
                }
            }
            if stillness == Stillness::Settled {
                for at in lane.unseen[place(target)].lost() {
                    if !lane.is_excused(target, at) {
                        result.find(found(*pair, at, Kind::Extra));
                    }
                }
            }
        }
    }
}

impl Lane {
    /// Takes the next record of a side. One that does not come behind the one before it has no
    /// place in the log.
    fn take(&mut self, pair: PairId, side: Side, entry: Entry, result: &mut Comparison) {
        let (here, at) = (place(side), entry.place);
        if self.last[here].is_some_and(|last| at <= last) {
            result.find(finding(pair, &entry, Kind::Extra));
            return;
        }
        self.last[here] = Some(at);
        self.first[here].get_or_insert(at);
        self.waiting[here].push_back(entry);
    }

    /// Compares what both sides have.
    fn settle(&mut self, pair: PairId, direction: Direction, result: &mut Comparison) {
        let [source, target] = [place(direction.source()), place(direction.target())];
        loop {
            let (Some(ours), Some(theirs)) =
                (self.waiting[source].front(), self.waiting[target].front())
            else {
                return;
            };
            let order = ours.place.cmp(&theirs.place);
            if order == Ordering::Equal {
                result.compared += 1;
                if ours.digest.is_none() || theirs.digest.is_none() {
                    let why = "it does not map".to_owned();
                    result.find(finding(pair, ours, Kind::Unmappable(why)));
                } else if ours.digest != theirs.digest {
                    result.find(finding(pair, ours, Kind::Different(Vec::new())));
                }
            }
            if order.is_le() {
                self.pass((direction.source(), Kind::Missing), order);
            }
            if order.is_ge() {
                self.pass((direction.target(), Kind::Extra), order);
            }
        }
    }

    /// Leaves the oldest record of a side behind. Where the other one has no counterpart and no
    /// reason to lack it, that is what the record is, unless it is a letter or was one.
    fn pass(&mut self, (side, kind): (Side, Kind), order: Ordering) {
        let (here, other) = (place(side), place(side.other()));
        let Some(entry) = self.waiting[here].pop_front() else {
            return;
        };
        if let Some(key) = entry.key {
            self.unseen[other].overtake(key);
        }
        if order == Ordering::Equal || self.is_excused(side, entry.place) {
            return;
        }
        let dropped = Dropped {
            place: entry.place,
            deletes: entry.deletes,
        };
        match entry.key {
            Some(key) if self.compacts[other] => {
                if self.share.has(key) {
                    self.unseen[here].miss(key, dropped);
                }
            }
            _ => self.unmatched.lacks(side, entry.place, entry.digest, kind),
        }
    }

    /// Whether the other side may have forgotten the counterpart of a record of this one: what it
    /// still has begins behind it.
    fn is_excused(&self, side: Side, at: Place) -> bool {
        let other = place(side.other());
        self.forgetful[other] && self.first[other].is_some_and(|first| at < first)
    }

    /// Whether a side has forgotten all that it had.
    fn has_nothing_left(&self, side: Side) -> bool {
        self.forgetful[place(side)] && self.first[place(side)].is_none()
    }
}

fn finding(pair: PairId, entry: &Entry, kind: Kind) -> Finding {
    found(pair, entry.place, kind)
}

fn found(pair: PairId, at: Place, kind: Kind) -> Finding {
    let key = at.key();
    Finding { pair, key, kind }
}

/// The index of a side.
fn place(side: Side) -> usize {
    match side {
        Side::Old => 0,
        Side::New => 1,
    }
}

/// A record as it is compared. Its key is that of the new log, on both sides.
fn entry(context: &Context, side: Side, at: Place, event: Event) -> Result<Entry> {
    let key = context.pair(event.pair).new_key(side, &event.key)?;
    Ok(Entry {
        place: at,
        key: key.map(|key| row_digest(&[Value::Bytes(key)])),
        deletes: event.op == Op::Delete,
        digest: digest(context, side, at, event)?,
    })
}

/// What the copy of a record is: of one that was written here, through the mapping. `None` when it
/// does not map.
fn digest(context: &Context, side: Side, at: Place, event: Event) -> Result<Option<u128>> {
    let Event {
        pair,
        key,
        op,
        image,
        ..
    } = event;
    if at.origin() != side {
        return Ok(Some(of_record(op, key, image)));
    }
    match copy(context, side.direction(), pair, &key, image) {
        Ok((key, image)) => Ok(Some(of_record(op, key, image))),
        Err(error) if error.kind == error::Kind::Data => Ok(None),
        Err(error) => Err(error),
    }
}

fn copy(
    context: &Context,
    direction: Direction,
    pair: PairId,
    key: &Key,
    image: Option<Image>,
) -> Result<(Key, Option<Image>)> {
    let bound = context.pair(pair);
    let Some(image) = image else {
        return Ok((bound.key(direction, key)?, None));
    };
    let mut mapped = Vec::with_capacity(1);
    bound.map(direction, image, &mut mapped)?;
    let Some(Mapped { key, mut image }) = mapped.pop() else {
        let message = "a record became nothing";
        return Err(Error::new(error::Kind::Internal, Code::INTERNAL, message));
    };
    let mirror = context.side(direction.target());
    mirror
        .end
        .complete(&mirror.role.table(pair).name, &mut image.row);
    Ok((key, Some(image)))
}

fn of_record(op: Op, key: Key, image: Option<Image>) -> u128 {
    let mut values = key.0;
    values.push(Value::Bool(op == Op::Delete));
    if let Some(Image { row, complement }) = image {
        let Complement(bytes) = complement;
        values.extend(row.0);
        values.push(Value::Bytes(bytes));
    }
    row_digest(&values)
}

#[cfg(test)]
mod tests;
