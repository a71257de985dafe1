use super::{Digest, name, row_digest};
use crate::value::Value;

fn rows() -> Vec<u128> {
    (0..20)
        .map(|n| row_digest(&[Value::Int(n), Value::Text(n.to_string())]))
        .collect()
}

#[test]
fn order_does_not_matter_and_rows_can_leave() {
    let (mut forwards, mut backwards) = (Digest::default(), Digest::default());
    rows().iter().for_each(|row| forwards.add(*row));
    rows().iter().rev().for_each(|row| backwards.add(*row));
    assert_eq!(forwards, backwards);

    let mut halves = (Digest::default(), Digest::default());
    rows()[..7].iter().for_each(|row| halves.0.add(*row));
    rows()[7..].iter().for_each(|row| halves.1.add(*row));
    halves.1.merge(&halves.0);
    assert_eq!(forwards, halves.1);

    rows().iter().for_each(|row| forwards.remove(*row));
    assert_eq!(forwards, Digest::default());
}

#[test]
fn a_row_twice_is_not_no_row() {
    let mut twice = Digest::default();
    twice.add(rows()[0]);
    twice.add(rows()[0]);
    assert_ne!(twice.sum, 0);
    assert_eq!(twice.xor, 0);
    assert_ne!(twice, Digest::default());
}

#[test]
fn field_borders_and_kinds_matter() {
    let text = |text: &str| Value::Text(text.into());
    assert_ne!(
        row_digest(&[text("ab"), text("c")]),
        row_digest(&[text("a"), text("bc")])
    );
    assert_ne!(row_digest(&[Value::Null]), row_digest(&[Value::Absent]));
    assert_ne!(row_digest(&[Value::Int(1)]), row_digest(&[text("1")]));
    assert_eq!(name(b"x").len(), 32);
}
