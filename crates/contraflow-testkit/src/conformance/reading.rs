//! What scans and lookups promise.

use contraflow_core::digest::Digest;
use contraflow_core::end::{Most, Scan, Span};
use contraflow_core::position::Position;
use contraflow_core::record::{Key, Row};
use contraflow_core::side::Side;

use super::{Check, Fixture, PAIR, Trial, Write, drained, key, row};

pub(super) const CHECKS: &[Check] = &[
    ("ranges_tile_the_keys", tile),
    ("ranges_of_an_empty_table_end_at_once", empty),
    ("a_range_that_is_too_large_says_where_it_was_cut", cut),
    ("digests_tile_the_keys_and_tell_rows_apart", digests),
    ("a_read_shows_everything_received", shows_received),
    ("a_read_shows_nothing_after_until", nothing_after_until),
    ("a_lookup_leaves_out_what_is_not_there", lookup),
    ("a_lookup_shows_everything_received", lookup_received),
];

/// Keys that sort in surprising places.
const TEXTS: &[&str] = &[
    "", " ", "'", "\"", "A", "a", "aa", "Z", "z", "é", "日", "%", "0", "00",
];

/// More than any table here has.
pub(super) const WHOLE: Most = Most {
    rows: 1_000,
    bytes: 1 << 20,
};

fn nowhere() -> Position {
    Position::new([])
}

/// Walks the whole table and says what the ranges hold, and how many there are.
fn walk(scan: &mut dyn Scan, rows: u64, bytes: u64, at: &Position) -> (Vec<(Key, Row)>, u64) {
    let (mut found, mut span, mut ranges) = (Vec::new(), Span::whole(PAIR), 0);
    let most = Most { rows, bytes };
    loop {
        let chunk = scan.read(&span, most, at).expect("a chunk");
        assert!(
            chunk.rows.len() as u64 <= rows,
            "no more than was asked for"
        );
        found.extend(chunk.rows.into_iter().map(|(key, image)| (key, image.row)));
        ranges += 1;
        assert!(ranges < 1_000, "the ranges never end");
        if chunk.cut.is_none() {
            return (found, ranges);
        }
        span.after = chunk.cut;
    }
}

fn filled(fixture: &dyn Fixture) -> (Trial, Vec<(Key, Row)>, Position) {
    let trial = Trial::new(fixture, Side::Old);
    let mut rows = Vec::new();
    for a in [-7, 0, 3, i64::MAX] {
        for text in TEXTS {
            rows.push((key(a, text), row(a, text, None, 1)));
        }
    }
    let writes: Vec<_> = rows
        .iter()
        .rev()
        .map(|(_, row)| Write::Insert(row.clone()))
        .collect();
    trial.write(&writes);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 1_000);
    let received = feed.received();
    (trial, rows, received)
}

fn tile(fixture: &dyn Fixture) {
    let (trial, mut rows, received) = filled(fixture);
    // Reads what was received, so that ranges are made of everything.
    walk(trial.scan().as_mut(), 1_000, 1 << 20, &received);
    for size in [1, 2, 3, 5, 55, 56, 57, 1_000] {
        let (mut found, ranges) = walk(trial.scan().as_mut(), size, 1 << 20, &received);
        assert!(
            ranges >= rows.len() as u64 / size,
            "ranges of about {size} rows"
        );
        let in_order: Vec<Key> = found.iter().map(|(key, _)| key.clone()).collect();
        let all_at_once = walk(trial.scan().as_mut(), 1_000, 1 << 20, &received).0;
        let expected: Vec<Key> = all_at_once.into_iter().map(|(key, _)| key).collect();
        assert_eq!(in_order, expected, "one order, whatever the size");
        let name = |(key, _): &(Key, Row)| rows.iter().position(|(other, _)| other == key);
        found.sort_by_key(|item| name(item).expect("a row of the table"));
        rows.sort_by_key(|_| 0);
        assert_eq!(found, rows, "every row once, in ranges of {size}");
    }
}

fn empty(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let (found, ranges) = walk(trial.scan().as_mut(), 10, 1 << 20, &nowhere());
    assert!(found.is_empty());
    assert_eq!(ranges, 1);
}

