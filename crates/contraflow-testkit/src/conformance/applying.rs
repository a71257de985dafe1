//! What the only writer of rows promises.

use contraflow_core::code::Code;
use contraflow_core::end::{Apply, Feed, Letter, Progress, Range, Span};
use contraflow_core::error::Kind;
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::record::{Change, Complement, Image, Key, Origin, Record};
use contraflow_core::side::{Direction, Side};

use super::reading::WHOLE;
use super::{
    Check, Fixture, PAIR, Trial, Write, delete, drained, key, place, put, record, replace, row,
};

pub(super) const CHECKS: &[Check] = &[
    ("apply_moves_rows_and_checkpoint_together", together),
    ("apply_refuses_a_lane_that_was_claimed_again", stale_token),
    (
        "apply_refuses_a_transaction_that_was_overtaken",
        stale_sequence,
    ),
    ("apply_refuses_a_range_twice", range_twice),
    ("apply_says_which_range_was_last", last_range),
    ("apply_deletes_and_replaces", deletes),
    ("apply_settles_values_that_swap", swaps),
    (
        "apply_makes_a_conflict_a_letter_and_keeps_both_rows",
        conflict,
    ),
    (
        "apply_settles_values_that_swap_across_batches",
        swaps_across,
    ),
    ("letters_go_with_a_later_image", letters),
    ("own_writes_are_no_application_events", echo),
    ("whoever_looks_on_tells_echo_from_others", watch),
    ("complements_lie_beside_their_rows", complements),
    ("a_claim_is_refused_where_authority_is", claim_refused),
];

const FORWARD: Direction = Direction::Forward;

fn claimed(trial: &Trial) -> (Box<dyn Apply>, Lease) {
    let mut apply = trial.apply();
    let (lease, _) = apply
        .claim(LaneId(0), FORWARD)
        .expect("the mirror can be claimed");
    (apply, lease)
}

fn new(fixture: &dyn Fixture) -> Trial {
    Trial::new(fixture, Side::New)
}

/// Applies records as a batch of the feed that ends at `through`; says how many letters it made.
fn batch(apply: &mut dyn Apply, lease: &mut Lease, records: &[Record], through: u64) -> u64 {
    let through = place(through);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let applied = apply
        .apply(records, &[], &progress, lease)
        .expect("a batch is applied");
    applied.letters
}

fn together(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let mut apply = trial.apply();
    let (mut lease, resume) = apply.claim(LaneId(0), FORWARD).expect("a claim");
    assert_eq!(resume.position, None, "nothing was ever applied");
    assert!(resume.chunks.iter().all(|(_, last)| last.is_none()));
    batch(apply.as_mut(), &mut lease, &[put(row(1, "x", None, 1))], 5);
    assert_eq!(trial.subject.rows(), [row(1, "x", None, 1)]);
    let checkpoint = trial.apply().checkpoint(FORWARD).expect("a checkpoint");
    assert_eq!(checkpoint, Some(place(5)));
    batch(apply.as_mut(), &mut lease, &[], 6);
    let (_, resume) = trial.apply().claim(LaneId(0), FORWARD).expect("a claim");
    assert_eq!(
        resume.position,
        Some(place(6)),
        "an idle advance counts, too"
    );
}

fn stale_token(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut zombie, mut old_lease) = claimed(&trial);
    batch(zombie.as_mut(), &mut old_lease, &[], 1);
    let (mut apply, mut lease) = claimed(&trial);
    let record = [put(row(1, "x", None, 1))];
    let through = place(9);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let error = zombie
        .apply(&record, &[], &progress, &mut old_lease)
        .expect_err("overtaken");
    assert_eq!((error.code, error.kind), (Code::FENCED, Kind::Fenced));
    assert!(trial.subject.rows().is_empty());
    let checkpoint = apply.checkpoint(FORWARD).expect("a checkpoint");
    assert_eq!(checkpoint, Some(place(1)));
    batch(apply.as_mut(), &mut lease, &record, 2);
}

