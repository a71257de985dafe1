//! What a feed promises.

use contraflow_core::code::Code;
use contraflow_core::end::Start;
use contraflow_core::record::{Op, Origin};
use contraflow_core::side::Side;

use super::{Check, Fixture, Refused, Trial, Write, drained, folded, key, next_events, place, row};

pub(super) const CHECKS: &[Check] = &[
    ("feed_has_every_change_in_order", every_change_in_order),
    ("feed_starts_behind_what_was_there_before", starts_empty),
    ("feed_resumes_where_it_was", resumes),
    ("feed_that_lost_its_place_says_so", lost_place),
    ("feed_names_each_key_of_a_batch_once", once_per_batch),
    ("feed_tells_a_replacement_from_an_update", replacement),
    ("feed_splits_a_moved_key", moved_key),
    ("feed_has_the_victims_of_replace", victims),
    ("feed_has_swapped_unique_values", swapped),
    ("feed_has_all_rows_of_a_transaction", many_rows),
    ("feed_has_nothing_of_a_refused_transaction", refused),
    ("feed_head_counts_what_is_left", head),
];

fn old(fixture: &dyn Fixture) -> Trial {
    Trial::new(fixture, Side::Old)
}

fn every_change_in_order(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    for n in 0..10 {
        trial.write(&[Write::Insert(row(n, "x", None, n))]);
    }
    let batches = drained(feed.as_mut(), 3);
    assert!(batches.len() >= 4, "at most about 3 events per batch");
    let mut last = place(0);
    for batch in &batches {
        assert!(
            trial.reached(&batch.seen, &batch.through),
            "images are as new as `through`"
        );
        assert!(!trial.reached(&last, &batch.through), "`through` moves on");
        for event in &batch.events {
            assert!(
                trial.reached(&batch.through, &event.position),
                "events lie before `through`"
            );
            assert!(
                !trial.reached(&last, &event.position),
                "no event lies before the batch"
            );
            assert_eq!(event.origin, Origin::Application);
        }
        last = batch.through.clone();
    }
    let expected: Vec<_> = (0..10)
        .map(|n| (key(n, "x"), Some(row(n, "x", None, n))))
        .collect();
    assert_eq!(folded(&batches), expected);
}

fn starts_empty(fixture: &dyn Fixture) {
    let subject = fixture.fresh(Side::Old);
    subject
        .transact(&[Write::Insert(row(1, "x", None, 1))])
        .expect("nothing is guarded yet");
    let trial = Trial {
        role: super::role(Side::Old),
        subject,
    };
    trial
        .structure()
        .expand(&super::standing(Side::Old))
        .expect("expand");
    assert!(
        drained(trial.feed().as_mut(), 10).is_empty(),
        "history is not in the feed"
    );
}

fn resumes(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    for n in 0..6 {
        trial.write(&[Write::Insert(row(n, "x", None, n))]);
    }
    let first = next_events(feed.as_mut(), 3);
    let seen = first.events.len();
    // Not confirmed: the same events again, for another process.
    let again = next_events(trial.feed().as_mut(), 3);
    assert_eq!(again.events[0].key, first.events[0].key);
    feed.confirm(&first.through).expect("confirm");
    let mut other = trial.end().feed(&trial.role).expect("a feed");
    other
        .open(&Start::After(first.through.clone()))
        .expect("it has its place");
    assert_eq!(other.received(), first.through);
    let rest = drained(other.as_mut(), 10);
    assert_eq!(folded(&rest).len(), 6 - seen, "the rest, and nothing twice");
    // Everything confirmed and forgotten: the place is still known.
    let through = rest.last().expect("a batch").through.clone();
    other.confirm(&through).expect("confirm");
    let mut last = trial.end().feed(&trial.role).expect("a feed");
    last.open(&Start::After(through)).expect("it has its place");
    trial.write(&[Write::Insert(row(6, "x", None, 6))]);
    assert_eq!(folded(&drained(last.as_mut(), 10)).len(), 1);
}

fn lost_place(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[Write::Insert(row(1, "x", None, 1))]);
    let mut feed = trial.end().feed(&trial.role).expect("a feed");
    let ahead = Start::After(place(1 << 40));
    let error = feed.open(&ahead).expect_err("a place that never was");
    assert_eq!(error.code, Code::FEED_LOST);
}

fn once_per_batch(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    trial.write(&[Write::Insert(row(1, "x", None, 1))]);
    for n in 2..6 {
        trial.write(&[Write::Update(key(1, "x"), row(1, "x", None, n))]);
    }
    let batches = drained(feed.as_mut(), 100);
    for batch in &batches {
        assert_eq!(batch.events.len(), 1);
        assert_eq!(batch.events[0].op, Op::Put);
    }
    let expected = [(key(1, "x"), Some(row(1, "x", None, 5)))];
    assert_eq!(folded(&batches), expected);
}

