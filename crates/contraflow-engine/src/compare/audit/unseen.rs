//! Records of a compacted log that the other one lacks: dropped there, or never carried.
//!
//! Compaction keeps at least the newest record of each key. So a record may be gone when a newer
//! one of its key stands on the side that lacks it; and a record that deletes its key may be gone,
//! some time later, together with everything of its key.

use std::collections::{HashMap, HashSet};

use contraflow_core::log::Place;

/// Keys that wait for a newer record at most; more cannot be told from lost ones.
const KEYS_MAX: usize = 1 << 20;

/// Newest records of keys that one side has and the other lacks, of one partition.
#[derive(Default)]
pub(super) struct Unseen {
    by_key: HashMap<u128, Dropped>,
    /// How many found no room.
    untold: u64,
}

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
        if self.by_key.len() >= KEYS_MAX && !self.by_key.contains_key(&key) {
            self.untold += 1;
            return;
        }
        self.by_key.insert(key, dropped);
    }

    /// The other side has a newer record of this key.
    pub(super) fn overtake(&mut self, key: u128) {
        self.by_key.remove(&key);
    }

    /// Records that nothing has overtaken.
    pub(super) fn lost(&self) -> impl Iterator<Item = Place> {
        self.by_key.values().map(|dropped| dropped.place)
    }

    /// Whether records wait for one that overtakes them.
    pub(super) fn waits(&self) -> bool {
        self.by_key.values().any(|dropped| !dropped.deletes)
    }

    /// Keys whose deletion the other side lacks.
    pub(super) fn deletions(&self) -> HashSet<u128> {
        let deletions = self.by_key.iter().filter(|(_, dropped)| dropped.deletes);
        deletions.map(|(key, _)| *key).collect()
    }

    /// Forgets deletions that were carried and dropped: nothing of their keys is held on the other
    /// side, but of these.
    pub(super) fn excuse_all_but(&mut self, held: &HashSet<u128>) {
        self.by_key
            .retain(|key, dropped| !dropped.deletes || held.contains(key));
    }

    /// Records that cannot be told from lost ones.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }
}
