//! The changes of a batch, folded so that each key is there once.

use std::collections::HashMap;

use contraflow_core::record::{Key, Op, PairId};
use contraflow_core::value::Value;

use super::place::Place;

/// The row of a key, as far as the log has it.
#[derive(Clone, Debug)]
pub(super) enum Latest {
    /// There is none.
    Gone,
    /// This one.
    Row(Vec<Value>),
    /// There is one, but some of it was not written and is not in the log.
    Partial,
}

/// One key of a batch.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) pair: PairId,
    pub(super) key: Key,
    pub(super) latest: Latest,
    /// It was deleted on the way: what lay beside the earlier row must not survive.
    deleted: bool,
    pub(super) place: Place,
    pub(super) ours: Option<contraflow_core::side::Direction>,
}

impl Touched {
    /// What happened to the key in all.
    pub(super) fn op(&self) -> Op {
        match (&self.latest, self.deleted) {
            (Latest::Gone, _) => Op::Delete,
            (_, true) => Op::Replace,
            (_, false) => Op::Put,
        }
    }
}

/// A batch under way.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) touched: Vec<Touched>,
    places: HashMap<(PairId, Key), usize>,
    /// Changes taken, each of them.
    pub(super) changes: usize,
    /// Of those that were only looked at, the ones that are no echo.
    pub(super) foreign: u64,
    /// Their size in bytes, about.
    pub(super) bytes: usize,
}

/// Who did a change, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct By {
    pub(super) place: Place,
    pub(super) ours: Option<contraflow_core::side::Direction>,
}

impl Folded {
    /// A row was inserted.
    pub(super) fn insert(&mut self, pair: PairId, key: Key, row: Vec<Value>, by: By) {
        let (touched, met) = self.entry(pair, key, by);
        touched.deleted |= met;
        touched.latest = Latest::Row(row);
    }

    /// A row was written under its key. `None` is a value that is not in the log.
    pub(super) fn update(&mut self, pair: PairId, key: Key, row: Vec<Option<Value>>, by: By) {
        let (touched, _) = self.entry(pair, key, by);
        let earlier = match &touched.latest {
            Latest::Row(row) => Some(row.clone()),
            Latest::Gone | Latest::Partial => None,
        };
        let merged: Option<Vec<Value>> = row
            .into_iter()
            .enumerate()
            .map(|(i, value)| value.or_else(|| earlier.as_ref().map(|row| row[i].clone())))
            .collect();
        touched.latest = merged.map_or(Latest::Partial, Latest::Row);
    }

    /// A row was deleted.
    pub(super) fn delete(&mut self, pair: PairId, key: Key, by: By) {
        let (touched, _) = self.entry(pair, key, by);
        touched.deleted = true;
        touched.latest = Latest::Gone;
    }

    /// The entry of a key, and whether the batch has met it before.
    fn entry(&mut self, pair: PairId, key: Key, by: By) -> (&mut Touched, bool) {
        self.changes += 1;
        let next = self.touched.len();
        let place = *self.places.entry((pair, key.clone())).or_insert(next);
        if place == next {
            self.touched.push(Touched {
                pair,
                key,
                latest: Latest::Gone,
                deleted: false,
                place: by.place,
                ours: by.ours,
            });
        }
        let touched = &mut self.touched[place];
        (touched.place, touched.ours) = (by.place, by.ours);
        (touched, place != next)
    }
}

#[cfg(test)]
mod tests;
