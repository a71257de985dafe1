//! Ends that break one rule each. A test that does not notice is no test.
//!
//! [`Watched`] wraps an end of either kind without touching it. Without a mutant it only gives a
//! test two handles: what happens right after rows were read, and a feed that can be made to
//! receive before its flow asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contraflow_core::end::{
    Applied, Apply, Chunk, End, Feed, Guarantee, Inspected, Letter, Lookup, Most, Progress, Resume,
    Role, Scan, Span, Start, StoredLetter, Structure, Summary, Switch,
};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::record::{Batch, Key, PairId, Record};
use contraflow_core::side::Direction;

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The position of a chunk is read after its rows.
    LatePosition,
    /// The checkpoint is committed before the rows, in a transaction of its own.
    SeparateCheckpoint,
    /// Neither token nor sequence nor epoch of a lease is looked at.
    NoFencing,
    /// Reads do not wait until what was received is visible, and call the newest position theirs.
    NoBarrier,
    /// A chunk's rows are written whatever the feed said of their keys meanwhile.
    BlindChunk,
    /// A batch is confirmed before it is applied.
    EarlyConfirm,
}

impl Mutant {
    /// Every one of them.
    pub const ALL: &'static [Mutant] = &[
        Mutant::LatePosition,
        Mutant::SeparateCheckpoint,
        Mutant::NoFencing,
        Mutant::NoBarrier,
        Mutant::BlindChunk,
        Mutant::EarlyConfirm,
    ];
}

/// What happens between the rows of a read and what follows.
pub type Between = Arc<dyn Fn() + Send + Sync>;

/// The token and the sequence of a lane as they stand, past the end's own checks.
pub type Lanes = Arc<dyn Fn(LaneId, Direction) -> Option<(u64, u64)> + Send + Sync>;

/// An end that a test watches, and perhaps spoils.
#[derive(Clone)]
pub struct Watched {
    inner: Arc<dyn End>,
    mutant: Option<Mutant>,
    between: Between,
    lanes: Lanes,
    pause: Pause,
}

impl Watched {
    /// Wraps an end.
    #[must_use]
    pub fn new(inner: Arc<dyn End>, mutant: Option<Mutant>, lanes: Lanes) -> Watched {
        Watched {
            inner,
            mutant,
            between: Arc::new(|| ()),
            lanes,
            pause: Pause::default(),
        }
    }

    /// Does something after each read of rows, before anything else is found out.
    #[must_use]
    pub fn between(self, between: Between) -> Watched {
        Watched { between, ..self }
    }

    /// The handle of the feed that was made last.
    #[must_use]
    pub fn pause(&self) -> &Pause {
        &self.pause
    }
}

impl End for Watched {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn engine(&self) -> &'static str {
        self.inner.engine()
    }

    fn inspect(&self, table: &str, key: &[String]) -> Result<Option<Inspected>> {
        self.inner.inspect(table, key)
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        self.inner.check(role)
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        self.inner.reached(at, goal)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        let feed = self.inner.feed(role)?;
        let mut state = self.pause.lock();
        *state = Paused {
            feed: Some(feed),
            early: None,
            events_max: state.events_max,
            mutant: self.mutant,
        };
        Some(Box::new(self.pause.clone()))
    }

    fn scan(&self, role: &Arc<Role>) -> Option<Box<dyn Scan>> {
        Some(Box::new(Reads {
            face: self.inner.scan(role)?,
            watched: self.clone(),
        }))
    }

    fn apply(&self, role: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(Writes {
            face: self.inner.apply(role)?,
            watched: self.clone(),
            role: Arc::clone(role),
        }))
    }

    fn lookup(&self, role: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        Some(Box::new(Reads {
            face: self.inner.lookup(role)?,
            watched: self.clone(),
        }))
    }

    fn structure(&self, role: &Arc<Role>) -> Option<Box<dyn Structure>> {
        self.inner.structure(role)
    }

    fn switch(&self, role: &Arc<Role>) -> Option<Box<dyn Switch>> {
        self.inner.switch(role)
    }
}

/// A feed that can be made to receive before its flow asks, as a process that stops between
/// receiving a batch and applying it. Clones are the same feed.
#[derive(Clone, Default)]
pub struct Pause(Arc<Mutex<Paused>>);

#[derive(Default)]
struct Paused {
    feed: Option<Box<dyn Feed>>,
    early: Option<Batch>,
    events_max: Option<usize>,
    mutant: Option<Mutant>,
}

impl Paused {
    /// The next batch, and what the mutant makes of it.
    fn batch(&mut self, events_max: usize) -> Result<Batch> {
        let feed = self.feed.as_mut();
        let feed = feed.expect("a feed was made before it is used");
        let batch = feed.next(events_max)?;
        if self.mutant == Some(Mutant::EarlyConfirm) {
            feed.confirm(&batch.through)?;
        }
        Ok(batch)
    }
}

