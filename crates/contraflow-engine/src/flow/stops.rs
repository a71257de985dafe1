//! Partitions of a log that have stopped at a record which cannot be carried.
//!
//! The feed goes on, for it is one; what it brings of a stopped partition is left, and the
//! checkpoint stays before the record. So whoever starts anew reads it again from there.

use std::collections::BTreeMap;

use contraflow_core::code::Code;
use contraflow_core::end::{End, Letter};
use contraflow_core::log::Place;
use contraflow_core::position::Position;
use contraflow_core::record::{PairId, Record};
use serde::{Deserialize, Serialize};

/// A partition that has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The log.
    pub log: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// Why it cannot be carried, as a code.
    pub code: u16,
    /// The same in words.
    pub reason: String,
}

impl Stopped {
    /// As a line.
    #[must_use]
    pub fn line(&self) -> String {
        let Stopped {
            log,
            partition,
            offset,
            code,
            reason,
        } = self;
        let code = Code(*code);
        format!("partition {partition} of `{log}` stopped at record {offset}: {code} {reason}")
    }
}

/// All of a flow, by pair and partition.
#[derive(Debug, Default)]
pub(super) struct Stops {
    at: BTreeMap<(PairId, i32), (Place, Stopped)>,
    /// Records that were left since.
    left: u64,
}

impl Stops {
    /// Stops at these, where nothing before them has stopped the partition already. Leaves what
    /// lies behind.
    pub(super) fn stop(
        &mut self,
        letters: Vec<Letter>,
        records: &mut Vec<Record>,
        name: impl Fn(PairId) -> String,
    ) {
        for letter in letters {
            let Some(place) = Place::of(&letter.source_key) else {
                continue;
            };
            let at = (letter.pair, place.partition);
            if self.at.get(&at).is_some_and(|(first, _)| *first <= place) {
                self.left += 1;
                continue;
            }
            let stopped = Stopped {
                log: name(letter.pair),
                partition: place.partition,
                offset: place.offset,
                code: letter.code.0,
                reason: letter.reason,
            };
            self.at.insert(at, (place, stopped));
            self.left += 1;
        }
        if self.at.is_empty() {
            return;
        }
        let before = records.len();
        records.retain(|record| {
            let place = Place::of(&record.source_key);
            place.is_none_or(|place| {
                let stop = self.at.get(&(record.pair, place.partition));
                stop.is_none_or(|(first, _)| place < *first)
            })
        });
        self.left += (before - records.len()) as u64;
    }

    /// Everything up to a position that can have been carried.
    pub(super) fn short_of(&self, end: &dyn End, at: Position) -> Position {
        let stops = self.at.iter();
        stops.fold(at, |at, ((pair, _), (place, _))| {
            end.short_of(&at, *pair, *place)
        })
    }

    /// Records that were left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// All.
    pub(super) fn all(&self) -> Vec<Stopped> {
        self.at
            .values()
            .map(|(_, stopped)| stopped.clone())
            .collect()
    }
}
