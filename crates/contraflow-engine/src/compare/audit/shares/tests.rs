//! Two logs in memory that were compacted, and fewer keys that may wait than do.

use contraflow_core::log::Place;
use contraflow_core::side::Side;

use super::super::two::Two;
use super::super::{Comparison, Kind, Share};

/// Keys that may wait: more than one look hands out.
const ROOM: usize = 10;
/// Keys that do.
const KEYS: i64 = 100;

type Written = (i64, i64, Option<i64>);

fn both(old: &[Written], new: &[Written]) -> Two {
    let mut two = Two::new(true);
    two.audit.room = ROOM;
    write(&two, old, new);
    two
}

fn write(two: &Two, old: &[Written], new: &[Written]) {
    let [old_log, new_log] = &two.logs;
    old.iter().for_each(|one| old_log.write(Side::Old, 0, *one));
    new.iter().for_each(|one| new_log.write(Side::New, 0, *one));
}

/// The first records of all keys, then the second ones, with what comes behind all.
fn twice(second: impl Fn(i64) -> Option<i64>) -> [Vec<Written>; 2] {
    let first = (0..KEYS).map(|key| (key, key, Some(1)));
    let second = (0..KEYS).map(|key| (KEYS + key, key, second(key)));
    let last = [(2 * KEYS, KEYS, Some(3))];
    [first.collect(), second.chain(last).collect()]
}

fn missing(found: &Comparison) -> Vec<i64> {
    let each = found.findings.iter().map(|finding| {
        assert_eq!(finding.kind, Kind::Missing);
        Place::of(&finding.key).expect("a place").offset
    });
    let mut all: Vec<i64> = each.collect();
    all.sort_unstable();
    all
}

#[test]
fn what_newer_records_overtook_is_told_of_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| Some(2));
    let mut two = both(&[first, second.clone()].concat(), &second);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (101, true), "{found:?}");
    // Each look tells no more keys than there is room for.
    assert!(looks >= usize::try_from(KEYS).unwrap() / ROOM, "{looks}");
    assert_eq!(two.audit.share, Share::ALL);
    // From there it goes on with what is new.
    write(
        &two,
        &[(201, 7, Some(4)), (202, 8, Some(4))],
        &[(202, 8, Some(4))],
    );
    let (found, looks) = two.compare();
    assert_eq!((missing(&found), looks), (vec![201], 0));
    assert_eq!((found.compared, found.unproven), (102, 0));
}

#[test]
fn what_is_lost_is_found_among_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| Some(2));
    let mut there = second.clone();
    let lost = there.remove(42);
    let mut two = both(&[first, second].concat(), &there);
    let (found, _) = two.compare();
    assert_eq!((missing(&found), found.unproven), (vec![lost.0], 0));
}

#[test]
fn deletions_that_were_dropped_are_told_of_more_keys_than_there_is_room_for() {
    let [first, second] = twice(|_| None);
    let last = second[second.len() - 1];
    let old = [first.clone(), second].concat();
    let mut two = both(&old, &[last]);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (1, true), "{found:?}");
    assert!(looks > 1, "{looks}");
    // One of them has deleted nothing there.
    let mut two = both(&old, &[first[42], last]);
    let (found, _) = two.compare();
    assert_eq!((missing(&found), found.unproven), (vec![142], 0));
}

/// The old log has dropped keys whole of which the new one still has the deletion.
#[test]
fn deletions_that_the_old_log_dropped_are_told_of_more_keys_than_there_is_room_for() {
    let [_, second] = twice(|_| None);
    let last = second[second.len() - 1];
    let mut two = both(&[last], &second);
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (1, true), "{found:?}");
    assert!(looks > 1, "{looks}");
}

/// So many are lost that nobody needs to know which: it is not said to be whole.
#[test]
fn more_lost_keys_than_there_is_room_for_are_not_proven() {
    let [first, second] = twice(|_| Some(2));
    let last = second[second.len() - 1];
    let mut two = both(&[first, second].concat(), &[last]);
    for _ in 0..2 {
        let (found, _) = two.compare();
        assert!(found.unproven > 0 && found.diverged > 0, "{found:?}");
        assert!(two.audit.waiting_keys() <= ROOM);
    }
}
