use contraflow_core::log::Place;
use contraflow_core::record::PairId;
use contraflow_core::side::{Direction, Side};

use super::{Comparison, Entry, Kind, Lane};

/// A record of the old log, and what its copy is.
fn entry(offset: i64, digest: Option<u128>) -> Entry {
    Entry {
        place: Place::new(0, Side::Old, offset),
        digest,
        key: None,
        deletes: false,
    }
}

/// What is found when the old log has these records and the new one those.
fn found(old: &[(i64, u128)], new: &[(i64, u128)], forgetful: [bool; 2]) -> Comparison {
    let mut lane = Lane {
        forgetful,
        ..Lane::default()
    };
    let mut result = Comparison::default();
    for (side, all) in [(Side::Old, old), (Side::New, new)] {
        for (offset, digest) in all {
            let entry = entry(*offset, Some(*digest));
            lane.take(PairId(0), side, entry, &mut result);
            lane.settle(PairId(0), Direction::Forward, &mut result);
        }
    }
    judged(&lane, &[], &mut result);
    result
}

/// Judges what has no counterpart, when these are letters.
fn judged(lane: &Lane, letters: &[i64], result: &mut Comparison) {
    let stands = |_, at: Place| letters.contains(&at.offset);
    let owed = |_| true;
    let judge = (&stands, &owed);
    lane.unmatched.judge(PairId(0), Side::Old, judge, result);
}

fn kinds(result: &Comparison) -> Vec<(i64, Kind)> {
    let of = |finding: &super::Finding| {
        let place = Place::of(&finding.key).expect("a place");
        (place.offset, finding.kind.clone())
    };
    result.findings.iter().map(of).collect()
}

const KEEPS: [bool; 2] = [false, false];

#[test]
fn the_same_records_are_clean() {
    let result = found(&[(0, 1), (2, 1), (9, 3)], &[(0, 1), (2, 1), (9, 3)], KEEPS);
    assert_eq!((result.compared, result.is_clean()), (3, true));
}

#[test]
fn what_is_lost_doubled_changed_or_out_of_order_is_found() {
    let old = [(0, 1), (1, 2), (2, 3)];
    let lost = found(&old, &[(0, 1), (2, 3)], KEEPS);
    assert_eq!(kinds(&lost), [(1, Kind::Missing)]);
    let doubled = found(&old, &[(0, 1), (1, 2), (1, 2), (2, 3)], KEEPS);
    assert_eq!(kinds(&doubled), [(1, Kind::Extra)]);
    let changed = found(&old, &[(0, 1), (1, 9), (2, 3)], KEEPS);
    assert_eq!(kinds(&changed), [(1, Kind::Different(Vec::new()))]);
    let reordered = found(&old, &[(1, 2), (0, 1), (2, 3)], KEEPS);
    assert_eq!(kinds(&reordered), [(0, Kind::Extra), (0, Kind::Missing)]);
}

#[test]
fn what_a_log_has_forgotten_may_be_missing_at_its_beginning_only() {
    let old = [(0, 1), (1, 2), (2, 3)];
    let new = [(1, 2), (2, 3)];
    assert_eq!(kinds(&found(&old, &new, KEEPS)), [(0, Kind::Missing)]);
    assert!(found(&old, &new, [false, true]).is_clean());
    assert!(found(&new, &old, [true, false]).is_clean());
    let gap = found(&old, &[(0, 1), (2, 3)], [true, true]);
    assert_eq!(kinds(&gap), [(1, Kind::Missing)]);
    // Twice in a log is once too often, also of what the other one has forgotten.
    let doubled = [(0, 1), (0, 1), (1, 2), (2, 3)];
    let doubled = found(&new, &doubled, [true, false]);
    assert_eq!(kinds(&doubled), [(0, Kind::Extra)]);
}

#[test]
fn what_does_not_map_is_found() {
    let mut lane = Lane::default();
    let mut result = Comparison::default();
    lane.take(PairId(0), Side::Old, entry(4, None), &mut result);
    lane.take(PairId(0), Side::New, entry(4, Some(1)), &mut result);
    lane.settle(PairId(0), Direction::Forward, &mut result);
    assert_eq!((result.compared, result.diverged), (1, 1));
}