fn cut(fixture: &dyn Fixture) {
    let (trial, rows, received) = filled(fixture);
    let mut scan = trial.scan();
    let most = Most {
        rows: 1_000,
        bytes: 1,
    };
    let chunk = scan
        .read(&Span::whole(PAIR), most, &received)
        .expect("a chunk");
    assert_eq!(chunk.rows.len(), 1, "one row at least, however large");
    assert_eq!(chunk.cut.as_ref(), Some(&chunk.rows[0].0));
    let (found, _) = walk(scan.as_mut(), 1_000, 1, &received);
    assert_eq!(found.len(), rows.len());
}

/// The digests of a table in spans of so many rows; `None` where the end has none.
fn summaries(
    scan: &mut dyn Scan,
    fields: &[usize],
    rows: u64,
    at: &Position,
) -> Option<Vec<Digest>> {
    let (mut found, mut span) = (Vec::new(), Span::whole(PAIR));
    loop {
        let summary = scan.digest(&span, fields, rows, at).expect("a digest")?;
        found.push(summary.digest);
        if summary.cut.is_none() {
            return Some(found);
        }
        span.after = summary.cut;
        assert!(found.len() < 1_000, "the spans never end");
    }
}

fn digests(fixture: &dyn Fixture) {
    let (trial, rows, received) = filled(fixture);
    let mut scan = trial.scan();
    let all = [0, 1, 2, 3];
    let Some(before) = summaries(scan.as_mut(), &all, 10, &received) else {
        return;
    };
    let count = |digests: &[Digest]| digests.iter().map(|digest| digest.count).sum::<u64>();
    assert_eq!(count(&before), rows.len() as u64, "every row once");
    assert_eq!(
        summaries(scan.as_mut(), &all, 10, &received),
        Some(before.clone())
    );
    let other_order = summaries(scan.as_mut(), &[3, 1, 2, 0], 10, &received).expect("as before");
    assert_ne!(other_order, before, "the order of the fields counts");
    trial.write(&[Write::Update(key(3, "z"), row(3, "z", None, 2))]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 1_000);
    let after = summaries(scan.as_mut(), &all, 10, &feed.received()).expect("as before");
    assert_eq!(count(&after), rows.len() as u64);
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1, "one value of one row");
}

fn shows_received(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let (mut feed, mut scan) = (trial.feed(), trial.scan());
    for n in 0..5 {
        trial.write(&[Write::Insert(row(n, "x", None, n))]);
        drained(feed.as_mut(), 100);
        let received = feed.received();
        let chunk = scan
            .read(&Span::whole(PAIR), WHOLE, &received)
            .expect("a chunk");
        assert_eq!(
            chunk.rows.len() as i64,
            n + 1,
            "what was received is visible"
        );
        assert!(
            trial.reached(&chunk.since, &received),
            "`since` is at or after it"
        );
        assert!(trial.reached(&chunk.until, &chunk.since));
    }
}

fn nothing_after_until(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let (mut feed, mut scan) = (trial.feed(), trial.scan());
    for n in 0..5 {
        trial.write(&[Write::Insert(row(n, "x", None, n))]);
        let chunk = scan
            .read(&Span::whole(PAIR), WHOLE, &nowhere())
            .expect("a chunk");
        let shown: Vec<Key> = chunk.rows.into_iter().map(|(key, _)| key).collect();
        for batch in drained(feed.as_mut(), 100) {
            for event in batch.events {
                if shown.contains(&event.key) {
                    assert!(
                        trial.reached(&chunk.until, &event.position),
                        "shown before `until`"
                    );
                } else {
                    assert!(
                        !trial.reached(&chunk.since, &event.position),
                        "hidden after `since`"
                    );
                }
            }
        }
    }
}

fn lookup(fixture: &dyn Fixture) {
    let (trial, _, received) = filled(fixture);
    let keys = [
        key(3, "z"),
        key(4, "z"),
        key(0, "A"),
        key(0, "b"),
        key(0, "a"),
    ];
    let chunk = trial.lookup().get(PAIR, &keys, &received).expect("a chunk");
    let found: Vec<Key> = chunk.rows.into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        found,
        [key(3, "z"), key(0, "A"), key(0, "a")],
        "in the order asked"
    );
}

fn lookup_received(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let (mut feed, mut lookup) = (trial.feed(), trial.lookup());
    for n in 0..5 {
        trial.write(&[Write::Replace(row(1, "x", None, n))]);
        drained(feed.as_mut(), 100);
        let received = feed.received();
        let chunk = lookup
            .get(PAIR, &[key(1, "x")], &received)
            .expect("a chunk");
        assert_eq!(chunk.rows[0].1.row, row(1, "x", None, n));
        assert!(trial.reached(&chunk.since, &received));
    }
}
