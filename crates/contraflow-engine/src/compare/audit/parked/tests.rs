//! Two logs in memory, and letters that are seen later than what their transactions wrote.

use contraflow_core::side::Side;

use super::super::Kind;
use super::super::two::Two;

/// The mirror lacks the second of three records; what its letter stands for is told as that.
fn lacks_one(compacts: bool) -> Two {
    let two = Two::new(compacts);
    for offset in 0..3 {
        let record = (offset, offset, Some(7));
        two.logs[0].write(Side::Old, 0, record);
        if offset != 1 {
            two.logs[1].write(Side::New, 0, record);
        }
    }
    two
}

#[test]
fn a_letter_that_is_seen_late_is_no_lost_record() {
    for compacts in [false, true] {
        let mut two = lacks_one(compacts);
        two.logs[1].park(1, 5);
        let (found, _) = two.compare();
        assert_eq!((found.compared, found.is_clean()), (2, true), "{found:?}");
        // What a compacted log lacks is told by its key: there is one more, or a letter.
        assert_eq!(found.parked, u64::from(!compacts));
    }
}

#[test]
fn a_record_without_a_letter_is_lost() {
    for compacts in [false, true] {
        let (found, _) = lacks_one(compacts).compare();
        let kinds: Vec<_> = found.findings.iter().map(|one| &one.kind).collect();
        assert_eq!(kinds, [&Kind::Missing]);
    }
}