fn stale_sequence(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    batch(apply.as_mut(), &mut lease, &[], 1);
    lease.sequence -= 1;
    let through = place(2);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let record = [put(row(1, "x", None, 1))];
    let error = apply
        .apply(&record, &[], &progress, &mut lease)
        .expect_err("overtaken");
    assert_eq!(error.code, Code::FENCED);
    assert!(trial.subject.rows().is_empty());
}

fn range(ordinal: u64, after: Option<Key>, through: Option<Key>) -> Range {
    Range {
        pair: PAIR,
        ordinal,
        after,
        through,
    }
}

fn range_twice(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let (range, seen) = (range(0, None, Some(key(1, "x"))), place(1));
    let progress = Progress::Chunk {
        range: &range,
        seen: &seen,
    };
    apply
        .apply(&[put(row(1, "x", None, 1))], &[], &progress, &mut lease)
        .expect("once");
    let (mut apply, mut lease) = claimed(&trial);
    let again = apply.apply(&[put(row(1, "x", None, 2))], &[], &progress, &mut lease);
    assert!(again.is_err(), "a range takes effect once");
    assert_eq!(trial.subject.rows(), [row(1, "x", None, 1)]);
}

fn last_range(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let middle = key(i64::MIN, "'\"é");
    let ranges = [
        range(0, None, Some(middle.clone())),
        range(1, Some(middle), None),
    ];
    for range in &ranges {
        let seen = place(1);
        let progress = Progress::Chunk { range, seen: &seen };
        apply
            .apply(&[], &[], &progress, &mut lease)
            .expect("a range");
        let (_, resume) = trial.apply().claim(LaneId(0), FORWARD).expect("a claim");
        assert_eq!(resume.chunks, [(PAIR, Some(range.clone()))]);
        assert_eq!(resume.position, None, "a range is no checkpoint");
        (apply, lease) = claimed(&trial);
    }
}

fn deletes(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let rows = [put(row(1, "x", None, 1)), put(row(2, "x", Some("t"), 2))];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    let records = [
        delete(key(1, "x")),
        delete(key(9, "x")),
        replace(row(2, "x", None, 3)),
        replace(row(3, "x", Some("t"), 4)),
    ];
    assert_eq!(batch(apply.as_mut(), &mut lease, &records, 2), 0);
    assert_eq!(
        trial.subject.rows(),
        [row(2, "x", None, 3), row(3, "x", Some("t"), 4)]
    );
}

fn swaps(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let tagged = |tags: [&str; 3]| {
        let row = |(a, tag): (i64, &&str)| put(row(a, "x", Some(tag), a));
        (1..).zip(&tags).map(row).collect::<Vec<_>>()
    };
    for tags in [
        ["t", "u", "v"],
        ["u", "t", "v"],
        ["v", "u", "t"],
        ["u", "t", "w"],
    ] {
        assert_eq!(
            batch(apply.as_mut(), &mut lease, &tagged(tags), 1),
            0,
            "no letters"
        );
        let expected: Vec<_> = (1..)
            .zip(tags)
            .map(|(a, tag)| row(a, "x", Some(tag), a))
            .collect();
        assert_eq!(trial.subject.rows(), expected);
    }
    // The value of a row that goes is free for a row that comes.
    let records = [put(row(4, "x", Some("u"), 4)), delete(key(1, "x"))];
    assert_eq!(batch(apply.as_mut(), &mut lease, &records, 2), 0);
}

