//! Two logs in memory that were compacted, and fewer keys that may wait than do.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::end::{
    Applied, Apply, End, Feed, Guarantee, Inspected, Letter, Lookup, Progress, Resume, Role, Scan,
    Start, StoredLetter, Structure, Switch, Table, fenced,
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

use super::super::{Audit, Comparison, Kind, Share, Stillness};
use crate::context::{Bound, Context, Limits, Pair};
use crate::tasks::Stop;

/// Records that are handed out at once: keys wait between two of them.
const FEW: usize = 7;
/// Keys that may wait.
const ROOM: usize = 10;
/// Keys that do.
const KEYS: i64 = 100;

/// A log, and how often it was opened.
#[derive(Clone, Default)]
struct Memory {
    records: Arc<Mutex<Vec<Event>>>,
    opened: Arc<AtomicUsize>,
}

struct Reader {
    log: Memory,
    next: usize,
}

/// Nobody carries, and there are no letters.
struct Nobody;

struct Still;

impl Memory {
    /// Appends what was written to the old log at this offset: the record itself, or its copy.
    fn write(&self, side: Side, (offset, key, value): (i64, i64, Option<i64>)) {
        let envelope = Envelope {
            place: Place::new(0, Side::Old, offset),
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
}

fn position(next: usize) -> Position {
    Position::new(next.to_be_bytes())
}

fn next(position: &Position) -> usize {
    usize::from_be_bytes(position.as_bytes().try_into().unwrap())
}

impl Feed for Reader {
    fn open(&mut self, start: &Start) -> Result<()> {
        self.log.opened.fetch_add(1, Ordering::Relaxed);
        if let Start::After(at) = start {
            self.next = next(at);
        }
        Ok(())
    }

    fn next(&mut self, _: usize) -> Result<Batch> {
        let records = self.log.records.lock().unwrap();
        let events: Vec<Event> = records.iter().skip(self.next).take(FEW).cloned().collect();
        self.next += events.len();
        Ok(Batch {
            events,
            unreadable: Vec::new(),
            through: position(self.next),
            seen: position(self.next),
        })
    }

    fn compacts(&mut self, _: PairId) -> Result<bool> {
        Ok(true)
    }

    fn received(&self) -> Position {
        position(self.next)
    }

    fn confirm(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        Ok((position(self.log.records.lock().unwrap().len()), 0))
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
        next(at) >= next(goal)
    }

    fn feed(&self, _: &Arc<Role>) -> Option<Box<dyn Feed>> {
        let log = self.clone();
        Some(Box::new(Reader { log, next: 0 }))
    }

    fn apply(&self, _: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(Nobody))
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
        Ok(Vec::new())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

impl Clock for Still {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {}
}

/// Both logs, and an audit of them.
struct Two {
    logs: [Memory; 2],
    context: Context,
    audit: Audit,
}

impl Two {
    fn new(old: &[(i64, i64, Option<i64>)], new: &[(i64, i64, Option<i64>)]) -> Two {
        let logs = [Memory::default(), Memory::default()];
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
            clock: Arc::new(Still),
            probe: Arc::new(Silent),
            pairs: vec![Pair {
                old: "old".to_owned(),
                new: "new".to_owned(),
                mapping: mapping.expect("nothing to map").0,
                history: contraflow_core::change::history::Reach::All,
                keying: None,
            }],
        };
        let mut two = Two {
            audit: Audit::open(&context, Direction::Forward).expect("they are there"),
            logs,
            context,
        };
        two.audit.room = ROOM;
        two.write(old, new);
        two
    }

    fn write(&self, old: &[(i64, i64, Option<i64>)], new: &[(i64, i64, Option<i64>)]) {
        old.iter()
            .for_each(|one| self.logs[0].write(Side::Old, *one));
        new.iter()
            .for_each(|one| self.logs[1].write(Side::New, *one));
    }

    /// Compares all there is, and says how many looks at the new log it took.
    fn compare(&mut self) -> (Comparison, usize) {
        let before = self.logs[1].opened.load(Ordering::Relaxed);
        let goal = self.audit.head().expect("an end");
        let found = self
            .audit
            .go_on(&self.context, &goal, Stillness::Settled, &Stop::default());
        let looks = self.logs[1].opened.load(Ordering::Relaxed) - before;
        (found.expect("it is read"), looks)
    }
}

/// The first records of all keys, then the second ones, with what comes behind all.
fn twice(second: impl Fn(i64) -> Option<i64>) -> [Vec<(i64, i64, Option<i64>)>; 2] {
    let first = (0..KEYS).map(|key| (key, key, Some(1)));
    let second = (0..KEYS).map(|key| (KEYS + key, key, second(key)));
    let last = [(2 * KEYS, KEYS, Some(3))];
    [first.collect(), second.chain(last).collect()]
}

fn missing(found: &Comparison) -> Vec<i64> {
    let each = found.findings.iter().map(|finding| {
        assert_eq!(finding.kind, Kind::Missing);
        Place::of(&finding.key).expect("a place").offset
    });
    let mut all: Vec<i64> = each.collect();
    all.sort_unstable();
    all
}

#[test]
fn what_newer_records_overtook_is_told_of_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| Some(2));
    let mut two = Two::new(&[first, second.clone()].concat(), &second);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (101, true), "{found:?}");
    // Each look tells no more keys than there is room for.
    assert!(looks >= usize::try_from(KEYS).unwrap() / ROOM, "{looks}");
    assert_eq!(two.audit.share, Share::ALL);
    // From there it goes on with what is new.
    two.write(
        &[(201, 7, Some(4)), (202, 8, Some(4))],
        &[(202, 8, Some(4))],
    );
    let (found, looks) = two.compare();
    assert_eq!((missing(&found), looks), (vec![201], 0));
    assert_eq!((found.compared, found.unproven), (102, 0));
}

#[test]
fn what_is_lost_is_found_among_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| Some(2));
    let mut there = second.clone();
    let lost = there.remove(42);
    let mut two = Two::new(&[first, second].concat(), &there);
    let (found, _) = two.compare();
    assert_eq!((missing(&found), found.unproven), (vec![lost.0], 0));
}

#[test]
fn deletions_that_were_dropped_are_told_of_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| None);
    let last = second[second.len() - 1];
    let old = [first.clone(), second].concat();
    let mut two = Two::new(&old, &[last]);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (1, true), "{found:?}");
    assert!(looks > 1, "{looks}");
    // One of them has deleted nothing there.
    let mut two = Two::new(&old, &[first[42], last]);
    let (found, _) = two.compare();
    assert_eq!((missing(&found), found.unproven), (vec![142], 0));
}

/// The old log has dropped keys whole of which the new one still has the deletion.
#[test]
fn deletions_that_the_old_log_dropped_are_told_of_more_keys_than_there_is_room_for() {
    let [_, second] = twice(|_| None);
    let last = second[second.len() - 1];
    let mut two = Two::new(&[last], &second);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (1, true), "{found:?}");
    assert!(looks > 1, "{looks}");
}

/// So many are lost that nobody needs to know which: it is not said to be whole.
#[test]
fn more_lost_keys_than_there_is_room_for_are_not_proven() {
    let [first, second] = twice(|_| Some(2));
    let last = second[second.len() - 1];
    let mut two = Two::new(&[first, second].concat(), &[last]);
    for _ in 0..2 {
        let (found, _) = two.compare();
        assert!(found.unproven > 0 && found.diverged > 0, "{found:?}");
        assert!(two.audit.waiting_keys() <= ROOM);
    }
}
