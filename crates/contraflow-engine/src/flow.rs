//! *The* loop: feed, drop echo, map, apply, confirm.
//!
//! Backfill, repair and the replay of letters join the same path at "map". One flow runs in one
//! direction; its lease cannot be copied, so the opposite flow begins where this one ends.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Applied, Apply, Feed, Letter, Lookup, Part, Progress, Range, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::log::Place;
use contraflow_core::phase::{History, Unmappable};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{Event, Key, Origin, PairId, Record};
use contraflow_core::side::Direction;

use crate::ahead::Ahead;
use crate::backfill::Size;
use crate::context::Context;
use crate::windows::{Window, Windows};

mod prepared;
mod stops;

pub use prepared::{Carried, Prepared};
pub(crate) use prepared::{Mapper, expected};
pub use stops::Stopped;
use stops::Stops;

/// Events per batch at most: enough to amortise a commit. How many is found by measuring, so that
/// huge rows neither fill the memory nor hold the target's lock for long.
const EVENTS_MAX: usize = 4_000;
/// The same of a log: it has no lock that anybody waits for, and a transaction has a price. Each
/// lane holds as many, and its feed sees to it that huge records do not fill the memory.
const LOG_EVENTS_MAX: usize = 5_000;

/// How long a checkpoint may be put off while ranges are carried: each is a commit that waits for
/// the disk, and the source keeps its log for that long.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// One running flow.
pub struct Flow {
    context: Arc<Context>,
    direction: Direction,
    feed: Box<dyn Feed>,
    apply: Box<dyn Apply>,
    /// Opened when keys are carried again for the first time.
    lookup: Option<Box<dyn Lookup>>,
    lease: Lease,
    windows: Arc<Windows>,
    applied: Position,
    /// The last checkpoint, and when it was written.
    checkpoint: (Position, Duration),
    waiting: VecDeque<Waiting>,
    chunks: Vec<(PairId, Option<Range>)>,
    totals: Totals,
    held: Duration,
    /// How many events the next batch should have, and how many at most.
    batch: Size,
    events_max: usize,
    letters: Letters,
    stops: Stops,
    /// Rows that were carried: whoever made them frees them faster.
    spent: Vec<Record>,
}

/// How a flow reads its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A thread of its own reads ahead, of ends with one lane.
    Ahead,
    /// A batch is received when it is about to be applied: nothing happens between two steps.
    Stepwise,
}

/// What a flow knows of its letters, so that it looks at them only when something may be due.
struct Letters {
    /// They may have changed since the last look.
    changed: bool,
    /// A conflict may have been settled since they were last tried.
    hope: bool,
    /// How many stood at the last look, of both directions and of this one.
    all: u64,
    standing: usize,
}

/// Rows that were read, mapped and wait until the feed has passed what they show.
struct Waiting {
    window: Window,
    rows: Prepared,
}

/// What a flow has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events of the feed applied.
    pub events: u64,
    /// Rows of ranges applied.
    pub rows: u64,
    /// Bytes of ranges applied, about.
    pub bytes: u64,
    /// Rows of ranges dropped because a newer change carries the key.
    pub superseded: u64,
    /// Letters written.
    pub letters: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Totals) -> Totals {
        Totals {
            events: self.events + other.events,
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            superseded: self.superseded + other.superseded,
            letters: self.letters + other.letters,
        }
    }
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Events were applied.
    Followed,
    /// A range was applied.
    Copied(Range),
    /// Keys were carried again.
    Recarried,
    /// There was nothing to do.
    Idle,
}

