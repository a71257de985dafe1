//! Two logs in memory that hand out their partitions in another order each.

use contraflow_core::log::Place;
use contraflow_core::side::Side;

use super::super::Kind;
use super::super::two::Two;

/// Records of each partition, and how many may wait.
const RECORDS: i64 = 100;
const AHEAD: usize = 40;

/// One log has all of one partition first, the other one all of the other.
fn crossed() -> Two {
    let mut two = Two::new(false);
    two.audit.ahead_max = AHEAD;
    for (side, partitions) in [(Side::Old, [0, 1]), (Side::New, [1, 0])] {
        let log = &two.logs[super::place(side)];
        for partition in partitions {
            (0..RECORDS).for_each(|at| log.write(side, partition, (at, at, Some(at))));
        }
    }
    two
}

#[test]
fn what_waits_does_not_grow_with_the_logs() {
    let mut two = crossed();
    let (found, looks) = two.compare();
    assert_eq!((found.compared, found.is_clean()), (200, true), "{found:?}");
    assert!(looks > 2, "{looks}");
    // A few more are handed out before it is noticed.
    assert!(two.lead() <= AHEAD + 14, "{}", two.lead());
    let room = two.audit.lanes.values().flat_map(|lane| &lane.waiting);
    let room: usize = room.map(std::collections::VecDeque::capacity).sum();
    assert!(room < 3 * AHEAD, "{room}");
    // From there it goes on with what is new.
    two.logs[0].write(Side::Old, 1, (RECORDS, 1, Some(1)));
    let (found, _) = two.compare();
    assert_eq!((found.compared, found.diverged), (200, 1), "{found:?}");
}

#[test]
fn what_lacks_is_found_however_much_waits_for_it() {
    let mut two = Two::new(false);
    two.audit.ahead_max = AHEAD;
    for partition in [0, 1] {
        let written = |at| (at, at, Some(at));
        (0..RECORDS).for_each(|at| two.logs[0].write(Side::Old, partition, written(at)));
        // The mirror ends in the middle, and lacks one.
        let there = (0..RECORDS / 2).filter(|at| *at != 7);
        there.for_each(|at| two.logs[1].write(Side::New, partition, written(at)));
    }
    let (found, _) = two.compare();
    assert_eq!(found.compared, 98, "{found:?}");
    let first = &found.findings[0];
    let at = Place::of(&first.key).expect("a place");
    assert_eq!((at.offset, &first.kind), (7, &Kind::Missing));
}
