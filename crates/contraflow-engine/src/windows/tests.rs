use std::sync::Arc;

use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, Op, Origin, PairId};
use contraflow_core::value::Value;

use super::Windows;

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
    let second = windows.open();
    windows.receive(&[event(3, 3)], &at(3));
    assert!(windows.touched(&first, PAIR, &key(2)));
    assert_eq!(windows.last_touch(PAIR, &key(2)), Some(at(2)));
    assert!(!windows.touched(&first, PairId(1), &key(2)));
    assert!(!windows.touched(&second, PAIR, &key(2)));
    windows.close(&first);
    assert_eq!(windows.last_touch(PAIR, &key(2)), None);
    assert_eq!(windows.last_touch(PAIR, &key(3)), Some(at(3)));
    assert!(windows.touched(&second, PAIR, &key(3)));
    windows.close(&second);
    let third = windows.open();
    assert!(!windows.touched(&third, PAIR, &key(3)));
}

#[test]
fn a_key_touched_twice_is_kept_for_the_later_window() {
    let windows = Windows::new(at(0));
    let first = windows.open();
    windows.receive(&[event(1, 1)], &at(1));
    let second = windows.open();
    windows.receive(&[event(1, 2)], &at(2));
    windows.close(&first);
    assert!(windows.touched(&second, PAIR, &key(1)));
    windows.close(&second);
}

#[test]
fn a_key_waits_once_from_each_touch_until_it_is_taken() {
    let windows = Arc::new(Windows::new(at(0)));
    windows.receive(&[event(1, 1)], &at(1));
    let touched = windows.keep();
    assert_eq!(touched.waiting(), Some(0));
    windows.receive(&[event(2, 2), event(3, 2)], &at(2));
    windows.receive(&[event(2, 3)], &at(3));
    assert_eq!(touched.waiting(), Some(2));
    assert!(touched.waits(PAIR, &key(2)) && !touched.waits(PAIR, &key(1)));
    let mut taken = touched.take().unwrap().remove(&PAIR).unwrap();
    taken.sort_by_key(|key| *key != self::key(2));
    assert!(taken == [key(2), key(3)]);
    assert!(touched.take().unwrap().is_empty());
    windows.receive(&[event(3, 4)], &at(4));
    assert!(touched.waits(PAIR, &key(3)));
    drop(touched);
    assert!(windows.lock().kept.is_empty());
}

/// One transaction of a million rows kept two clones of a million keys, 399 MB.
#[test]
fn more_keys_than_may_wait_are_forgotten_until_it_is_begun_anew() {
    let windows = Arc::new(Windows::new(at(0)));
    let touched = windows.keep();
    let long = |id: i64| Event {
        key: Key(vec![Value::Int(id), Value::Text("x".repeat(1 << 20))]),
        ..event(id, 1)
    };
    for id in 0..31 {
        windows.receive(&[long(id)], &at(1));
        assert!(touched.waits(PAIR, &long(id).key), "{id}");
    }
    windows.receive(&[long(31), long(32), event(1, 1)], &at(1));
    assert!((0..33).all(|id| !touched.waits(PAIR, &long(id).key)));
    assert_eq!(touched.waiting(), None);
    assert!(touched.take().is_none() && touched.take().is_none());
    let later = windows.keep();
    touched.begin();
    windows.receive(&[event(7, 2)], &at(2));
    for touched in [touched, later] {
        assert!(touched.waits(PAIR, &key(7)));
        assert_eq!(touched.waiting(), Some(1));
    }
}
