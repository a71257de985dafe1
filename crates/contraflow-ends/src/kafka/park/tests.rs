use std::collections::BTreeMap;

use contraflow_core::code::Code;
use contraflow_core::end::Letter;
use contraflow_core::log::{Envelope, Place};
use contraflow_core::record::{Change, Key, PairId, Record};
use contraflow_core::side::Side;

use super::{At, Turn, sort};

const PAIR: PairId = PairId(0);

fn place(offset: i64) -> Place {
    Place::new(0, Side::Old, offset)
}

fn envelope(offset: i64, key: Option<&str>) -> Key {
    let envelope = Envelope {
        place: place(offset),
        timestamp: 5,
        key: key.map(|key| key.as_bytes().into()),
        headers: Default::default(),
    };
    envelope.into_key()
}

fn record(offset: i64, key: Option<&str>) -> Record {
    Record {
        pair: PAIR,
        key: envelope(offset, key),
        source_key: envelope(offset, key),
        change: Change::Delete,
    }
}

fn letter(offset: i64, key: Option<&str>) -> Letter {
    Letter {
        pair: PAIR,
        source_key: envelope(offset, key),
        code: Code::PAYLOAD_MALFORMED,
        reason: String::new(),
        retry_after: None,
    }
}

fn standing(all: &[(i64, &str)]) -> BTreeMap<At, Key> {
    let at = |(offset, key): &(i64, &str)| ((PAIR, place(*offset)), envelope(*offset, Some(key)));
    all.iter().map(at).collect()
}

/// Offsets that are written, and those that are parked with their code.
fn sorted(
    records: &[Record],
    letters: &[Letter],
    standing: &BTreeMap<At, Key>,
    turn: Turn,
) -> (Vec<i64>, Vec<(i64, u16)>) {
    let sorted = sort(records, letters, standing, turn);
    let offset = |key: &Key| Place::of(key).unwrap().offset;
    let sent = sorted.sent.iter().map(|sent| offset(&sent.source_key));
    let parked = sorted.parked.iter();
    let parked = parked.map(|letter| (offset(&letter.source_key), letter.code.0));
    (sent.collect(), parked.collect())
}

#[test]
fn what_follows_a_letter_of_its_key_waits_and_nothing_else() {
    let records: Vec<Record> = [(0, "a"), (2, "a"), (3, "b"), (4, "a")]
        .map(|(offset, key)| record(offset, Some(key)))
        .into();
    let letters = [letter(1, Some("a"))];
    let found = sorted(&records, &letters, &standing(&[]), Turn::Theirs);
    assert_eq!(found, (vec![0, 3], vec![(1, 501), (2, 213), (4, 213)]));
    // Also in a later batch.
    let found = sorted(&records[1..], &[], &standing(&[(1, "a")]), Turn::Theirs);
    assert_eq!(found, (vec![3], vec![(2, 213), (4, 213)]));
}

#[test]
fn a_record_without_a_key_keeps_nobody_waiting() {
    let records = [record(1, None), record(2, Some("a"))];
    let found = sorted(&records, &[letter(0, None)], &standing(&[]), Turn::Theirs);
    assert_eq!(found, (vec![1, 2], vec![(0, 501)]));
}

#[test]
fn letters_are_carried_again_in_order_and_once() {
    let there = standing(&[(1, "a"), (2, "a"), (3, "b")]);
    let again = [
        record(2, Some("a")),
        record(1, Some("a")),
        record(9, Some("a")),
    ];
    let found = sorted(&again, &[], &there, Turn::Again);
    assert_eq!(found, (vec![1, 2], vec![]));
    // The second of a key does not go before the first.
    let found = sorted(&again[..1], &[], &there, Turn::Again);
    assert_eq!(found, (vec![], vec![(2, 213)]));
    let found = sorted(&again[..1], &[letter(1, Some("a"))], &there, Turn::Again);
    assert_eq!(found, (vec![], vec![(1, 501), (2, 213)]));
}
