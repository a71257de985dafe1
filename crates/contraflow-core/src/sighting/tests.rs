use super::*;
use crate::record::PairId;

const S: u64 = 1_000;
const H: u64 = 3_600 * S;

fn group(name: &str, members: usize, offset: i64, behind: u64) -> Group {
    Group {
        name: name.to_owned(),
        kind: "consumer".to_owned(),
        state: "Stable".to_owned(),
        members,
        is_known: true,
        reads: vec![PairId(0)],
        next: (offset > 0)
            .then_some(Next {
                pair: PairId(0),
                partition: 0,
                offset,
            })
            .into_iter()
            .collect(),
        behind,
    }
}

fn said(marks: &Marks, gone_h: u64) -> Said<'_> {
    Said {
        marks,
        declared: &[],
        gone: Duration::from_secs(gone_h * 3_600),
    }
}

/// Looks every 30 seconds until a moment, and sees the same each time.
fn watch(sightings: &mut Sightings, until_ms: u64, old: &[Group], new: &[Group]) {
    let mut now_ms = sightings.looked_ms + 30 * S;
    while now_ms <= until_ms {
        sightings.look(now_ms, old, new);
        now_ms += 30 * S;
    }
}

fn who(sightings: &Sightings, said: Said<'_>) -> Vec<String> {
    let users = sightings.in_the_way(sightings.looked_ms, said);
    users.into_iter().map(|user| user.seen).collect()
}

#[test]
fn a_reader_stands_in_the_way_until_it_has_been_gone_for_the_agreed_time() {
    let (mut sightings, none) = (Sightings::default(), Marks::new());
    watch(&mut sightings, 3 * H, &[group("a", 2, 7, 1)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)), ["2 members now"]);
    // It stops at the end of the log.
    watch(&mut sightings, 3 * H + H / 2, &[group("a", 0, 7, 0)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)), ["gone for 30m of 1h"]);
    // It commits once more, without members.
    watch(&mut sightings, 4 * H, &[group("a", 0, 9, 0)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)).len(), 1);
    watch(&mut sightings, 5 * H, &[group("a", 0, 9, 0)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)), [""; 0]);
    // Five hours, all of them watched; when it committed first nobody saw.
    let committed_at = sightings.groups["a"].committed_at_ms;
    assert!(
        committed_at.is_some_and(|at| at > 3 * H && at < 4 * H),
        "{committed_at:?}"
    );
    // Its offsets expire, and it is not forgotten that it was there.
    watch(&mut sightings, 5 * H + S, &[], &[]);
    assert_eq!(who(&sightings, said(&none, 4)).len(), 1);
}

#[test]
fn a_stopped_reader_with_records_left_stands_in_the_way_until_it_has_moved() {
    let (mut sightings, none) = (Sightings::default(), Marks::new());
    watch(&mut sightings, 9 * H, &[group("a", 0, 7, 3)], &[]);
    let left = ["stopped with 3 records left, and not moved"];
    assert_eq!(who(&sightings, said(&none, 0)), left);
    assert_eq!(who(&sightings, said(&none, 1)), left);
    watch(
        &mut sightings,
        9 * H + 60 * S,
        &[group("a", 0, 7, 3)],
        &[group("a", 1, 8, 0)],
    );
    assert_eq!(who(&sightings, said(&none, 1)), [""; 0]);
    // What it had said of the new log before it read the old one again proves nothing.
    watch(
        &mut sightings,
        10 * H,
        &[group("a", 0, 9, 2)],
        &[group("a", 0, 8, 0)],
    );
    assert_eq!(who(&sightings, said(&none, 1)).len(), 1);
}

#[test]
fn a_mark_counts_until_the_reader_is_seen_again() {
    let (mut sightings, mut marks) = (Sightings::default(), Marks::new());
    watch(&mut sightings, 2 * H, &[group("a", 0, 7, 3)], &[]);
    let mark = |next: i64, at_ms| Mark {
        at_ms,
        next: group("a", 0, next, 0).next,
    };
    // It committed between the newest look and the mark.
    marks.insert("a".to_owned(), mark(9, 2 * H + S));
    watch(&mut sightings, 2 * H + 60 * S, &[group("a", 0, 9, 1)], &[]);
    assert_eq!(who(&sightings, said(&marks, 1)), [""; 0]);
    assert!(!sightings.is_left("a", &marks));
    let mut later = sightings.clone();
    watch(&mut later, 3 * H, &[group("a", 0, 10, 0)], &[]);
    assert_eq!(who(&later, said(&marks, 1)).len(), 1, "it commits");
    watch(&mut sightings, 3 * H, &[group("a", 1, 9, 1)], &[]);
    watch(&mut sightings, 4 * H, &[group("a", 0, 9, 1)], &[]);
    assert_eq!(who(&sightings, said(&marks, 1)).len(), 1, "it had members");
    assert!(sightings.is_left("a", &marks));
}

#[test]
fn members_whose_topics_are_not_shown_may_read_the_old_log() {
    let (mut sightings, none) = (Sightings::default(), Marks::new());
    let hidden = Group {
        is_known: false,
        ..group("a", 2, 0, 0)
    };
    sightings.look(H, &[hidden], &[]);
    assert_eq!(
        who(&sightings, said(&none, 0)),
        ["2 members now; what they read is not shown"]
    );
    // Strangers that did so are no readers a moment later.
    sightings.look(H + S, &[], &[]);
    assert_eq!(who(&sightings, said(&none, 0)), [""; 0]);
    let share = Group {
        is_known: false,
        ..group("a", 0, 0, 0)
    };
    sightings.look(H + 2 * S, &[share], &[]);
    assert_eq!(
        who(&sightings, said(&none, 0)),
        ["whether it has members is not shown; say so when it has moved"]
    );
}

/// A run that was down cannot say that nobody read meanwhile.
#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let (mut sightings, none) = (Sightings::default(), Marks::new());
    watch(&mut sightings, 2 * H, &[group("a", 0, 7, 0)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)), [""; 0]);
    sightings.look(5 * H, &[group("a", 0, 7, 0)], &[]);
    let watched = "watched for 1h of 2h";
    assert_eq!(
        who(&sightings, said(&none, 2)),
        ["gone for 1h of 2h", watched]
    );
    // A clock that goes back changes nothing.
    sightings.look(4 * H, &[group("a", 0, 7, 0)], &[]);
    assert_eq!(who(&sightings, said(&none, 1)).len(), 2);
}

#[test]
fn who_was_declared_and_never_seen_stands_in_the_way() {
    let (mut sightings, mut marks) = (Sightings::default(), Marks::new());
    let declared = [Consumer {
        group: "billing".to_owned(),
        owner: None,
        deadline: None,
    }];
    sightings.look(H, &[], &[]);
    fn with<'s>(marks: &'s Marks, declared: &'s [Consumer]) -> Said<'s> {
        Said {
            declared,
            ..said(marks, 0)
        }
    }
    assert_eq!(who(&sightings, with(&marks, &declared)).len(), 1);
    assert!(sightings.is_left("billing", &marks));
    let mut elsewhere = sightings.clone();
    elsewhere.look(H + S, &[], &[group("billing", 0, 5, 0)]);
    assert_eq!(who(&elsewhere, with(&marks, &declared)), [""; 0]);
    let next = Vec::new();
    marks.insert("billing".to_owned(), Mark { at_ms: H, next });
    assert_eq!(who(&sightings, with(&marks, &declared)), [""; 0]);
}
