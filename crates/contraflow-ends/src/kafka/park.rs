//! What of a batch is written, and what waits: letters, and whatever lies behind one of its key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contraflow_core::code::Code;
use contraflow_core::end::Letter;
use contraflow_core::log::{Place, key_of};
use contraflow_core::record::{Key, PairId, Record};

/// A record by where it was written first.
pub(super) type At = (PairId, Place);

/// A batch, sorted.
#[derive(Default)]
pub(super) struct Sorted<'r> {
    /// Records to be written, in the order of each partition.
    pub(super) sent: Vec<&'r Record>,
    /// Letters to be kept, new ones and those that were tried in vain.
    pub(super) parked: Vec<Letter>,
}

/// Whether records come in their turn, or are letters that are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Theirs,
    Again,
}

/// Letters that stand, by the key that they block.
struct Blocked(HashMap<(PairId, i32, Vec<u8>), BTreeSet<Place>>);

impl Blocked {
    fn block(&mut self, pair: PairId, place: Place, envelope: &Key) {
        // A record without a key keeps nobody waiting.
        if let Some(key) = key_of(&envelope.0) {
            let places = self.0.entry((pair, place.partition, key.to_vec()));
            places.or_default().insert(place);
        }
    }

    /// Whether a record of the same key stands before this one.
    fn blocks(&self, pair: PairId, place: Place, envelope: &Key) -> bool {
        let Some(key) = key_of(&envelope.0) else {
            return false;
        };
        let places = self.0.get(&(pair, place.partition, key.to_vec()));
        places.is_some_and(|places| places.range(..place).next().is_some())
    }

    fn free(&mut self, pair: PairId, place: Place, envelope: &Key) {
        if let Some(key) = key_of(&envelope.0)
            && let Some(places) = self.0.get_mut(&(pair, place.partition, key.to_vec()))
        {
            places.remove(&place);
        }
    }
}

/// Sorts a batch, given the keys of the letters that stand.
pub(super) fn sort<'r>(
    records: &'r [Record],
    letters: &[Letter],
    standing: &BTreeMap<At, Key>,
    turn: Turn,
) -> Sorted<'r> {
    let mut sorted = Sorted::default();
    if letters.is_empty() && standing.is_empty() && turn == Turn::Theirs {
        sorted.sent = records.iter().collect();
        return sorted;
    }
    let mut blocked = Blocked(HashMap::new());
    for ((pair, place), key) in standing {
        blocked.block(*pair, *place, key);
    }
    let mut all: BTreeMap<At, std::result::Result<&Record, &Letter>> = BTreeMap::new();
    let at = |pair: PairId, key: &Key| Place::of(key).map(|place| (pair, place));
    for record in records {
        all.extend(at(record.pair, &record.source_key).map(|at| (at, Ok(record))));
    }
    for letter in letters {
        all.extend(at(letter.pair, &letter.source_key).map(|at| (at, Err(letter))));
    }
    for ((pair, place), one) in all {
        // A letter that was carried meanwhile must not be carried twice.
        if turn == Turn::Again && !standing.contains_key(&(pair, place)) {
            continue;
        }
        match one {
            Ok(record) if !blocked.blocks(pair, place, &record.source_key) => {
                blocked.free(pair, place, &record.source_key);
                sorted.sent.push(record);
            }
            Ok(record) => {
                blocked.block(pair, place, &record.source_key);
                sorted.parked.push(Letter {
                    pair,
                    source_key: record.source_key.clone(),
                    code: Code::KEY_BLOCKED,
                    reason: "it waits behind a letter of its key".to_owned(),
                    retry_after: None,
                });
            }
            Err(letter) => {
                blocked.block(pair, place, &letter.source_key);
                sorted.parked.push(letter.clone());
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests;