fn conflict(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let rows = [
        put(row(1, "x", Some("t"), 1)),
        put(row(2, "x", Some("u"), 2)),
        put(row(3, "x", Some("v"), 3)),
    ];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    let (through, seen) = (place(2), place(7));
    let progress = Progress::Advance {
        through: &through,
        seen: &seen,
    };
    let records = [
        put(row(2, "x", Some("t"), 20)),
        put(row(3, "x", Some("v"), 30)),
    ];
    let applied = apply
        .apply(&records, &[], &progress, &mut lease)
        .expect("applied");
    assert_eq!(applied.letters, 1);
    let expected = [
        row(1, "x", Some("t"), 1),
        row(2, "x", Some("u"), 2),
        row(3, "x", Some("v"), 30),
    ];
    assert_eq!(
        trial.subject.rows(),
        expected,
        "both rows stay; the others go on"
    );
    let letters = apply.letters().expect("letters");
    let [letter] = letters.as_slice() else {
        panic!("one letter");
    };
    assert_eq!(letter.letter.source_key, key(2, "x"));
    assert_eq!(letter.letter.code, Code::UNIQUE_CONFLICT);
    assert_eq!(letter.letter.retry_after, Some(seen));
    assert_eq!((letter.direction, letter.attempts), (FORWARD, 1));
    let letters = trial.apply().letters().expect("letters");
    assert_eq!(letters.len(), 1, "it is durable");
    // The value is freed, and the row carried again.
    batch(
        apply.as_mut(),
        &mut lease,
        &[delete(key(1, "x")), records[0].clone()],
        8,
    );
    assert!(apply.letters().expect("letters").is_empty());
    assert_eq!(
        trial.subject.rows(),
        [row(2, "x", Some("t"), 20), row(3, "x", Some("v"), 30)]
    );
}

fn swaps_across(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let rows = [
        put(row(1, "x", Some("t"), 1)),
        put(row(2, "x", Some("u"), 2)),
    ];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    // Final images of a swap, one batch each: neither can be written alone.
    let swapped = [
        put(row(1, "x", Some("u"), 1)),
        put(row(2, "x", Some("t"), 2)),
    ];
    batch(apply.as_mut(), &mut lease, &swapped[..1], 2);
    batch(apply.as_mut(), &mut lease, &swapped[1..], 3);
    let seen = place(3);
    let again = Progress::Keys { seen: &seen };
    apply
        .apply(&swapped, &[], &again, &mut lease)
        .expect("carried again together");
    assert!(apply.letters().expect("letters").is_empty());
    assert_eq!(
        trial.subject.rows(),
        [row(1, "x", Some("u"), 1), row(2, "x", Some("t"), 2)]
    );
}

fn letters(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let letter = |a| Letter {
        pair: PAIR,
        source_key: key(a, "x"),
        code: Code::VALUE_UNMAPPABLE,
        reason: "`n`: out of range".to_owned(),
        retry_after: None,
    };
    let written = [letter(1), letter(2), letter(3)];
    let through = place(1);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    apply
        .apply(&[], &written, &progress, &mut lease)
        .expect("applied");
    let found = trial.apply().letters().expect("letters");
    let found: Vec<_> = found.into_iter().map(|stored| stored.letter).collect();
    assert_eq!(found, written);
    // An image that maps, and a delete; the third is tried again and fails again.
    let records = [put(row(1, "x", None, 1)), delete(key(2, "x"))];
    let through = place(2);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    apply
        .apply(&records, &written[2..], &progress, &mut lease)
        .expect("applied");
    let found = apply.letters().expect("letters");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].letter, written[2]);
    assert_eq!(found[0].attempts, 2);
}

fn echo(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let mut feed = trial.feed();
    let (mut apply, mut lease) = claimed(&trial);
    let rows = [
        put(row(1, "x", Some("t"), 1)),
        put(row(2, "x", Some("u"), 2)),
    ];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    let swapped = [
        put(row(1, "x", Some("u"), 1)),
        put(row(2, "x", Some("t"), 2)),
    ];
    batch(apply.as_mut(), &mut lease, &swapped, 2);
    batch(apply.as_mut(), &mut lease, &[delete(key(1, "x"))], 3);
    for batch in drained(feed.as_mut(), 100) {
        for event in batch.events {
            assert_eq!(event.origin, Origin::Flow(FORWARD));
        }
    }
}

