use contraflow_core::log::Place;
use contraflow_core::side::Side;

use super::{Dropped, FEW, Unseen};

/// Partitions are read by turns, and each has its many keys at another time: what one held at most
/// must not stay with it.
#[test]
fn keys_that_were_overtaken_take_no_room() {
    let mut unseen = Unseen::default();
    for key in 0..100_000 {
        let place = Place::new(0, Side::Old, key);
        let dropped = Dropped {
            place,
            deletes: false,
        };
        unseen.miss(key.unsigned_abs().into(), dropped);
    }
    for key in 0..99_999 {
        unseen.overtake(key);
    }
    assert_eq!(unseen.count(), 1);
    assert!(unseen.0.capacity() <= 16 * FEW, "{}", unseen.0.capacity());
    let lost: Vec<_> = unseen.lost().map(|place| place.offset).collect();
    assert_eq!(lost, [99_999]);
}
