//! Two logs in memory, of two partitions, and an audit of them.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, End, Feed, Guarantee, Inspected, Letter, Lookup, Part, Progress, Resume, Role,
    Scan, Start, StoredLetter, Structure, Switch, Table, fenced,
};
use contraflow_core::error::Result;
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::log::{self, Envelope, Place};
use contraflow_core::mapping::Mapping;
use contraflow_core::phase::{Mode, Unmappable};
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Silent;
use contraflow_core::record::{Batch, Complement, Event, Image, Op, Origin, PairId, Record, Row};
use contraflow_core::shape::{Field, Type};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use super::{Audit, Comparison, Stillness, place};
use crate::context::{Bound, Context, Limits, Pair};
use crate::tasks::Stop;

/// Records that are handed out at once.
const FEW: usize = 7;
const PARTITIONS: usize = 2;
/// A log whose records come in one order over its partitions, what could not be carried to it, and
/// how often it was opened.
#[derive(Clone, Default)]
pub(super) struct Memory {
    records: Arc<Mutex<Vec<Event>>>,
    compacts: Arc<AtomicBool>,
    lead: Arc<Lead>,
    letters: Arc<Mutex<Letters>>,
    pub(super) opened: Arc<AtomicUsize>,
}

/// Letters of records of the old log, and how often they are looked for before they are seen.
#[derive(Default)]
struct Letters {
    all: Vec<StoredLetter>,
    unseen: usize,
}

/// How far both logs were handed out.
#[derive(Default)]
struct Lead {
    next: Mutex<[[usize; PARTITIONS]; 2]>,
    most: AtomicUsize,
}

impl Lead {
    /// Notes that a log was handed out so far.
    fn note(&self, side: Side, next: [usize; PARTITIONS]) {
        let mut all = self.next.lock().unwrap();
        all[place(side)] = next;
        let [old, new] = *all;
        let each = old.into_iter().zip(new);
        let lead = each.map(|(old, new)| old.abs_diff(new)).sum();
        self.most.fetch_max(lead, Ordering::Relaxed);
    }
}

/// Reads a log, or some of its partitions.
struct Reader {
    log: Memory,
    side: Side,
    part: Option<Part>,
    /// The next record of each partition.
    next: [usize; PARTITIONS],
}

/// Nobody carries.
struct Nobody(Arc<Mutex<Letters>>);

/// Each look takes a while.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Memory {
    /// Appends what was written to a partition of the old log at this offset: the record itself, or
    /// its copy.
    pub(super) fn write(
        &self,
        side: Side,
        partition: i32,
        (offset, key, value): (i64, i64, Option<i64>),
    ) {
        let envelope = Envelope {
            place: Place::new(partition, Side::Old, offset),
            timestamp: offset,
            key: Some(Cow::Owned(key.to_be_bytes().to_vec())),
            headers: Cow::Borrowed(&[]),
        };
        let key = envelope.into_key();
        let image = value.map(|value| Image {
            row: Row(key.0.iter().cloned().chain([Value::Int(value)]).collect()),
            complement: Complement::default(),
        });
        self.records.lock().unwrap().push(Event {
            pair: PairId(0),
            op: if image.is_some() { Op::Put } else { Op::Delete },
            key,
            image,
            position: Position::new([]),
            origin: match side {
                Side::Old => Origin::Application,
                Side::New => Origin::Flow(Direction::Forward),
            },
        });
    }

    /// A letter of a record of the old log, seen when it was looked for so many times.
    pub(super) fn park(&self, offset: i64, unseen: usize) {
        let mut letters = self.letters.lock().unwrap();
        letters.unseen = unseen;
        letters.all.push(StoredLetter {
            id: 1,
            direction: Direction::Forward,
            letter: Letter {
                pair: PairId(0),
                source_key: Place::new(0, Side::Old, offset).key(),
                code: Code::CONSTRAINT_VIOLATED,
                reason: "it is too large".to_owned(),
                retry_after: None,
            },
            since_ms: 0,
            attempts: 1,
        });
    }
}

fn position(next: [usize; PARTITIONS]) -> Position {
    Position::new(next.map(|next| u8::try_from(next).unwrap()))
}

fn next(position: &Position) -> [usize; PARTITIONS] {
    let next: [u8; PARTITIONS] = position.as_bytes().try_into().unwrap();
    next.map(usize::from)
}

fn partition(event: &Event) -> i32 {
    Place::of(&event.key).unwrap().partition
}

impl Reader {
    fn reads(&self, event: &Event) -> bool {
        let partition = partition(event);
        match &self.part {
            Some(Part::Partitions(these)) => these.contains(&(event.pair, partition)),
            Some(Part::Lane(_)) | None => true,
        }
    }
}

impl Feed for Reader {
    fn keep_to(&mut self, part: Part) {
        self.part = Some(part);
    }

    fn open(&mut self, start: &Start) -> Result<()> {
        self.log.opened.fetch_add(1, Ordering::Relaxed);
        if let Start::After(at) = start {
            self.next = next(at);
        }
        Ok(())
    }

    fn next(&mut self, _: usize) -> Result<Batch> {
        let records = self.log.records.lock().unwrap().clone();
        let (mut seen, mut events) = ([0; PARTITIONS], Vec::new());
        for event in records {
            let at = usize::try_from(partition(&event)).unwrap();
            seen[at] += 1;
            if seen[at] > self.next[at] && self.reads(&event) && events.len() < FEW {
                self.next[at] += 1;
                events.push(event);
            }
        }
        self.log.lead.note(self.side, self.next);
        Ok(Batch {
            events,
            unreadable: Vec::new(),
            through: position(self.next),
            seen: position(self.next),
        })
    }