impl Flow {
    /// Claims a lane and opens the feed behind its checkpoint.
    ///
    /// # Errors
    /// When a face is missing, the lease is refused or the feed has lost its place.
    pub fn start(
        context: &Arc<Context>,
        direction: Direction,
        lane: LaneId,
        pace: Pace,
    ) -> Result<Flow> {
        let source = context.side(direction.source());
        let mut apply = context.side(direction.target()).apply()?;
        let (lease, resume) = apply.claim(lane, direction)?;
        let mut feed = source.feed()?;
        feed.keep_to(Part::Lane(lane));
        feed.open(&resume.position.map_or(Start::Earliest, Start::After))?;
        let applied = feed.received();
        let batch = Size::default();
        let windows = Arc::new(Windows::new(applied.clone()));
        let begins = context.mode.rules().history == History::Feed;
        let events_max = match begins {
            true => LOG_EVENTS_MAX,
            false => EVENTS_MAX,
        };
        // Of a log, one lane reads while another one writes, and its client fetches meanwhile: a
        // batch more of each lane would only take memory.
        if pace == Pace::Ahead && !begins {
            let name = format!("feed-{direction}");
            // Whoever copies at full speed waits for the feed; readers that rest have time.
            let (read, full) = (Arc::clone(&windows), context.limits.copies_at_full_speed());
            let waits = move || read.are_kept() || (full && read.are_open());
            feed = Box::new(Ahead::start(
                &name,
                feed,
                at_most(&batch, events_max),
                waits,
            )?);
        }
        Ok(Flow {
            context: Arc::clone(context),
            direction,
            feed,
            apply,
            lookup: None,
            lease,
            windows,
            checkpoint: (applied.clone(), context.clock.elapsed()),
            applied,
            waiting: VecDeque::new(),
            chunks: resume.chunks,
            totals: Totals::default(),
            held: Duration::ZERO,
            batch,
            events_max,
            letters: Letters {
                changed: true,
                hope: true,
                all: 0,
                standing: 0,
            },
            stops: Stops::default(),
            spent: Vec::new(),
        })
    }

    /// For each pair the last range that was done before this flow started.
    #[must_use]
    pub fn resumed_chunks(&self) -> &[(PairId, Option<Range>)] {
        &self.chunks
    }

