//! What the end holds: tables twice, durable and visible, and the bookkeeping of one change.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use contraflow_core::end::{Inspected, Range, StoredLetter};
use contraflow_core::lease::{LaneId, Standing};
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key, Op, Origin, PairId};
use contraflow_core::shape::Shape;
use contraflow_core::side::Direction;
use contraflow_core::value::Value;

use super::order::Order;

pub(super) type Rows = BTreeMap<Order, Image>;

#[derive(Default)]
pub(super) struct State {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) book: Option<Book>,
    pub(super) pending: Vec<Pending>,
    pub(super) commits: u64,
}

pub(super) struct Table {
    pub(super) shape: Shape,
    pub(super) unique: Vec<Vec<usize>>,
    pub(super) durable: Rows,
    pub(super) visible: Rows,
}

/// The bookkeeping of a change.
pub(super) struct Book {
    pub(super) tables: Vec<String>,
    pub(super) standing: Standing,
    pub(super) fenced_until: Duration,
    pub(super) lanes: HashMap<(Direction, LaneId), Lane>,
    pub(super) chunks: Vec<(Direction, Range)>,
    pub(super) letters: Vec<StoredLetter>,
    pub(super) letters_ever: u64,
    pub(super) log: VecDeque<Entry>,
    /// The newest event ever, and the newest that was forgotten.
    pub(super) head: u64,
    pub(super) pruned: u64,
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) token: u64,
    pub(super) sequence: u64,
    pub(super) position: Option<Position>,
}

/// One event of the log.
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) pair: PairId,
    pub(super) key: Key,
    pub(super) op: Op,
    pub(super) image: Option<Image>,
    pub(super) origin: Origin,
    /// Whether a transaction ends here.
    pub(super) ends: bool,
}

/// A transaction that is durable and not visible.
pub(super) struct Pending {
    pub(super) first: u64,
    changes: Vec<Changed>,
    locks: BTreeSet<Lock>,
}

/// What a transaction did to one key.
pub(super) struct Changed {
    pub(super) table: String,
    pub(super) key: Key,
    pub(super) before: Option<Image>,
    pub(super) after: Option<Image>,
    /// The row under the key was deleted on the way, whatever is there now.
    pub(super) replaced: bool,
}

/// A row or a unique value, as long as its transaction is pending.
type Lock = (String, usize, Order);

impl State {
    pub(super) fn create(&mut self, name: &str, shape: &Shape, unique: Vec<Vec<usize>>) {
        let table = Table {
            shape: shape.clone(),
            unique,
            durable: Rows::new(),
            visible: Rows::new(),
        };
        self.tables.insert(name.to_owned(), table);
    }

    pub(super) fn durable_rows(&self, table: &str) -> Vec<(Key, Image)> {
        let Some(table) = self.tables.get(table) else {
            return Vec::new();
        };
        let rows = table.durable.values();
        rows.map(|image| (Key(table.shape.key_of(&image.row.0)), image.clone()))
            .collect()
    }

    pub(super) fn inspect(&self, table: &str, key: &[String]) -> Option<Inspected> {
        let table = self.tables.get(table)?;
        let place = |name: &String| table.shape.index(name);
        let shape = Shape {
            key: key.iter().filter_map(place).collect(),
            fields: table.shape.fields.clone(),
        };
        let name = |&place: &usize| table.shape.fields[place].name.clone();
        Some(Inspected {
            log: None,
            primary_key: table.shape.key.iter().map(name).collect(),
            rows_estimated: table.durable.len() as u64,
            declared: shape.fields.iter().map(|field| field.ty.name()).collect(),
            shape,
        })
    }

    pub(super) fn declaration(&self) -> String {
        let mut lines: Vec<String> = self
            .tables
            .iter()
            .map(|(name, table)| format!("{name}: {:?} {:?}", table.shape, table.unique))
            .collect();
        if let Some(book) = &self.book {
            lines.push(format!("book: {:?}", book.standing));
        }
        lines.join("\n")
    }

    /// Commits: the changes are durable and in the log; visible at once only when nobody reads
    /// the log, or when `lags` says that reads do not lag.
    pub(super) fn commit(&mut self, changes: Vec<Changed>, origin: Origin, lags: bool) {
        self.commits += 1;
        if changes.is_empty() {
            return;
        }
        let locks = self.locks(&changes);
        while let Some(place) = self
            .pending
            .iter()
            .position(|pending| !pending.locks.is_disjoint(&locks))
        {
            self.reveal(place);
        }
        for change in &changes {
            let table = self.tables.get_mut(&change.table).expect("it was changed");
            put(&mut table.durable, &change.key, change.after.as_ref());
        }
        let first = self.log(&changes, origin);
        match first {
            Some(first) if lags => self.pending.push(Pending {
                first,
                changes,
                locks,
            }),
            _ => self.show(&changes),
        }
    }

