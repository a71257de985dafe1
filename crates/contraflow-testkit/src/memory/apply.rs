//! The only writer of rows: records, letters and progress, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{
    Applied, Apply, Guarantee, Letter, Progress, Range, Resume, StoredLetter, fenced,
};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Gate, LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::probe::Point;
use contraflow_core::record::{Change, Image, Origin, PairId, Record};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;

use super::order::Order;
use super::state::{Book, Rows, State, Table, difference};
use super::{Face, Style};

pub(super) struct Writer(pub(super) Face);

impl Apply for Writer {
    fn claim(&mut self, lane: LaneId, direction: Direction) -> Result<(Lease, Resume)> {
        let mut state = self.0.memory.lock();
        let book = carried(&mut state)?;
        if book.standing.gate != Gate::Closed {
            return Err(fenced("the end to be written has authority"));
        }
        let epoch = book.standing.epoch;
        let found = book.lanes.entry((direction, lane)).or_default();
        found.token += 1;
        found.sequence = 0;
        let lease = Lease {
            lane,
            direction,
            epoch,
            token: found.token,
            sequence: 0,
        };
        let position = found.position.clone();
        let last = |pair: PairId| {
            let done = book.chunks.iter().filter(|(d, _)| *d == direction);
            done.map(|(_, range)| range)
                .filter(|range| range.pair == pair)
                .max_by_key(|range| range.ordinal)
                .cloned()
        };
        let chunks = self.0.role.pairs().map(|(pair, _)| (pair, last(pair)));
        let resume = Resume {
            position,
            chunks: chunks.collect(),
        };
        drop(state);
        self.0.memory.probe.at(Point::LEASE_CLAIMED)?;
        Ok((lease, resume))
    }

    fn apply(
        &mut self,
        records: &[Record],
        letters: &[Letter],
        progress: &Progress<'_>,
        lease: &mut Lease,
    ) -> Result<Applied> {
        let probe = &self.0.memory.probe;
        probe.at(match progress {
            Progress::Advance { .. } | Progress::Keys { .. } => Point::BATCH_APPLY_MID,
            Progress::Chunk { .. } => Point::CHUNK_APPLY_MID,
        })?;
        probe.at(Point::COMMIT_BEFORE)?;
        let mut state = self.0.memory.lock();
        admit(carried(&mut state)?, progress, lease)?;
        let mut letters = letters.to_vec();
        let mut changes = Vec::new();
        for (pair, table) in self.0.role.pairs() {
            let mine: Vec<&Record> = records.iter().filter(|r| r.pair == pair).collect();
            let stored = state.tables.get(&table.name).ok_or_else(no_table)?;
            let (rows, replaced, refused) = settle(stored, &mine);
            let found = difference(
                &table.name,
                &stored.shape,
                &stored.durable,
                &rows,
                &replaced,
            );
            changes.extend(found);
            letters.extend(refused.into_iter().map(|record| conflict(record, progress)));
        }
        let lags = self.0.memory.style == Style::Log;
        state.commit(changes, Origin::Flow(lease.direction), lags);
        let now_ms = self.0.memory.clock.unix_ms();
        let book = carried(&mut state)?;
        record_letters(book, lease.direction, &letters, now_ms);
        resolve_letters(book, lease.direction, records, &letters);
        record_progress(book, progress, lease);
        drop(state);
        lease.sequence += 1;
        probe.at(Point::COMMIT_AFTER)?;
        Ok(Applied {
            records: records.len() as u64,
            letters: letters.len() as u64,
            held: Duration::ZERO,
            refused: Vec::new(),
        })
    }

    fn checkpoint(&mut self, direction: Direction) -> Result<Option<Position>> {
        let mut state = self.0.memory.lock();
        let book = carried(&mut state)?;
        let lane = book.lanes.get(&(direction, LaneId(0)));
        Ok(lane.and_then(|lane| lane.position.clone()))
    }

    fn letters(&mut self) -> Result<Vec<StoredLetter>> {
        let mut state = self.0.memory.lock();
        Ok(carried(&mut state)?.letters.clone())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }
}

/// The lane's compare-and-set.
fn admit(book: &Book, progress: &Progress<'_>, lease: &Lease) -> Result<()> {
    let mine =
        |lane: &super::state::Lane| (lane.token, lane.sequence) == (lease.token, lease.sequence);
    let lane = book.lanes.get(&(lease.direction, lease.lane));
    if !lane.is_some_and(mine) {
        return Err(fenced("the lane was claimed again"));
    }
    if book.standing.gate != Gate::Closed || book.standing.epoch != lease.epoch {
        return Err(fenced("authority has moved"));
    }
    if let Progress::Chunk { range, .. } = progress {
        let same = |(direction, done): &(Direction, Range)| {
            *direction == lease.direction
                && (done.pair, done.ordinal) == (range.pair, range.ordinal)
        };
        if book.chunks.iter().any(same) {
            let message = "a range was applied before";
            return Err(Error::new(Kind::Hold, Code::END_FAILED, message));
        }
    }
    Ok(())
}

