//! A database that carries a change of its table `t`, with the faces at hand.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::end::{Apply, End, Feed, Most, Progress, Range, Role, Scan, Start, Switch};
use contraflow_core::error::Result;
use contraflow_core::lease::{Epoch, Gate, LaneId, Standing};
use contraflow_core::position::Position;
use contraflow_core::record::{Change, Event, Image, Key, PairId, Record, Row};
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_testkit::conformance::Subject;

use crate::one_table::one_table;

use super::server::{Database, Server, database};

pub(super) const PAIR: PairId = PairId(0);
/// All rows of the table.
pub(super) const MOST: Most = Most {
    rows: 1_000_000,
    bytes: 64 << 20,
};
/// All of it, carried as one range.
pub(super) const WHOLE: Range = Range {
    pair: PAIR,
    ordinal: 0,
    after: None,
    through: None,
};
/// Looks at a feed before what is waited for counts as lost.
const LOOKS: u32 = 20_000;

pub(super) struct Carried {
    pub(super) database: Database,
    pub(super) end: Arc<dyn End>,
    pub(super) role: Arc<Role>,
}

impl Carried {
    /// The table `t` of a script, whose key is `id`, carried as a side.
    pub(super) fn new(script: &str, side: Side) -> Carried {
        Carried::of(database(script), side)
    }

    /// The same on a server of its own.
    pub(super) fn on(server: &Server, script: &str, side: Side) -> Carried {
        Carried::of(server.database(script), side)
    }

    fn of(database: Database, side: Side) -> Carried {
        let carried = Carried::planned(database, side);
        carried.expand().unwrap();
        carried
    }

    /// A change of which nothing was made yet.
    pub(super) fn planned(database: Database, side: Side) -> Carried {
        let end = database.end();
        let role = Arc::new(one_table(&*end, &["id"], side));
        Carried {
            database,
            end,
            role,
        }
    }

    pub(super) fn expand(&self) -> Result<()> {
        let mut structure = self.end.structure(&self.role).unwrap();
        structure.expand(&self.standing())
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            gate: match self.role.side {
                Side::Old => Gate::Open,
                Side::New => Gate::Closed,
            },
            epoch: Epoch::FIRST,
            ledger: "l".to_owned(),
            mapping: "m".to_owned(),
        }
    }

    pub(super) fn feed(&self) -> Box<dyn Feed> {
        let mut feed = self.end.feed(&self.role).unwrap();
        feed.open(&Start::Earliest).unwrap();
        feed
    }

    pub(super) fn switch(&self) -> Box<dyn Switch> {
        self.end.switch(&self.role).unwrap()
    }

    /// The switch of another process.
    pub(super) fn switch_again(&self) -> Box<dyn Switch> {
        self.database.again().switch(&self.role).unwrap()
    }

    /// Moves authority from this end to its twin.
    pub(super) fn turn_to(&self, twin: &Carried) {
        let (mut losing, limit) = (self.switch(), Duration::from_secs(60));
        let drained = losing.fence(Epoch::FIRST, limit).unwrap();
        let from = twin.feed().received();
        losing.seal(Epoch::FIRST, &drained, &from).unwrap();
        twin.switch().flip(Epoch::FIRST.next(), &[]).unwrap();
    }

    pub(super) fn scan(&self) -> Box<dyn Scan> {
        self.end.scan(&self.role).unwrap()
    }

    /// The faces after a restart, which has forgotten everything but a position.
    pub(super) fn restarted(&self, at: &Position) -> (Box<dyn Feed>, Box<dyn Scan>) {
        let end = self.database.again();
        let mut feed = end.feed(&self.role).unwrap();
        feed.open(&Start::After(at.clone())).unwrap();
        (feed, end.scan(&self.role).unwrap())
    }

    /// Writes rows as the flow does with what it has followed.
    pub(super) fn apply(&self, rows: Vec<(Key, Option<Image>)>) -> u64 {
        let seen = Position::new([]);
        self.write(rows, &Progress::Keys { seen: &seen })
    }

    /// Writes rows as the flow does with a range of history.
    pub(super) fn load(&self, rows: Vec<(Key, Image)>) -> u64 {
        let seen = Position::new([]);
        let range = &WHOLE;
        let rows = rows.into_iter().map(|(key, image)| (key, Some(image)));
        self.write(rows.collect(), &Progress::Chunk { range, seen: &seen })
    }

    fn write(&self, rows: Vec<(Key, Option<Image>)>, progress: &Progress<'_>) -> u64 {
        let mut apply: Box<dyn Apply> = self.end.apply(&self.role).unwrap();
        let direction = self.role.side.other().direction();
        let (mut lease, _) = apply.claim(LaneId(0), direction).unwrap();
        let record = |(key, image): (Key, Option<Image>)| Record {
            pair: PAIR,
            source_key: key.clone(),
            key,
            change: image.map_or(Change::Delete, Change::Put),
        };
        let records: Vec<Record> = rows.into_iter().map(record).collect();
        let applied = apply.apply(&records, &[], progress, &mut lease).unwrap();
        applied.letters
    }
}

/// A row of a table whose columns are a number, its key, and a text.
pub(super) fn put(id: i64, text: &str) -> Record {
    let key = Key(vec![Value::Int(id)]);
    let row = Row(vec![Value::Int(id), Value::Text(text.to_owned())]);
    Record {
        pair: PAIR,
        source_key: key.clone(),
        key,
        change: Change::Put(Image {
            row,
            ..Image::default()
        }),
    }
}

/// The next so many events of a feed.
pub(super) fn events(feed: &mut dyn Feed, count: usize) -> Vec<Event> {
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        found.extend(feed.next(1_000).unwrap().events);
        if found.len() >= count {
            return found;
        }
    }
    panic!("{} of {count} events came", found.len());
}
