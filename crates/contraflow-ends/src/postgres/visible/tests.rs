//! What a snapshot shows, on both sides of the 32-bit circle.

use super::*;

#[test]
fn a_snapshot_shows_what_has_ended() {
    let snapshot = Snapshot::parse("10:20:10,15").unwrap();
    let shown: Vec<u32> = (8..22).filter(|xid| snapshot.shows(*xid)).collect();
    assert_eq!(shown, [8, 9, 11, 12, 13, 14, 16, 17, 18, 19]);
    let none_running = Snapshot::parse("10:10:").unwrap();
    assert!(none_running.shows(9) && !none_running.shows(10));
    assert!(Snapshot::parse("10:").is_none());
}

#[test]
fn numbers_of_32_bits_are_widened_across_the_wrap() {
    const ROUND: u64 = 1 << 32;
    let before = Snapshot::parse(&format!("{0}:{0}:", 3 * ROUND - 5)).unwrap();
    assert!(before.shows(u32::MAX - 10));
    assert!(!before.shows(u32::MAX - 2));
    assert!(!before.shows(3), "that one has not begun");
    let after = Snapshot::parse(&format!("{0}:{0}:", 3 * ROUND + 5)).unwrap();
    assert!(after.shows(u32::MAX - 2));
    assert!(after.shows(4));
    assert!(!after.shows(7));
}

#[test]
fn what_a_snapshot_shows_is_proven() {
    let unproven = Unproven::default();
    unproven.receive(100, 7);
    unproven.receive(200, 12);
    unproven.prune(&Snapshot::parse("10:20:12").unwrap());
    assert_eq!(unproven.oldest(), Some(200));
    unproven.prune(&Snapshot::parse("20:20:").unwrap());
    assert_eq!(unproven.oldest(), None);
}