/// The table after the records, what was deleted on the way, and the records that a unique value
/// refuses. Rows settle together: what leaves or moves is freed first. A refused record leaves
/// its row as it was, which may refuse others in turn.
fn settle<'r>(table: &Table, records: &[&'r Record]) -> (Rows, BTreeSet<Order>, Vec<&'r Record>) {
    let mut refused: Vec<usize> = Vec::new();
    loop {
        let (mut rows, mut replaced) = (table.durable.clone(), BTreeSet::new());
        let mut kept = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            if refused.contains(&place) {
                continue;
            }
            let order = Order::of(&record.key.0);
            let was = rows.remove(&order);
            match (&record.change, was) {
                (Change::Put(_), Some(was)) => drop(kept.insert(order, was)),
                (Change::Replace(_) | Change::Delete, Some(_)) => drop(replaced.insert(order)),
                (_, None) => {}
            }
        }
        let before = refused.len();
        for (place, record) in records.iter().enumerate() {
            let (Change::Put(image) | Change::Replace(image)) = &record.change else {
                continue;
            };
            if refused.contains(&place) {
                continue;
            }
            let order = Order::of(&record.key.0);
            let image = filled(image, kept.get(&order));
            if table.victims(&rows, &order, &image.row.0).is_empty() {
                rows.insert(order, image);
            } else {
                refused.push(place);
            }
        }
        if refused.len() == before {
            let refused = refused.into_iter().map(|place| records[place]).collect();
            return (rows, replaced, refused);
        }
    }
}

/// Fields that the mapping leaves out keep what the storage has.
fn filled(image: &Image, was: Option<&Image>) -> Image {
    let mut image = image.clone();
    for (place, value) in image.row.0.iter_mut().enumerate() {
        if matches!(value, Value::Absent) {
            *value = was.map_or(Value::Null, |was| was.row.0[place].clone());
        }
    }
    image
}

fn conflict(record: &Record, progress: &Progress<'_>) -> Letter {
    let retry_after = match progress {
        Progress::Advance { seen, .. } | Progress::Chunk { seen, .. } => Some((*seen).clone()),
        Progress::Keys { .. } => None,
    };
    Letter {
        pair: record.pair,
        source_key: record.source_key.clone(),
        code: Code::UNIQUE_CONFLICT,
        reason: "a unique value is taken".to_owned(),
        retry_after,
    }
}

fn record_letters(book: &mut Book, direction: Direction, letters: &[Letter], now_ms: u64) {
    for letter in letters {
        let same = |stored: &&mut StoredLetter| {
            stored.direction == direction
                && stored.letter.pair == letter.pair
                && stored.letter.source_key == letter.source_key
        };
        if let Some(stored) = book.letters.iter_mut().find(same) {
            stored.letter = letter.clone();
            stored.attempts += 1;
            continue;
        }
        book.letters_ever += 1;
        book.letters.push(StoredLetter {
            id: book.letters_ever,
            direction,
            letter: letter.clone(),
            since_ms: now_ms,
            attempts: 1,
        });
    }
}

fn resolve_letters(book: &mut Book, direction: Direction, records: &[Record], stand: &[Letter]) {
    book.letters.retain(|stored| {
        let mine = &stored.letter;
        let written = records
            .iter()
            .any(|r| r.pair == mine.pair && r.source_key == mine.source_key);
        let again = stand
            .iter()
            .any(|l| l.pair == mine.pair && l.source_key == mine.source_key);
        stored.direction != direction || !written || again
    });
}

fn record_progress(book: &mut Book, progress: &Progress<'_>, lease: &Lease) {
    let lane = book.lanes.entry((lease.direction, lease.lane)).or_default();
    lane.sequence += 1;
    match progress {
        Progress::Advance { through, .. } => lane.position = Some((*through).clone()),
        Progress::Chunk { range, .. } => book.chunks.push((lease.direction, (*range).clone())),
        Progress::Keys { .. } => {}
    }
}

pub(super) fn carried(state: &mut State) -> Result<&mut Book> {
    let book = state.book.as_mut();
    book.ok_or_else(|| fenced("the end does not carry the change"))
}

fn no_table() -> Error {
    Error::new(Kind::Hold, Code::SHAPE_CHANGED, "a table was dropped")
}