fn replacement(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[
        Write::Insert(row(1, "x", None, 1)),
        Write::Insert(row(2, "x", None, 1)),
    ]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    trial.write(&[Write::Delete(key(1, "x"))]);
    trial.write(&[Write::Insert(row(1, "x", None, 2))]);
    trial.write(&[Write::Update(key(2, "x"), row(2, "x", None, 2))]);
    trial.write(&[Write::Insert(row(3, "x", None, 3))]);
    trial.write(&[Write::Delete(key(3, "x"))]);
    let batches = drained(feed.as_mut(), 100);
    let ops = |a| -> Vec<Op> {
        let events = batches.iter().flat_map(|batch| &batch.events);
        let mine = events.filter(|event| event.key == key(a, "x"));
        mine.map(|event| event.op).collect()
    };
    // In one batch, or one after the other.
    let again = [vec![Op::Replace], vec![Op::Delete, Op::Put]];
    assert!(
        again.contains(&ops(1)),
        "deleted and written again: {:?}",
        ops(1)
    );
    assert_eq!(ops(2), [Op::Put]);
    assert_eq!(ops(3).last(), Some(&Op::Delete), "written and deleted");
}

fn moved_key(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[Write::Insert(row(1, "x", Some("t"), 1))]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    trial.write(&[Write::Update(key(1, "x"), row(1, "X", Some("t"), 1))]);
    let mut found = folded(&drained(feed.as_mut(), 100));
    found.sort_by_key(|(_, row)| row.is_some());
    let expected = [
        (key(1, "x"), None),
        (key(1, "X"), Some(row(1, "X", Some("t"), 1))),
    ];
    assert_eq!(found, expected);
}

fn victims(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[
        Write::Insert(row(1, "x", Some("t"), 1)),
        Write::Insert(row(2, "x", Some("u"), 2)),
    ]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    // One row goes by its key, another by its tag.
    trial.write(&[Write::Replace(row(2, "x", Some("t"), 3))]);
    let found = folded(&drained(feed.as_mut(), 100));
    assert!(found.contains(&(key(1, "x"), None)), "the victim is gone");
    assert!(found.contains(&(key(2, "x"), Some(row(2, "x", Some("t"), 3)))));
    assert_eq!(trial.subject.rows(), [row(2, "x", Some("t"), 3)]);
}

fn swapped(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[
        Write::Insert(row(1, "x", Some("t"), 1)),
        Write::Insert(row(2, "x", Some("u"), 2)),
    ]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    trial.write(&[
        Write::Update(key(1, "x"), row(1, "x", Some("between"), 1)),
        Write::Update(key(2, "x"), row(2, "x", Some("t"), 2)),
        Write::Update(key(1, "x"), row(1, "x", Some("u"), 1)),
    ]);
    let mut found = folded(&drained(feed.as_mut(), 100));
    found.sort_by_key(|(at, _)| *at == key(2, "x"));
    let expected = [
        (key(1, "x"), Some(row(1, "x", Some("u"), 1))),
        (key(2, "x"), Some(row(2, "x", Some("t"), 2))),
    ];
    assert_eq!(found, expected);
}

fn many_rows(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    let writes: Vec<_> = (0..50)
        .map(|n| Write::Insert(row(n, "x", None, n)))
        .collect();
    trial.write(&writes);
    assert_eq!(folded(&drained(feed.as_mut(), 7)).len(), 50);
}

fn refused(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&[Write::Insert(row(1, "x", Some("t"), 1))]);
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    let refusal = trial.subject.transact(&[
        Write::Insert(row(2, "x", None, 2)),
        Write::Insert(row(3, "x", Some("t"), 3)),
    ]);
    assert_eq!(refusal, Err(Refused::Conflict));
    assert!(folded(&drained(feed.as_mut(), 100)).is_empty());
    trial.write(&[Write::Insert(row(4, "x", None, 4))]);
    assert_eq!(
        folded(&drained(feed.as_mut(), 100)).len(),
        1,
        "no gap is left behind"
    );
}

fn head(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    assert!(drained(feed.as_mut(), 100).is_empty());
    let (position, left) = feed.head().expect("head");
    assert_eq!(left, 0);
    assert!(trial.reached(&position, &feed.received()));
    trial.write(&[
        Write::Insert(row(1, "x", None, 1)),
        Write::Insert(row(2, "x", None, 2)),
    ]);
    let (_, left) = feed.head().expect("head");
    assert!(left > 0, "something is left");
    assert_eq!(folded(&drained(feed.as_mut(), 100)).len(), 2);
    let (_, left) = feed.head().expect("head");
    assert_eq!(left, 0);
}
