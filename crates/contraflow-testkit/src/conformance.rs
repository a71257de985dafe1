//! The promises of [`contraflow_core::end`], one named check each.
//!
//! Every end passes the same suite. A [`Fixture`] makes fresh ends, each with one empty table
//! `items (a int64, b text, tag text?, n int64)` under the key `(a, b)`, in which no two rows
//! share a `tag`. A check that cannot apply to an end is waived by name, with a reason.

mod applying;
mod feeding;
mod reading;
mod structure;
mod switching;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::end::{Apply, End, Feed, Lookup, Role, Scan, Start, Structure, Switch, Table};
use contraflow_core::lease::{Epoch, Gate, Standing};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Change, Event, Image, Key, PairId, Record, Row};
use contraflow_core::shape::Shape;
use contraflow_core::side::Side;
use contraflow_core::value::Value;

use crate::mapping::shape;
pub use crate::memory::{Refused, Write};

/// Makes ends to be tried.
pub trait Fixture {
    /// A fresh end of that side with an empty table `items`. Nothing of a change is on it yet.
    fn fresh(&self, side: Side) -> Box<dyn Subject>;
}

/// An end under trial, and an application that writes it.
pub trait Subject {
    /// The end, as another process would open it.
    fn end(&self) -> Arc<dyn End>;

    /// One transaction of the application, statement by statement.
    ///
    /// # Errors
    /// When the end refuses; nothing was written then.
    fn transact(&self, writes: &[Write]) -> Result<(), Refused>;

    /// What the table holds, in the order of its keys.
    fn rows(&self) -> Vec<Row>;

    /// Everything declared at the end, as text.
    fn declaration(&self) -> String;

    /// Returns when so much time has passed by the end's own clock.
    fn pass(&self, time: Duration);
}

