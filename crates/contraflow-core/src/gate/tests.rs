use super::{Evidence, Rule, judge};
use crate::lease::Epoch;
use crate::side::Direction;

fn evidence(count: u64) -> Evidence {
    Evidence {
        rule: Rule::Compare,
        epoch: Epoch(2),
        direction: Direction::Forward,
        at_ms: 10,
        count,
        sample: 100,
        proven: true,
        who: Vec::new(),
    }
}

fn is_open(evidence: &[Evidence]) -> bool {
    judge(
        &[Rule::Compare],
        evidence,
        Epoch(2),
        Direction::Forward,
        |_| 0,
    )[0]
    .open
}

#[test]
fn only_proof_of_this_epoch_and_direction_opens_a_gate() {
    assert!(is_open(&[evidence(0)]));
    assert!(!is_open(&[]));
    assert!(!is_open(&[evidence(1)]));
    assert!(!is_open(&[Evidence {
        proven: false,
        ..evidence(0)
    }]));
    assert!(!is_open(&[Evidence {
        epoch: Epoch(1),
        ..evidence(0)
    }]));
    assert!(!is_open(&[Evidence {
        direction: Direction::Reverse,
        ..evidence(0)
    }]));
}

#[test]
fn the_newest_evidence_counts() {
    let later = Evidence {
        at_ms: 20,
        ..evidence(3)
    };
    assert!(!is_open(&[evidence(0), later.clone()]));
    assert!(!is_open(&[later, evidence(0)]));
}