/// Looks on until a feed has nothing more, and says how much was no echo.
fn foreign(feed: &mut dyn Feed, echo: Direction, at_least: u64) -> u64 {
    let (mut seen, mut quiet) = (0, 0);
    while quiet < 20 || seen < at_least {
        let before = feed.received();
        let watched = feed.watch(echo).expect("a look");
        assert_eq!(feed.received(), watched.through);
        seen += watched.foreign;
        quiet = if watched.through == before {
            quiet + 1
        } else {
            0
        };
    }
    seen
}

fn watch(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let mut feed = trial.feed();
    let (mut apply, mut lease) = claimed(&trial);
    let rows = [put(row(1, "x", None, 1)), put(row(2, "x", None, 2))];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    batch(apply.as_mut(), &mut lease, &[delete(key(1, "x"))], 2);
    assert_eq!(foreign(feed.as_mut(), FORWARD, 0), 0, "our own echo");
    let trial = Trial::new(fixture, Side::Old);
    let mut feed = trial.feed();
    trial.write(&[Write::Insert(row(1, "x", None, 1))]);
    trial.write(&[
        Write::Insert(row(2, "x", None, 1)),
        Write::Delete(key(1, "x")),
    ]);
    let echo = Direction::Reverse;
    assert!(foreign(feed.as_mut(), echo, 2) >= 2, "somebody else's");
}

fn beside(row: contraflow_core::record::Row, note: &[u8]) -> Record {
    let complement = Complement(note.to_vec());
    record(&row.clone(), Change::Put(Image { row, complement }))
}

fn complements(fixture: &dyn Fixture) {
    let trial = new(fixture);
    let (mut apply, mut lease) = claimed(&trial);
    let note = |a: i64| {
        let nowhere = Position::new([]);
        let chunk = trial
            .lookup()
            .get(PAIR, &[key(a, "x")], &nowhere)
            .expect("a chunk");
        chunk
            .rows
            .first()
            .map(|(_, image)| image.complement.0.clone())
    };
    let rows = [
        beside(row(1, "x", Some("t"), 1), b"one"),
        beside(row(2, "x", Some("u"), 2), b"two"),
        beside(row(3, "x", None, 3), b"three"),
        put(row(4, "x", None, 4)),
    ];
    batch(apply.as_mut(), &mut lease, &rows, 1);
    revealed(&trial);
    assert_eq!(note(1), Some(b"one".to_vec()));
    assert_eq!(note(4), Some(Vec::new()));
    let records = [
        beside(row(1, "x", Some("u"), 1), b"uno"),
        beside(row(2, "x", Some("t"), 2), b"dos"),
        put(row(3, "x", None, 3)),
        delete(key(4, "x")),
    ];
    batch(apply.as_mut(), &mut lease, &records, 2);
    revealed(&trial);
    assert_eq!(
        note(1),
        Some(b"uno".to_vec()),
        "rewritten, though the values swapped"
    );
    assert_eq!(note(2), Some(b"dos".to_vec()));
    assert_eq!(
        note(3),
        Some(Vec::new()),
        "nothing is left of the earlier one"
    );
    batch(apply.as_mut(), &mut lease, &[delete(key(1, "x"))], 3);
    batch(apply.as_mut(), &mut lease, &[put(row(1, "x", None, 1))], 4);
    revealed(&trial);
    assert_eq!(note(1), Some(Vec::new()), "deleted with its row");
    let mut scan = trial.scan();
    let chunk = scan
        .read(&Span::whole(PAIR), WHOLE, &Position::new([]))
        .expect("a chunk");
    let notes: Vec<_> = chunk
        .rows
        .into_iter()
        .map(|(_, image)| image.complement.0)
        .collect();
    assert_eq!(
        notes,
        [Vec::new(), b"dos".to_vec(), Vec::new()],
        "handed back by scans"
    );
}

/// Everything that was written is visible afterwards.
fn revealed(trial: &Trial) {
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    let received = feed.received();
    trial.lookup().get(PAIR, &[], &received).expect("a barrier");
}

fn claim_refused(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let error = trial
        .apply()
        .claim(LaneId(0), Direction::Reverse)
        .expect_err("it is open");
    assert_eq!(error.code, Code::FENCED);
}