    fn compacts(&mut self, _: PairId) -> Result<bool> {
        Ok(self.log.compacts.load(Ordering::Relaxed))
    }

    fn received(&self) -> Position {
        position(self.next)
    }

    fn confirm(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let mut ends = [0; PARTITIONS];
        for event in &*self.log.records.lock().unwrap() {
            ends[usize::try_from(partition(event)).unwrap()] += 1;
        }
        Ok((position(ends), 0))
    }
}

impl End for Memory {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn engine(&self) -> &'static str {
        "memory"
    }

    fn inspect(&self, _: &str, _: &[String]) -> Result<Option<Inspected>> {
        Ok(None)
    }

    fn check(&self, _: &Role) -> Result<Vec<Looked>> {
        Ok(Vec::new())
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        let mut both = next(at).into_iter().zip(next(goal));
        both.all(|(at, goal)| at >= goal)
    }

    fn short_of(&self, goal: &Position, _: PairId, place: Place) -> Position {
        let records = self.records.lock().unwrap();
        let of_partition = records
            .iter()
            .filter(|event| partition(event) == place.partition);
        let at = of_partition
            .map(|event| Place::of(&event.key).unwrap())
            .position(|other| other == place);
        let mut short = next(goal);
        let partition = usize::try_from(place.partition).unwrap();
        short[partition] = short[partition].min(at.unwrap());
        position(short)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        let log = self.clone();
        Some(Box::new(Reader {
            log,
            side: role.side,
            part: None,
            next: [0; PARTITIONS],
        }))
    }

    fn apply(&self, _: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(Nobody(Arc::clone(&self.letters))))
    }

    fn scan(&self, _: &Arc<Role>) -> Option<Box<dyn Scan>> {
        None
    }

    fn lookup(&self, _: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        None
    }

    fn structure(&self, _: &Arc<Role>) -> Option<Box<dyn Structure>> {
        None
    }

    fn switch(&self, _: &Arc<Role>) -> Option<Box<dyn Switch>> {
        None
    }
}

impl Apply for Nobody {
    fn claim(&mut self, _: LaneId, _: Direction) -> Result<(Lease, Resume)> {
        Err(fenced("nobody carries"))
    }

    fn apply(
        &mut self,
        _: &[Record],
        _: &[Letter],
        _: &Progress<'_>,
        _: &mut Lease,
    ) -> Result<Applied> {
        Err(fenced("nobody carries"))
    }

    fn checkpoint(&mut self, _: Direction) -> Result<Option<Position>> {
        Ok(None)
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        let mut letters = self.0.lock().unwrap();
        if letters.unseen > 0 {
            letters.unseen -= 1;
            return Ok(Vec::new());
        }
        Ok(letters.all.clone())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

impl Clock for Ticking {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(10, Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) {}
}

/// Both logs, and an audit of them.
pub(super) struct Two {
    pub(super) logs: [Memory; 2],
    pub(super) context: Context,
    pub(super) audit: Audit,
}

impl Two {
    /// Two logs that are empty, and whether they are compacted.
    pub(super) fn new(compacts: bool) -> Two {
        let lead = Arc::<Lead>::default();
        let logs = [(); 2].map(|()| Memory {
            lead: Arc::clone(&lead),
            ..Memory::default()
        });
        for log in &logs {
            log.compacts.store(compacts, Ordering::Relaxed);
        }
        let shape = log::shape(vec![Field::required("value", Type::INT64)]);
        let mapping = Mapping::check(&[], &shape, &log::key_names(), None, None);
        let bound = |side: Side, end: &Memory| Bound {
            end: Arc::new(end.clone()),
            role: Arc::new(Role {
                change: "c".to_owned(),
                side,
                tables: vec![Table {
                    name: side.to_string(),
                    native: vec![false; shape.fields.len()],
                    declared: vec![None; shape.fields.len()],
                    shape: shape.clone(),
                    created: false,
                }],
            }),
        };
        let context = Context {
            change: "c".to_owned(),
            mode: Mode::Topics,
            consumers: Vec::new(),
            old: bound(Side::Old, &logs[0]),
            new: bound(Side::New, &logs[1]),
            unmappable: Unmappable::Stop,
            mapping: "m".to_owned(),
            limits: Limits {
                fence_max: Duration::ZERO,
                lag_events_max: 0,
                writers_quiet: Duration::ZERO,
                readers_gone: Duration::ZERO,
                letters_max: 0,
                backfill_rows_per_s: None,
                copy_share_percent: 100,
            },
            clock: Arc::new(Ticking::default()),
            probe: Arc::new(Silent),
            pairs: vec![Pair {
                old: "old".to_owned(),
                new: "new".to_owned(),
                mapping: mapping.expect("nothing to map").0,
                history: contraflow_core::change::history::Reach::All,
                keying: None,
            }],
        };
        Two {
            audit: Audit::open(&context, Direction::Forward).expect("they are there"),
            logs,
            context,
        }
    }

    /// How many records waited at most.
    pub(super) fn lead(&self) -> usize {
        self.logs[0].lead.most.load(Ordering::Relaxed)
    }

    /// Compares all there is, and says how many looks at the new log it took.
    pub(super) fn compare(&mut self) -> (Comparison, usize) {
        let before = self.logs[1].opened.load(Ordering::Relaxed);
        let goal = self.audit.head().expect("an end");
        let found = self
            .audit
            .go_on(&self.context, &goal, Stillness::Settled, &Stop::default());
        let looks = self.logs[1].opened.load(Ordering::Relaxed) - before;
        (found.expect("it is read"), looks)
    }
}