impl Pause {
    /// Receives a batch now, to hand it out when the flow asks.
    ///
    /// # Errors
    /// When the feed fails.
    pub fn receive(&self) -> Result<()> {
        let mut state = self.lock();
        let events_max = state.events_max.unwrap_or(1_000);
        if state.early.is_none() && state.feed.is_some() {
            state.early = Some(state.batch(events_max)?);
        }
        Ok(())
    }

    /// Hands out at most this many events at once from now on.
    pub fn limit(&self, events_max: usize) {
        self.lock().events_max = Some(events_max);
    }

    fn lock(&self) -> MutexGuard<'_, Paused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut dyn Feed) -> T) -> T {
        let mut state = self.lock();
        let feed = state.feed.as_mut();
        work(feed.expect("a feed was made before it is used").as_mut())
    }
}

impl Feed for Pause {
    fn open(&mut self, start: &Start) -> Result<()> {
        self.with(|feed| feed.open(start))
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let mut state = self.lock();
        if let Some(batch) = state.early.take() {
            return Ok(batch);
        }
        let limit = state.events_max.unwrap_or(events_max).min(events_max);
        state.batch(limit)
    }

    fn received(&self) -> Position {
        self.with(|feed| feed.received())
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        self.with(|feed| feed.confirm(through))
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        self.with(|feed| feed.head())
    }
}

/// A scan or a lookup, watched.
struct Reads<F> {
    face: F,
    watched: Watched,
}

impl<F> Reads<F> {
    /// Reads, lets the world go on, and says what the mutant believes of the positions.
    fn read(
        &mut self,
        received: &Position,
        mut read: impl FnMut(&mut F, &Position) -> Result<Chunk>,
    ) -> Result<Chunk> {
        let mutant = self.watched.mutant;
        let nothing = Position::new([]);
        let received = match mutant {
            Some(Mutant::NoBarrier) => &nothing,
            _ => received,
        };
        let mut chunk = read(&mut self.face, received)?;
        (self.watched.between)();
        match mutant {
            Some(Mutant::LatePosition) => {
                let late = read(&mut self.face, received)?;
                (chunk.since, chunk.until) = (late.since, late.until);
            }
            Some(Mutant::NoBarrier) => chunk.since = chunk.until.clone(),
            Some(Mutant::BlindChunk) => {
                chunk.since = Position::new(vec![0xff; chunk.until.as_bytes().len()]);
            }
            Some(Mutant::SeparateCheckpoint | Mutant::NoFencing | Mutant::EarlyConfirm) | None => {}
        }
        Ok(chunk)
    }
}

impl Scan for Reads<Box<dyn Scan>> {
    fn read(&mut self, span: &Span, most: Most, received: &Position) -> Result<Chunk> {
        Reads::read(self, received, |face, received| {
            face.read(span, most, received)
        })
    }

    fn digest(
        &mut self,
        span: &Span,
        fields: &[usize],
        rows: u64,
        received: &Position,
    ) -> Result<Option<Summary>> {
        self.face.digest(span, fields, rows, received)
    }
}

impl Lookup for Reads<Box<dyn Lookup>> {
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk> {
        self.read(received, |face, received| face.get(pair, keys, received))
    }
}

/// The only writer, watched.
struct Writes {
    face: Box<dyn Apply>,
    watched: Watched,
    role: Arc<Role>,
}

impl Writes {
    /// Makes a lease that has been overtaken look like the one that overtook it.
    fn forge(&self, lease: &mut Lease) -> Result<()> {
        if let Some((token, sequence)) = (self.watched.lanes)(lease.lane, lease.direction) {
            (lease.token, lease.sequence) = (token, sequence);
        }
        let switch = self.watched.inner.switch(&self.role);
        let standing = switch.map(|mut switch| switch.standing()).transpose()?;
        lease.epoch = standing.flatten().map_or(Epoch::FIRST, |found| found.epoch);
        Ok(())
    }
}

impl Apply for Writes {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        self.face.claim(lane, direction)
    }

    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        match self.watched.mutant {
            Some(Mutant::NoFencing) => {
                self.forge(lease)?;
                self.face.apply(records, letters, progress, lease)
            }
            Some(Mutant::SeparateCheckpoint) => {
                let (Progress::Advance { seen, .. }
                | Progress::Chunk { seen, .. }
                | Progress::Keys { seen }) = progress;
                self.face.apply(&[], &[], progress, lease)?;
                self.face
                    .apply(records, letters, &Progress::Keys { seen }, lease)
            }
            _ => self.face.apply(records, letters, progress, lease),
        }
    }

    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>> {
        self.face.checkpoint(direction)
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        self.face.letters()
    }

    fn guarantee(&self) -> Guarantee {
        self.face.guarantee()
    }
}
