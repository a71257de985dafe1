//! What the keeper of authority promises.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::Progress;
use contraflow_core::lease::{Epoch, Gate, LaneId};
use contraflow_core::position::Position;
use contraflow_core::record::{Change, Complement, Image, Key};
use contraflow_core::side::{Direction, Side};

use super::{
    Check, Fixture, PAIR, Refused, Trial, Write, drained, folded, key, place, put, record, row,
};

pub(super) const CHECKS: &[Check] = &[
    ("a_closed_end_refuses_applications", closed),
    ("a_fence_refuses_applications_until_its_deadline", fence),
    (
        "a_fence_lies_behind_every_application_write",
        fence_position,
    ),
    ("a_fence_needs_the_open_end_of_its_epoch", fence_epoch),
    ("a_seal_is_refused_after_the_deadline", seal_late),
    ("a_seal_is_refused_when_writes_lie_behind", seal_behind),
    ("a_seal_closes_and_says_where_the_way_back_starts", seal),
    ("a_flip_is_compare_and_set", flip),
    ("a_prepared_flip_keeps_nobody_out_and_opens", prepared),
    ("a_lift_ends_a_fence_and_never_a_seal", lift),
    ("a_flip_retires_the_lanes_that_wrote", zombie),
    ("complements_go_where_applications_move_rows", complements),
    ("an_end_can_be_adopted_by_another_ledger", adopt),
];

/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(60);

const FIRST: Epoch = Epoch::FIRST;

fn old(fixture: &dyn Fixture) -> Trial {
    Trial::new(fixture, Side::Old)
}

fn gate(trial: &Trial) -> (Gate, Epoch) {
    let standing = trial
        .switch()
        .standing()
        .expect("an answer")
        .expect("it carries the change");
    (standing.gate, standing.epoch)
}

fn insert(a: i64) -> [Write; 1] {
    [Write::Insert(row(a, "x", None, a))]
}

fn closed(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    assert_eq!(gate(&trial), (Gate::Closed, FIRST));
    let mut apply = trial.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).expect("a claim");
    let through = place(1);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let records = [put(row(1, "x", Some("t"), 1))];
    apply
        .apply(&records, &[], &progress, &mut lease)
        .expect("our own writes go through");
    let foreign = [
        Write::Insert(row(2, "x", None, 2)),
        Write::Update(key(1, "x"), row(1, "x", None, 9)),
        Write::Delete(key(1, "x")),
        Write::Replace(row(1, "x", None, 9)),
        Write::Replace(row(3, "x", Some("t"), 9)),
    ];
    for write in foreign {
        assert_eq!(trial.subject.transact(&[write]), Err(Refused::Guard));
    }
    assert_eq!(trial.subject.rows(), [row(1, "x", Some("t"), 1)]);
}

fn fence(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&insert(1));
    trial.switch().fence(FIRST, LONG).expect("a fence");
    assert_eq!(gate(&trial), (Gate::Fenced, FIRST));
    assert_eq!(trial.subject.transact(&insert(2)), Err(Refused::Guard));
    trial.switch().lift(FIRST).expect("lifted");
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    trial.switch().fence(FIRST, SHORT).expect("a short fence");
    trial.subject.pass(SHORT);
    trial.write(&insert(3));
    assert_eq!(gate(&trial), (Gate::Open, FIRST), "it has ended by itself");
    assert_eq!(
        folded(&drained(feed.as_mut(), 100)).len(),
        1,
        "writes are followed again"
    );
    trial
        .switch()
        .fence(FIRST, LONG)
        .expect("it can be fenced again");
}

fn fence_position(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let mut feed = trial.feed();
    trial.write(&insert(1));
    trial.write(&insert(2));
    let position = trial.switch().fence(FIRST, LONG).expect("a fence");
    let batches = drained(feed.as_mut(), 100);
    assert_eq!(folded(&batches).len(), 2);
    for event in batches.iter().flat_map(|batch| &batch.events) {
        assert!(trial.reached(&position, &event.position));
    }
    assert!(
        trial.reached(&feed.received(), &position),
        "the feed reaches it"
    );
}

