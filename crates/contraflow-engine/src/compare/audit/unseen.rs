//! Records of a compacted log that the other one lacks: dropped there, or never carried.
//!
//! Compaction keeps at least the newest record of each key. So a record may be gone when a newer
//! one of its key stands on the side that lacks it; and a record that deletes its key may be gone,
//! some time later, together with everything of its key.

use std::collections::{HashMap, HashSet};

use contraflow_core::log::Place;

/// Keys that wait for a newer record at most, of all partitions together: some 50 MB with all that
/// is made of them.
pub(super) const KEYS_MAX: usize = 1 << 18;

/// So many keys of a partition take no room worth saving.
const FEW: usize = 64;

/// A share of all keys, by their digests: those from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    first: u128,
    last: u128,
}

impl Default for Share {
    fn default() -> Share {
        Share::ALL
    }
}

impl Share {
    /// Every key.
    pub(super) const ALL: Share = Share {
        first: 0,
        last: u128::MAX,
    };

    /// Whether a key is among them.
    pub(super) fn has(&self, key: u128) -> bool {
        (self.first..=self.last).contains(&key)
    }

    /// The first half of them.
    pub(super) fn half(&self) -> Share {
        let last = self.first + (self.last - self.first) / 2;
        Share { last, ..*self }
    }

    /// All that come behind them; `None` when none does.
    pub(super) fn rest(&self) -> Option<Share> {
        let first = self.last.checked_add(1)?;
        Some(Share {
            first,
            ..Share::ALL
        })
    }

    /// These, and those of a share that begins behind them.
    pub(super) fn with(&self, next: Share) -> Share {
        Share {
            last: next.last,
            ..*self
        }
    }
}

/// Newest records of keys that one side has and the other lacks, of one partition.
#[derive(Default)]
pub(super) struct Unseen(HashMap<u128, Dropped>);

/// A record that the other side lacks.
#[derive(Clone, Copy)]
pub(super) struct Dropped {
    pub(super) place: Place,
    /// It has no value: it deletes its key.
    pub(super) deletes: bool,
}

impl Unseen {
    /// The other side lacks a record of this key.
    pub(super) fn miss(&mut self, key: u128, dropped: Dropped) {
        self.0.insert(key, dropped);
    }

    /// The other side has a newer record of this key.
    pub(super) fn overtake(&mut self, key: u128) {
        if self.0.remove(&key).is_some() && self.0.capacity() / 8 > self.0.len().max(FEW) {
            // Partitions are read by turns: each had its many keys at another time.
            self.0.shrink_to(2 * self.0.len());
        }
    }

    /// Records that nothing has overtaken.
    pub(super) fn lost(&self) -> impl Iterator<Item = Place> {
        self.0.values().map(|dropped| dropped.place)
    }

    /// How many keys wait.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Records that wait for one that overtakes them.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Place> {
        let awaited = self.0.values().filter(|dropped| !dropped.deletes);
        awaited.map(|dropped| dropped.place)
    }

    /// Keys whose deletion the other side lacks.
    pub(super) fn deletions(&self) -> HashSet<u128> {
        let deletions = self.0.iter().filter(|(_, dropped)| dropped.deletes);
        deletions.map(|(key, _)| *key).collect()
    }

    /// Forgets deletions that were carried and dropped: nothing of their keys is held on the other
    /// side, but of these.
    pub(super) fn excuse_all_but(&mut self, held: &HashSet<u128>) {
        self.0
            .retain(|key, dropped| !dropped.deletes || held.contains(key));
    }

    /// Forgets all keys but those of a share.
    pub(super) fn keep(&mut self, share: Share) {
        self.0.retain(|key, _| share.has(*key));
        self.0.shrink_to_fit();
    }

    /// Takes over what was found of other keys.
    pub(super) fn adopt(&mut self, others: Unseen) {
        self.0.extend(others.0);
    }
}

#[cfg(test)]
mod tests;