    /// Appends the changes to the log; says where they begin, or nothing when there is no log.
    fn log(&mut self, changes: &[Changed], origin: Origin) -> Option<u64> {
        let book = self.book.as_mut()?;
        let first = book.head + 1;
        for change in changes {
            let Some(pair) = book.tables.iter().position(|name| *name == change.table) else {
                continue;
            };
            let op = match (&change.after, change.replaced) {
                (None, _) => Op::Delete,
                (Some(_), true) => Op::Replace,
                (Some(_), false) => Op::Put,
            };
            book.head += 1;
            book.log.push_back(Entry {
                sequence: book.head,
                pair: PairId(u16::try_from(pair).expect("a change has few pairs")),
                key: change.key.clone(),
                op,
                image: change.after.clone(),
                origin,
                ends: false,
            });
        }
        if book.head < first {
            return None;
        }
        book.log.back_mut().expect("it was just filled").ends = true;
        Some(first)
    }

    /// Makes a pending transaction visible.
    pub(super) fn reveal(&mut self, place: usize) {
        let pending = self.pending.remove(place);
        self.show(&pending.changes);
    }

    fn show(&mut self, changes: &[Changed]) {
        for change in changes {
            if let Some(table) = self.tables.get_mut(&change.table) {
                put(&mut table.visible, &change.key, change.after.as_ref());
            }
        }
    }

    /// The barrier: everything up to here is visible afterwards.
    pub(super) fn reveal_through(&mut self, sequence: u64) {
        while let Some(place) = self.pending.iter().position(|p| p.first <= sequence) {
            self.reveal(place);
        }
    }

    /// Every event up to the first is visible, none after the second.
    pub(super) fn visible_span(&self) -> (u64, u64) {
        let head = self.book.as_ref().map_or(0, |book| book.head);
        let hidden = self.pending.iter().map(|pending| pending.first - 1).min();
        (hidden.unwrap_or(head), head)
    }

    fn locks(&self, changes: &[Changed]) -> BTreeSet<Lock> {
        let mut locks = BTreeSet::new();
        for change in changes {
            let table = &self.tables[&change.table];
            let mut lock = |kind, order| {
                locks.insert((change.table.clone(), kind, order));
            };
            lock(usize::MAX, Order::of(&change.key.0));
            for image in [&change.before, &change.after].into_iter().flatten() {
                for (kind, values) in uniques(table, &image.row.0) {
                    lock(kind, values);
                }
            }
        }
        locks
    }
}

fn put(rows: &mut Rows, key: &Key, image: Option<&Image>) {
    match image {
        Some(image) => rows.insert(Order::of(&key.0), image.clone()),
        None => rows.remove(&Order::of(&key.0)),
    };
}

/// The unique values of a row that could meet another row's.
fn uniques<'t>(table: &'t Table, row: &'t [Value]) -> impl Iterator<Item = (usize, Order)> + 't {
    table.unique.iter().enumerate().filter_map(|(kind, set)| {
        let values: Vec<Value> = set.iter().map(|&place| row[place].clone()).collect();
        let order = Order::of(&values);
        (!order.has_null()).then_some((kind, order))
    })
}

impl Table {
    /// The keys of other rows whose unique values a row would meet.
    pub(super) fn victims(&self, rows: &Rows, key: &Order, row: &[Value]) -> Vec<Order> {
        let mine: Vec<(usize, Order)> = uniques(self, row).collect();
        let meets =
            |other: &Image| uniques(self, &other.row.0).any(|theirs| mine.contains(&theirs));
        rows.iter()
            .filter(|(other, image)| *other != key && meets(image))
            .map(|(other, _)| other.clone())
            .collect()
    }
}

/// What has become of each key between two contents of a table.
pub(super) fn difference(
    name: &str,
    shape: &Shape,
    before: &Rows,
    after: &Rows,
    replaced: &BTreeSet<Order>,
) -> Vec<Changed> {
    let orders: BTreeSet<&Order> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for order in orders {
        let (was, is) = (before.get(order), after.get(order));
        let again = replaced.contains(order);
        let Some(row) = is.or(was) else { continue };
        if was == is && !again {
            continue;
        }
        changes.push(Changed {
            table: name.to_owned(),
            key: Key(shape.key_of(&row.row.0)),
            before: was.cloned(),
            after: is.cloned(),
            replaced: again,
        });
    }
    changes
}