fn fence_epoch(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let error = trial
        .switch()
        .fence(Epoch(7), LONG)
        .expect_err("another epoch");
    assert_eq!(error.code, Code::FENCED);
    trial.switch().fence(FIRST, LONG).expect("a fence");
    trial
        .switch()
        .fence(FIRST, LONG)
        .expect_err("fenced already");
    // An end may wait for a fence of another one on its server when it is expanded.
    drop(trial);
    let trial = Trial::new(fixture, Side::New);
    trial
        .switch()
        .fence(FIRST, LONG)
        .expect_err("it is not open");
}

fn seal_late(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let position = trial.switch().fence(FIRST, SHORT).expect("a fence");
    trial.subject.pass(SHORT);
    let error = trial
        .switch()
        .seal(FIRST, &position, &place(0))
        .expect_err("too late");
    assert_eq!(error.code, Code::FENCE_EXPIRED);
    assert_eq!(gate(&trial), (Gate::Open, FIRST));
    trial.write(&insert(1));
    let error = trial
        .switch()
        .seal(FIRST, &position, &place(0))
        .expect_err("not fenced");
    assert_eq!(error.code, Code::FENCE_EXPIRED);
}

fn seal_behind(fixture: &dyn Fixture) {
    let trial = old(fixture);
    let earlier = trial.switch().fence(FIRST, SHORT).expect("a fence");
    trial.subject.pass(SHORT);
    trial.write(&insert(1));
    trial.switch().fence(FIRST, LONG).expect("a second fence");
    let error = trial
        .switch()
        .seal(FIRST, &earlier, &place(0))
        .expect_err("a write lies behind");
    assert_eq!(error.code, Code::FENCE_EXPIRED);
    assert_eq!(gate(&trial).0, Gate::Fenced);
    trial
        .switch()
        .seal(Epoch(7), &earlier, &place(0))
        .expect_err("another epoch");
}

fn sealed(trial: &Trial, reverse_from: &Position) {
    let position = trial.switch().fence(FIRST, LONG).expect("a fence");
    trial
        .switch()
        .seal(FIRST, &position, reverse_from)
        .expect("a seal");
}

fn seal(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.write(&insert(1));
    sealed(&trial, &place(42));
    assert_eq!(gate(&trial), (Gate::Closed, FIRST.next()));
    assert_eq!(trial.subject.transact(&insert(2)), Err(Refused::Guard));
    let (lease, resume) = trial
        .apply()
        .claim(LaneId(0), Direction::Reverse)
        .expect("a claim");
    assert_eq!(lease.epoch, FIRST.next());
    assert_eq!(resume.position, Some(place(42)));
    trial
        .switch()
        .seal(FIRST, &place(0), &place(43))
        .expect_err("sealed already");
    trial
        .switch()
        .fence(FIRST.next(), LONG)
        .expect_err("it is not open");
}

fn flip(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    trial
        .switch()
        .flip(Epoch(3), &[])
        .expect_err("two epochs ahead");
    trial.switch().flip(FIRST, &[]).expect_err("the same epoch");
    assert_eq!(gate(&trial), (Gate::Closed, FIRST));
    trial.switch().flip(FIRST.next(), &[]).expect("a flip");
    assert_eq!(gate(&trial), (Gate::Open, FIRST.next()));
    trial
        .switch()
        .flip(FIRST.next(), &[])
        .expect_err("flipped already");
    trial.switch().flip(Epoch(3), &[]).expect_err("it is open");
    let mut feed = trial.feed();
    drained(feed.as_mut(), 100);
    trial.write(&insert(1));
    assert_eq!(folded(&drained(feed.as_mut(), 100)).len(), 1);
}

fn prepared(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    let next = FIRST.next();
    let prepare = |epoch| trial.switch().prepare(epoch, &[], LONG);
    prepare(next).expect("prepared");
    // It came to nothing: the flow goes on.
    let mut apply = trial.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).expect("a claim");
    let through = place(1);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let records = [put(row(1, "x", None, 1))];
    apply
        .apply(&records, &[], &progress, &mut lease)
        .expect("the mirror is still ours");
    assert_eq!(gate(&trial), (Gate::Closed, FIRST));
    drop(apply);
    prepare(next).expect("prepared again");
    trial.switch().flip(next, &[]).expect("a flip");
    assert_eq!(gate(&trial), (Gate::Open, next));
    trial.write(&insert(2));
}