    /// Where readers of rows announce themselves.
    #[must_use]
    pub fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    /// Everything up to here is durable in the target; its checkpoint may lie before, if there was
    /// nothing to write in between.
    #[must_use]
    pub fn applied(&self) -> &Position {
        &self.applied
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How many events lie between what was received and the head.
    ///
    /// # Errors
    /// When the source cannot be reached.
    pub fn lag(&mut self) -> Result<u64> {
        self.feed
            .head()
            .map(|(_, events)| events + self.stops.left())
    }

    /// Partitions that have stopped.
    #[must_use]
    pub fn stopped(&self) -> Vec<Stopped> {
        self.stops.all()
    }

    /// How many letters stood at the last look, of both directions.
    pub(crate) fn letters(&self) -> u64 {
        self.letters.all
    }

    /// How many rows wait for the feed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Hands over rows that were read under a window of this flow.
    pub fn offer(&mut self, window: Window, rows: Prepared) {
        self.waiting.push_back(Waiting { window, rows });
    }

    /// Reads keys at the source, to carry them again when the feed has passed what was read.
    ///
    /// # Errors
    /// When the source cannot be reached.
    pub fn recarry(&mut self, pair: PairId, keys: Vec<Key>) -> Result<()> {
        let lookup = match &mut self.lookup {
            Some(lookup) => lookup,
            none => none.insert(self.context.side(self.direction.source()).lookup()?),
        };
        let window = self.windows.open();
        let chunk = lookup.get(pair, &keys, &window.received)?;
        self.context.probe.at(Point::RECARRY_READ)?;
        let what = Carried::Keys(pair, keys);
        let rows = Prepared::map(&self.context, self.direction, chunk, what)?;
        self.offer(window, rows);
        Ok(())
    }

    /// One batch, one range or one set of keys; the feed first, then at most one set of rows.
    ///
    /// # Errors
    /// Nothing of the step was confirmed then. The flow must be started anew.
    pub fn step(&mut self) -> Result<Stepped> {
        let followed = self.follow()?;
        if let Some(stepped) = self.carry_waiting()? {
            return Ok(stepped);
        }
        // Also under load: a letter that only waits for another row must not wait for a quiet time.
        if self.letters.changed && self.retry_letters()? {
            return Ok(Stepped::Recarried);
        }
        if followed {
            return Ok(Stepped::Followed);
        }
        Ok(Stepped::Idle)
    }

    /// Receives and applies one batch. Says whether there was one.
    fn follow(&mut self) -> Result<bool> {
        let events_max = at_most(&self.batch, self.events_max);
        let mut batch = self.feed.next(events_max)?;
        let source = Arc::clone(&self.context.side(self.direction.source()).end);
        let came = !(batch.events.is_empty() && batch.unreadable.is_empty());
        let put_off = self.checkpoint.0 != self.applied && self.checkpoint_is_due();
        if !came && !put_off && self.stops.short_of(&*source, batch.through.clone()) == self.applied
        {
            return Ok(false);
        }
        self.context.probe.at(Point::FEED_RECEIVED)?;
        self.drop_echo(&mut batch.events)?;
        self.windows.receive(&batch.events, &batch.through);
        let count = batch.events.len() as u64;
        let mut mapper = Mapper::new(&self.context, self.direction, batch.events.len());
        for event in batch.events {
            mapper.event(event)?;
        }
        let Mapper {
            records,
            mut letters,
            ..
        } = mapper;
        letters.extend(batch.unreadable);
        let at = (&batch.through, &batch.seen);
        let Some((applied, through)) = self.write(records, letters, at, put_off)? else {
            return Ok(true);
        };
        self.context.probe.at(Point::BATCH_APPLIED)?;
        self.feed.confirm(&through)?;
        self.context.probe.at(Point::CONFIRMED)?;
        self.checkpoint = (through.clone(), self.context.clock.elapsed());
        self.applied = through;
        self.totals.events += count;
        self.batch.learn(count, applied.held);
        self.letters.hope |= applied.letters > 0;
        // An image may have resolved one.
        self.letters.changed |= count > 0 && self.letters.standing > 0;
        self.note(&applied);
        Ok(true)
    }

    /// Writes a batch and how far it is carried, which is short of partitions that have stopped.
    /// `None` when there is nothing to write, and that may wait.
    fn write(
        &mut self,
        mut records: Vec<Record>,
        mut letters: Vec<Letter>,
        (received, seen): (&Position, &Position),
        put_off: bool,
    ) -> Result<Option<(Applied, Position)>> {
        let context = Arc::clone(&self.context);
        let source = context.side(self.direction.source());
        loop {
            if context.unmappable == Unmappable::Stop {
                let name = |pair: PairId| source.role.table(pair).name.clone();
                let stopped = std::mem::take(&mut letters);
                self.stops.stop(stopped, &mut records, name);
            }
            let through = self.stops.short_of(&*source.end, received.clone());
            let nothing = records.is_empty() && letters.is_empty();
            if nothing && through == self.applied && !put_off {
                return Ok(None);
            }
            if nothing && self.is_due(&through) && !self.checkpoint_is_due() {
                self.applied = through;
                return Ok(None);
            }
            let progress = Progress::Advance {
                through: &through,
                seen,
            };
            let lease = &mut self.lease;
            let applied = self.apply.apply(&records, &letters, &progress, lease)?;
            if applied.refused.is_empty() {
                return Ok(Some((applied, through)));
            }
            refuse(applied.refused, &mut records, &mut letters);
        }
    }

    /// What the opposite flow wrote is not carried back. A log is read from behind it, so there it
    /// is a copy of what was written late, or somebody's record with our header: dropped, that
    /// would be lost.
    fn drop_echo(&self, events: &mut Vec<Event>) -> Result<()> {
        let opposite = self.direction.opposite();
        let echo = [Origin::Flow(opposite), Origin::Replay(opposite)];
        let mut dropped = 0;
        events.retain(|event| {
            let is_late = || Place::of(&event.key).is_some_and(|place| place.is_late());
            let ours = echo.contains(&event.origin);
            dropped += usize::from(ours && !is_late());
            !ours
        });
        if dropped > 0 && self.context.mode.rules().history == History::Feed {
            return Err(not_ours(self.direction, dropped));
        }
        Ok(())
    }

    /// Whether the oldest rows that wait may be carried when the feed has passed a place.
    fn is_due(&self, through: &Position) -> bool {
        let source = &self.context.side(self.direction.source()).end;
        let oldest = self.waiting.front();
        oldest.is_some_and(|waiting| source.reached(through, &waiting.rows.until))
    }

    fn checkpoint_is_due(&self) -> bool {
        let now = self.context.clock.elapsed();
        now.saturating_sub(self.checkpoint.1) >= CHECKPOINT_EVERY
    }

    /// Applies the oldest rows whose `until` the feed has passed.
    fn carry_waiting(&mut self) -> Result<Option<Stepped>> {
        if !self.is_due(&self.applied) {
            return Ok(None);
        }
        let Some(waiting) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let stepped = self.carry(waiting)?;
        Ok(Some(stepped))
    }

    fn carry(&mut self, waiting: Waiting) -> Result<Stepped> {
        let Waiting { window, rows } = waiting;
        let Prepared {
            what,
            mut records,
            mut letters,
            since,
            until,
            rows,
            bytes,
        } = rows;
        let before = records.len() + letters.len();
        let source = &self.context.side(self.direction.source()).end;
        let newer = |pair: PairId, key: &Key| {
            let touch = self.windows.last_touch(pair, key);
            touch.is_some_and(|touch| !source.reached(&since, &touch))
        };
        records.retain(|record| !newer(record.pair, &record.source_key));
        letters.retain(|letter| !newer(letter.pair, &letter.source_key));
        let superseded = (before - records.len() - letters.len()) as u64;
        let seen = &until;
        let (progress, stepped) = match &what {
            Carried::Range(range) => (
                Progress::Chunk { range, seen },
                Stepped::Copied(range.clone()),
            ),
            Carried::Keys(..) => (Progress::Keys { seen }, Stepped::Recarried),
        };
        let applied = loop {
            let lease = &mut self.lease;
            let applied = self.apply.apply(&records, &letters, &progress, lease)?;
            if applied.refused.is_empty() {
                break applied;
            }
            refuse(applied.refused, &mut records, &mut letters);
        };
        self.context.probe.at(Point::CHUNK_APPLIED)?;
        self.windows.close(&window);
        if matches!(what, Carried::Range(_)) {
            self.totals.rows += rows;
            self.totals.bytes += bytes;
            self.letters.hope |= applied.letters > 0;
        }
        self.totals.superseded += superseded;
        self.note(&applied);
        self.spent = records;
        Ok(stepped)
    }

    fn note(&mut self, applied: &Applied) {
        self.totals.letters += applied.letters;
        self.letters.changed |= applied.letters > 0;
        self.held = applied.held;
    }

    /// The rows that were carried last.
    pub fn take_spent(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.spent)
    }

