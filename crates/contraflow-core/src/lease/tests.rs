use super::{Epoch, Gate, Ownership, Standing, ownership};
use crate::side::Side;

fn standing(gate: Gate, epoch: u64) -> Standing {
    Standing {
        gate,
        epoch: Epoch(epoch),
        ledger: "l".into(),
        mapping: "m".into(),
    }
}

#[test]
fn every_pair_of_answers_that_our_steps_can_leave_has_its_verdict() {
    let held = |by, epoch, fenced| Ownership::Held {
        by,
        epoch: Epoch(epoch),
        fenced,
    };
    let sealed = |gaining, epoch| Ownership::Sealed {
        gaining,
        epoch: Epoch(epoch),
    };
    for (old, new, verdict) in [
        (
            (Gate::Open, 1),
            (Gate::Closed, 1),
            held(Side::Old, 1, false),
        ),
        (
            (Gate::Fenced, 1),
            (Gate::Closed, 1),
            held(Side::Old, 1, true),
        ),
        ((Gate::Closed, 2), (Gate::Closed, 1), sealed(Side::New, 2)),
        (
            (Gate::Closed, 2),
            (Gate::Open, 2),
            held(Side::New, 2, false),
        ),
        (
            (Gate::Closed, 2),
            (Gate::Fenced, 2),
            held(Side::New, 2, true),
        ),
        ((Gate::Closed, 2), (Gate::Closed, 3), sealed(Side::Old, 3)),
        (
            (Gate::Open, 3),
            (Gate::Closed, 3),
            held(Side::Old, 3, false),
        ),
    ] {
        let answers = (standing(old.0, old.1), standing(new.0, new.1));
        assert_eq!(ownership(Some(&answers.0), Some(&answers.1)), verdict);
    }
}

#[test]
fn impossible_pairs_of_answers_are_ambiguous() {
    for (old, new) in [
        ((Gate::Open, 1), (Gate::Open, 1)),
        ((Gate::Open, 1), (Gate::Open, 2)),
        ((Gate::Open, 3), (Gate::Closed, 1)),
        ((Gate::Closed, 2), (Gate::Closed, 2)),
        ((Gate::Closed, 4), (Gate::Closed, 2)),
        ((Gate::Fenced, 2), (Gate::Open, 2)),
    ] {
        let answers = (standing(old.0, old.1), standing(new.0, new.1));
        assert_eq!(
            ownership(Some(&answers.0), Some(&answers.1)),
            Ownership::Ambiguous
        );
    }
    let sealed = standing(Gate::Closed, 2);
    assert_eq!(ownership(Some(&sealed), None), Ownership::Ambiguous);
    assert_eq!(ownership(None, Some(&sealed)), Ownership::Ambiguous);
}