/// A named check.
pub type Check = (&'static str, fn(&dyn Fixture));

/// Every check, in the order of the traits.
#[must_use]
pub fn checks() -> Vec<Check> {
    [
        feeding::CHECKS,
        reading::CHECKS,
        applying::CHECKS,
        switching::CHECKS,
        structure::CHECKS,
    ]
    .concat()
}

/// Runs every check that is not waived and reports all failures at once. A waiver is the name of
/// a check and the reason why it cannot apply.
///
/// # Panics
/// When a check fails, or a waiver names none.
pub fn run(fixture: &dyn Fixture, waivers: &[(&str, &str)]) {
    let all = checks();
    for (name, reason) in waivers {
        assert!(
            all.iter().any(|(check, _)| check == name),
            "no check is named {name}: {reason}"
        );
    }
    let mut failed = Vec::new();
    for (name, check) in all {
        if waivers.iter().any(|(waived, _)| *waived == name) {
            continue;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(fixture))) {
            failed.push(format!("{name}: {}", said(panic.as_ref())));
        }
    }
    assert!(failed.is_empty(), "checks failed:\n{}", failed.join("\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

/// The name of the table.
pub const TABLE: &str = "items";

/// The only pair.
pub const PAIR: PairId = PairId(0);

/// The shape of the table.
#[must_use]
pub fn items() -> Shape {
    shape("a int64, b text, tag text?, n int64", &["a", "b"])
}

/// The role of a side.
#[must_use]
pub fn role(side: Side) -> Arc<Role> {
    let shape = items();
    Arc::new(Role {
        change: "trial".to_owned(),
        side,
        tables: vec![Table {
            name: TABLE.to_owned(),
            native: vec![true; shape.fields.len()],
            declared: vec![None; shape.fields.len()],
            shape,
            created: false,
        }],
    })
}

/// A row of the table.
#[must_use]
pub fn row(a: i64, b: &str, tag: Option<&str>, n: i64) -> Row {
    let tag = tag.map_or(Value::Null, |tag| Value::Text(tag.to_owned()));
    Row(vec![
        Value::Int(a),
        Value::Text(b.to_owned()),
        tag,
        Value::Int(n),
    ])
}

/// A key of the table.
#[must_use]
pub fn key(a: i64, b: &str) -> Key {
    Key(vec![Value::Int(a), Value::Text(b.to_owned())])
}

/// An end that carries a change, with its faces at hand.
struct Trial {
    subject: Box<dyn Subject>,
    role: Arc<Role>,
}

impl Trial {
    /// The old end open, or the new one closed, in the first epoch.
    fn new(fixture: &dyn Fixture, side: Side) -> Trial {
        let trial = Trial {
            subject: fixture.fresh(side),
            role: role(side),
        };
        trial.structure().expand(&standing(side)).expect("expand");
        trial
    }

    fn end(&self) -> Arc<dyn End> {
        self.subject.end()
    }

    fn feed(&self) -> Box<dyn Feed> {
        let mut feed = self.end().feed(&self.role).expect("a feed");
        feed.open(&Start::Earliest).expect("the feed opens");
        feed
    }

    fn scan(&self) -> Box<dyn Scan> {
        self.end().scan(&self.role).expect("a scan")
    }

    fn lookup(&self) -> Box<dyn Lookup> {
        self.end().lookup(&self.role).expect("a lookup")
    }

    fn apply(&self) -> Box<dyn Apply> {
        self.end().apply(&self.role).expect("an apply")
    }

    fn structure(&self) -> Box<dyn Structure> {
        self.end().structure(&self.role).expect("a structure")
    }

    fn switch(&self) -> Box<dyn Switch> {
        self.end().switch(&self.role).expect("a switch")
    }

    fn write(&self, writes: &[Write]) {
        self.subject
            .transact(writes)
            .expect("the application may write");
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        self.end().reached(at, goal)
    }
}

fn standing(side: Side) -> Standing {
    Standing {
        gate: match side {
            Side::Old => Gate::Open,
            Side::New => Gate::Closed,
        },
        epoch: Epoch::FIRST,
        ledger: "a ledger".to_owned(),
        mapping: "a mapping".to_owned(),
    }
}

/// Looks at a feed before it counts as one that never ends.
const LOOKS: u32 = 20_000;

/// Everything a feed has, batch by batch. A feed may be behind its end for a moment.
fn drained(feed: &mut dyn Feed, events_max: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    for _ in 0..LOOKS {
        let before = feed.received();
        let batch = feed.next(events_max).expect("the feed goes on");
        assert_eq!(
            batch.through,
            feed.received(),
            "`received` is the end of the last batch"
        );
        if batch.through == before {
            assert!(batch.events.is_empty(), "events without progress");
            let (_, left) = feed.head().expect("head");
            if left == 0 {
                return batches;
            }
        } else {
            batches.push(batch);
        }
    }
    panic!("the feed never ends");
}

/// The next batch that has events.
fn next_events(feed: &mut dyn Feed, events_max: usize) -> Batch {
    for _ in 0..LOOKS {
        let batch = feed.next(events_max).expect("a batch");
        if !batch.events.is_empty() {
            return batch;
        }
    }
    panic!("no event ever comes");
}

/// What the events leave under each key, in the order of the first event of each.
fn folded(batches: &[Batch]) -> Vec<(Key, Option<Row>)> {
    let mut found: Vec<(Key, Option<Row>)> = Vec::new();
    for Event { key, image, .. } in batches.iter().flat_map(|batch| &batch.events) {
        let row = image.as_ref().map(|image| image.row.clone());
        match found.iter_mut().find(|(other, _)| other == key) {
            Some((_, last)) => *last = row,
            None => found.push((key.clone(), row)),
        }
    }
    found
}

fn put(row: Row) -> Record {
    record(
        &row.clone(),
        Change::Put(Image {
            row,
            ..Image::default()
        }),
    )
}

fn replace(row: Row) -> Record {
    record(
        &row.clone(),
        Change::Replace(Image {
            row,
            ..Image::default()
        }),
    )
}

fn record(row: &Row, change: Change) -> Record {
    let key = Key(items().key_of(&row.0));
    Record {
        pair: PAIR,
        source_key: key.clone(),
        key,
        change,
    }
}

fn delete(key: Key) -> Record {
    Record {
        pair: PAIR,
        source_key: key.clone(),
        key,
        change: Change::Delete,
    }
}

/// A place in the feed of some other end; this one must not read anything into it.
fn place(number: u64) -> Position {
    Position::new(number.to_be_bytes())
}