    /// For how long the last transaction kept other writers of the target waiting.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.held
    }

    /// The direction.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Tries letters again whose time has come. Says whether there were any.
    ///
    /// Rows that wait for each other's unique value settle only together, so all conflicts of a
    /// pair are tried at once: when one of them is due, and when one was settled otherwise.
    fn retry_letters(&mut self) -> Result<bool> {
        let source = Arc::clone(&self.context.side(self.direction.source()).end);
        let mut letters = self.apply.letters()?;
        self.letters.all = letters.len() as u64;
        letters.retain(|letter| letter.direction == self.direction);
        self.letters.hope |= letters.len() < self.letters.standing;
        self.letters.standing = letters.len();
        let (mut due, mut later) = (false, false);
        for letter in &letters {
            if let Some(after) = &letter.letter.retry_after {
                let reached = source.reached(&self.applied, after);
                due |= reached;
                later |= !reached;
            }
        }
        let now = due || (self.letters.hope && !later);
        self.letters.changed = later && !now;
        if !now {
            return Ok(false);
        }
        self.letters.hope = false;
        let mut any = false;
        for pair in self.context.pair_ids() {
            let keys: Vec<Key> = letters
                .iter()
                .map(|stored| &stored.letter)
                .filter(|letter| letter.pair == pair)
                .filter(|letter| {
                    letter.retry_after.is_some() || letter.code == Code::UNIQUE_CONFLICT
                })
                .map(|letter| letter.source_key.clone())
                .collect();
            if !keys.is_empty() {
                self.recarry(pair, keys)?;
                any = true;
            }
        }
        Ok(any)
    }
}

/// What cannot be written becomes a letter.
fn refuse(refused: Vec<Letter>, records: &mut Vec<Record>, letters: &mut Vec<Letter>) {
    let keys: HashSet<_> = refused.iter().map(|of| (of.pair, &of.source_key)).collect();
    records.retain(|record| !keys.contains(&(record.pair, &record.source_key)));
    letters.extend(refused);
}

/// How many events a batch of this size has, and no more than so many.
fn at_most(batch: &Size, events_max: usize) -> usize {
    usize::try_from(batch.rows()).map_or(events_max, |rows| rows.min(events_max))
}

/// Records that say they are ours and are not.
fn not_ours(direction: Direction, count: usize) -> Error {
    let side = direction.source();
    let message = format!("{count} records on the {side} end say that we wrote them");
    Error::new(Kind::Hold, Code::ROGUE_WRITE, message)
        .at(side)
        .detail("Somebody copies records there with the headers of what they have read.")
        .hint("Have them leave `contraflow-src` out.")
}

/// The hold of whoever keeps no letters. A place in a log is no value.
pub(crate) fn unmappable(letter: &Letter) -> Error {
    let place = Place::of(&letter.source_key).map_or_else(String::new, |place| {
        format!(" {} of partition {}", place.offset, place.partition)
    });
    let message = format!("record{place} cannot be carried: {}", letter.reason);
    Error::new(Kind::Hold, letter.code, message)
        .detail("What follows it must not overtake it. Nothing of its batch was written.")
        .hint("Correct the mapping's `on_fail`, or what writes such records.")
}