fn lift(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.switch().lift(FIRST).expect("nothing to lift");
    trial.switch().fence(FIRST, LONG).expect("a fence");
    trial.switch().lift(Epoch(7)).expect_err("another epoch");
    trial.switch().lift(FIRST).expect("lifted");
    assert_eq!(gate(&trial), (Gate::Open, FIRST));
    trial.write(&insert(1));
    trial.switch().fence(FIRST, SHORT).expect("a fence");
    trial.subject.pass(SHORT);
    trial.switch().lift(FIRST).expect("it has ended");
    sealed(&trial, &place(0));
    trial.switch().lift(FIRST).expect_err("made permanent");
    assert_eq!(gate(&trial), (Gate::Closed, FIRST.next()));
}

fn zombie(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    let mut apply = trial.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).expect("a claim");
    trial.switch().flip(FIRST.next(), &[]).expect("a flip");
    let through = place(1);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let records = [put(row(1, "x", None, 1))];
    let error = apply
        .apply(&records, &[], &progress, &mut lease)
        .expect_err("retired");
    assert_eq!(error.code, Code::FENCED);
    apply
        .claim(LaneId(0), Direction::Forward)
        .expect_err("it has authority");
    // Closed again, by a turn back: the old lease stays void.
    let position = trial.switch().fence(FIRST.next(), LONG).expect("a fence");
    trial
        .switch()
        .seal(FIRST.next(), &position, &place(5))
        .expect("a seal");
    let error = apply
        .apply(&records, &[], &progress, &mut lease)
        .expect_err("retired");
    assert_eq!(error.code, Code::FENCED);
    assert!(trial.subject.rows().is_empty());
    let checkpoint = apply.checkpoint(Direction::Forward).expect("a checkpoint");
    assert_eq!(checkpoint, Some(place(5)));
}

fn complements(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    let mut apply = trial.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).expect("a claim");
    let noted = |a: i64| {
        let row = row(a, "x", None, a);
        let complement = Complement(vec![u8::try_from(a).expect("small")]);
        record(&row.clone(), Change::Put(Image { row, complement }))
    };
    let through = place(1);
    let progress = Progress::Advance {
        through: &through,
        seen: &through,
    };
    let records = [noted(1), noted(2), noted(3), noted(4)];
    apply
        .apply(&records, &[], &progress, &mut lease)
        .expect("applied");
    trial.switch().flip(FIRST.next(), &[]).expect("a flip");
    let mut feed = trial.feed();
    trial.write(&[Write::Update(key(1, "x"), row(1, "x", None, 10))]);
    trial.write(&[Write::Update(key(2, "x"), row(9, "moved", None, 2))]);
    trial.write(&[Write::Delete(key(3, "x"))]);
    trial.write(&insert(3));
    let batches = drained(feed.as_mut(), 100);
    let keys = [
        key(1, "x"),
        key(9, "moved"),
        key(2, "x"),
        key(3, "x"),
        key(4, "x"),
    ];
    let chunk = trial
        .lookup()
        .get(PAIR, &keys, &feed.received())
        .expect("a chunk");
    let beside = |at: &Key| {
        let found = chunk.rows.iter().find(|(key, _)| key == at);
        found.map(|(_, image)| image.complement.0.clone())
    };
    assert_eq!(beside(&key(1, "x")), Some(vec![1]), "an update keeps it");
    assert_eq!(
        beside(&key(9, "moved")),
        Some(vec![2]),
        "it moves with its key"
    );
    assert_eq!(beside(&key(2, "x")), None);
    assert_eq!(
        beside(&key(3, "x")),
        Some(Vec::new()),
        "deleted with its row"
    );
    assert_eq!(beside(&key(4, "x")), Some(vec![4]));
    let events = batches.iter().flat_map(|batch| &batch.events);
    let moved = events.filter(|event| event.key == key(9, "moved"));
    let images: Vec<_> = moved.filter_map(|event| event.image.as_ref()).collect();
    assert_eq!(
        images.last().expect("an image").complement.0,
        [2],
        "the feed hands it out"
    );
}

fn adopt(fixture: &dyn Fixture) {
    let trial = old(fixture);
    trial.switch().adopt("another ledger").expect("adopted");
    let standing = trial
        .switch()
        .standing()
        .expect("an answer")
        .expect("carried");
    assert_eq!(standing.ledger, "another ledger");
    trial
        .structure()
        .expand(&super::standing(Side::Old))
        .expect_err("no longer ours");
}
