use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, Op, Origin, PairId};
use contraflow_core::value::Value;

use super::{KEYS_MAX, Windows};

const PAIR: PairId = PairId(0);

fn at(place: u8) -> Position {
    Position::new([place])
}

fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

fn event(id: i64, place: u8) -> Event {
    Event {
        pair: PAIR,
        key: key(id),
        op: Op::Delete,
        image: None,
        position: at(place),
        origin: Origin::Application,
    }
}

#[test]
fn touches_are_kept_from_the_opening_to_the_closing_of_a_window() {
    let windows = Windows::new(at(0));
    windows.receive(&[event(1, 1)], &at(1));
    let first = windows.open();
    assert!(!windows.touched(&first, PAIR, &key(1)));
    assert_eq!(first.received, at(1));
    windows.receive(&[event(2, 2)], &at(2));
    let second = windows.open_with_keys();
    windows.receive(&[event(3, 3)], &at(3));
    assert!(windows.touched(&first, PAIR, &key(2)));
    assert_eq!(windows.last_touch(PAIR, &key(2)), Some(at(2)));
    assert!(!windows.touched(&first, PairId(1), &key(2)));
    assert!(!windows.touched(&second, PAIR, &key(2)));
    assert_eq!(windows.touched_since(&second), Some(vec![(PAIR, key(3))]));
    assert_eq!(windows.touched_since(&first), None, "it asked for no keys");
    windows.close(&first);
    assert_eq!(windows.last_touch(PAIR, &key(2)), None);
    assert_eq!(windows.last_touch(PAIR, &key(3)), Some(at(3)));
    assert!(windows.touched(&second, PAIR, &key(3)));
    windows.close(&second);
    let third = windows.open_with_keys();
    assert!(!windows.touched(&third, PAIR, &key(3)));
    assert_eq!(windows.touched_since(&third), Some(Vec::new()));
}

#[test]
fn a_key_touched_twice_is_kept_for_the_later_window() {
    let windows = Windows::new(at(0));
    let first = windows.open_with_keys();
    windows.receive(&[event(1, 1)], &at(1));
    let second = windows.open_with_keys();
    windows.receive(&[event(1, 2)], &at(2));
    windows.close(&first);
    assert!(windows.touched(&second, PAIR, &key(1)));
    assert_eq!(windows.touched_since(&second), Some(vec![(PAIR, key(1))]));
    windows.close(&second);
}

/// One transaction of a million rows kept two clones of a million keys, 399 MB.
#[test]
fn more_keys_than_are_kept_overflow_the_window_and_not_the_memory() {
    let windows = Windows::new(at(0));
    let early = windows.open_with_keys();
    let many = i64::try_from(KEYS_MAX).unwrap() + 1;
    for first in (0..many).step_by(1_000) {
        let batch: Vec<Event> = (first..first + 1_000).map(|id| event(id, 1)).collect();
        windows.receive(&batch, &at(1));
    }
    assert!(windows.lock().keys.is_empty());
    assert_eq!(windows.touched_since(&early), None);
    assert!(windows.touched(&early, PAIR, &key(many - 1)));
    assert!(!windows.touched(&early, PAIR, &key(many + 1_000)));
    let late = windows.open_with_keys();
    windows.receive(&[event(7, 2)], &at(2));
    assert_eq!(windows.touched_since(&late), Some(vec![(PAIR, key(7))]));
    assert_eq!(windows.touched_since(&early), None);
    windows.close(&early);
    windows.close(&late);
    let state = windows.lock();
    assert!(state.touched.iter().all(|shard| shard.touched.is_empty()));
}