/// What is missing of the old log's records at offsets with keys, when the new one has those and
/// both are compacted. A key below zero is deleted.
fn dropped(old: &[(i64, i8)], new: &[(i64, i8)]) -> (Vec<i64>, usize) {
    let mut lane = Lane {
        compacts: [true, true],
        ..Lane::default()
    };
    let mut result = Comparison::default();
    for (side, all) in [(Side::Old, old), (Side::New, new)] {
        for (offset, key) in all {
            let entry = Entry {
                key: Some(key.unsigned_abs().into()),
                deletes: *key < 0,
                ..entry(*offset, Some(1))
            };
            lane.take(PairId(0), side, entry, &mut result);
            lane.settle(PairId(0), Direction::Forward, &mut result);
        }
    }
    assert!(result.is_clean());
    let deletions = lane.unseen.iter().map(|unseen| unseen.deletions().len());
    let deletions = deletions.sum();
    let waits = |unseen: &super::Unseen| -> Vec<i64> {
        let mut lost: Vec<_> = unseen.lost().map(|place| place.offset).collect();
        lost.sort_unstable();
        lost
    };
    (lane.unseen.iter().flat_map(waits).collect(), deletions)
}

#[test]
fn a_compacted_log_may_lack_what_a_newer_record_overtook() {
    let all = [(0, 1), (1, 2), (2, 1), (3, 3), (4, 1), (5, 9)];
    assert!(
        dropped(&all, &[(1, 2), (3, 3), (4, 1), (5, 9)])
            .0
            .is_empty()
    );
    assert!(
        dropped(&[(1, 2), (3, 3), (4, 1), (5, 9)], &all)
            .0
            .is_empty()
    );
    // Each of them has dropped what the other one has.
    let (ours, theirs) = ([(0, 1), (2, 1), (5, 9)], [(0, 1), (1, 1), (2, 1), (5, 9)]);
    assert!(dropped(&ours, &theirs).0.is_empty());
    // The newest of its key is lost, whatever older ones there are.
    let lost = [(0, 1), (1, 2), (2, 1), (4, 1), (5, 9)];
    assert_eq!(dropped(&all, &lost).0, [3]);
    let newest = [(0, 1), (1, 2), (3, 3), (5, 9)];
    assert_eq!(dropped(&all, &newest).0, [4]);
}

#[test]
fn a_deletion_that_is_not_there_is_looked_for() {
    let all = [(0, 1), (1, -1), (2, 9)];
    assert_eq!(dropped(&all, &[(2, 9)]), (vec![1], 1));
    assert_eq!(dropped(&all, &[(0, 1), (2, 9)]), (vec![1], 1));
    assert_eq!(dropped(&all, &[(1, -1), (2, 9)]), (vec![], 0));
}

#[test]
fn a_deletion_is_lost_where_its_key_is_held() {
    let mut unseen = super::Unseen::default();
    for (offset, key) in [(3, 30), (4, 40)] {
        let place = Place::new(0, Side::Old, offset);
        unseen.miss(
            key,
            super::Dropped {
                place,
                deletes: true,
            },
        );
    }
    unseen.excuse_all_but(&[40].into());
    let lost: Vec<_> = unseen.lost().map(|place| place.offset).collect();
    assert_eq!(lost, [4]);
}

/// A record that is a letter is neither missing nor lost; one that was stands out of its turn.
#[test]
fn letters_are_counted_and_found_where_they_were_carried() {
    let mut lane = Lane::default();
    let mut result = Comparison::default();
    for (side, all) in [(Side::Old, [0, 1, 2, 3].as_slice()), (Side::New, &[0, 3])] {
        for offset in all {
            lane.take(PairId(0), side, entry(*offset, Some(7)), &mut result);
            lane.settle(PairId(0), Direction::Forward, &mut result);
        }
    }
    let judge = |lane: &Lane, letters: &[i64]| {
        let mut result = result.clone();
        judged(lane, letters, &mut result);
        result
    };
    let both = judge(&lane, &[1, 2]);
    assert_eq!((both.parked, both.compared, both.is_clean()), (2, 2, true));
    let one = judge(&lane, &[2]);
    assert_eq!(kinds(&one), [(1, Kind::Missing)]);
    let at = |offset| Place::new(0, Side::Old, offset);
    lane.unmatched.replayed(Side::New, at(1), Some(7));
    let carried = judge(&lane, &[2]);
    assert_eq!(
        (carried.parked, carried.compared, carried.is_clean()),
        (1, 3, true)
    );
    lane.unmatched.replayed(Side::New, at(2), Some(8));
    assert_eq!(
        kinds(&judge(&lane, &[])),
        [(2, Kind::Different(Vec::new()))]
    );
    // What is carried again and was never a letter is one too many.
    lane.unmatched.replayed(Side::New, at(3), Some(7));
    assert!(kinds(&judge(&lane, &[2])).contains(&(3, Kind::Extra)));
}
