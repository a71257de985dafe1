use contraflow_core::position::Position;
use contraflow_core::record::{Event, Key, Op, Origin, PairId};
use contraflow_core::value::Value;

use super::Windows;

fn at(place: u8) -> Position {
    Position::new([place])
}

fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

fn event(id: i64, place: u8) -> Event {
    Event {
        pair: PairId(0),
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
    assert_eq!(windows.touched(PairId(0), &key(1)), None);
    let first = windows.open();
    assert_eq!(first.received, at(1));
    windows.receive(&[event(2, 2)], &at(2));
    let second = windows.open();
    windows.receive(&[event(3, 3)], &at(3));
    assert_eq!(windows.touched(PairId(0), &key(2)), Some(at(2)));
    assert_eq!(windows.touched_since(&second), vec![(PairId(0), key(3))]);
    windows.close(&first);
    assert_eq!(windows.touched(PairId(0), &key(2)), None);
    assert_eq!(windows.touched(PairId(0), &key(3)), Some(at(3)));
    windows.close(&second);
    assert_eq!(windows.touched(PairId(0), &key(3)), None);
}

#[test]
fn a_key_touched_twice_is_kept_for_the_later_window() {
    let windows = Windows::new(at(0));
    let first = windows.open();
    windows.receive(&[event(1, 1)], &at(1));
    let second = windows.open();
    windows.receive(&[event(1, 2)], &at(2));
    windows.close(&first);
    assert_eq!(windows.touched(PairId(0), &key(1)), Some(at(2)));
    windows.close(&second);
}
