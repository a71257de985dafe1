//! What the keeper of tables promises.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::Remove;
use contraflow_core::lease::Standing;
use contraflow_core::preflight::problems;
use contraflow_core::side::Side;

use super::{
    Check, Fixture, PAIR, TABLE, Trial, Write, items, key, next_events, place, role, row, standing,
};

pub(super) const CHECKS: &[Check] = &[
    ("expand_is_done_once", expand),
    ("remove_leaves_the_end_as_it_was", remove),
    ("remove_takes_down_a_closed_end", remove_closed),
    ("remove_takes_the_tables_when_told", remove_tables),
    ("inspect_says_the_shape", inspect),
    ("check_finds_a_table_that_is_not_there", check),
];

fn expand(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    trial.write(&[Write::Insert(row(1, "x", None, 1))]);
    let mut feed = trial.feed();
    let before = trial.subject.declaration();
    trial
        .structure()
        .expand(&standing(Side::Old))
        .expect("again");
    assert_eq!(trial.subject.declaration(), before);
    let events = next_events(feed.as_mut(), 10).events;
    assert_eq!(events.len(), 1, "nothing was forgotten");
    let other = Standing {
        ledger: "another".to_owned(),
        ..standing(Side::Old)
    };
    let error = trial
        .structure()
        .expand(&other)
        .expect_err("carried elsewhere");
    assert_eq!(error.code, Code::CARRIED_ELSEWHERE);
    assert_eq!(trial.structure().count(PAIR).expect("a count"), 1);
}

fn remove(fixture: &dyn Fixture) {
    let subject = fixture.fresh(Side::Old);
    subject
        .transact(&[Write::Insert(row(1, "x", Some("t"), 1))])
        .expect("a write");
    let before = subject.declaration();
    let trial = Trial {
        role: role(Side::Old),
        subject,
    };
    assert!(trial.switch().standing().expect("an answer").is_none());
    trial
        .structure()
        .expand(&standing(Side::Old))
        .expect("expand");
    assert_ne!(trial.subject.declaration(), before);
    trial.write(&[Write::Update(key(1, "x"), row(1, "x", Some("u"), 2))]);
    trial
        .switch()
        .fence(standing(Side::Old).epoch, Duration::from_secs(600))
        .expect("a fence");
    for _ in 0..2 {
        trial
            .structure()
            .remove(Remove::Bookkeeping)
            .expect("removed, and again");
        assert_eq!(trial.subject.declaration(), before);
    }
    assert!(trial.switch().standing().expect("an answer").is_none());
    trial.write(&[Write::Replace(row(2, "x", Some("u"), 3))]);
    assert_eq!(trial.subject.rows(), [row(2, "x", Some("u"), 3)]);
    trial
        .structure()
        .expand(&standing(Side::Old))
        .expect("and it can begin anew");
}

fn remove_closed(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::New);
    trial.structure().remove(Remove::Created).expect("removed");
    trial.write(&[Write::Insert(row(1, "x", None, 1))]);
    assert_eq!(
        trial.subject.rows().len(),
        1,
        "the change did not create this table"
    );
}

fn remove_tables(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let position = trial
        .switch()
        .fence(standing(Side::Old).epoch, Duration::from_secs(600));
    let position = position.expect("a fence");
    trial
        .switch()
        .seal(standing(Side::Old).epoch, &position, &place(0))
        .expect("a seal");
    trial.structure().remove(Remove::Tables).expect("removed");
    let found = trial.end().inspect(TABLE, &[]).expect("an answer");
    assert!(found.is_none());
    trial.structure().remove(Remove::Tables).expect("and again");
}

fn inspect(fixture: &dyn Fixture) {
    let trial = Trial::new(fixture, Side::Old);
    let names = ["a".to_owned(), "b".to_owned()];
    let found = trial
        .end()
        .inspect(TABLE, &names)
        .expect("an answer")
        .expect("a table");
    assert_eq!(found.primary_key, names);
    assert_eq!(found.shape.key, items().key);
    let fields = |shape: &contraflow_core::shape::Shape| {
        let name = |field: &contraflow_core::shape::Field| (field.name.clone(), field.nullable);
        shape.fields.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(fields(&found.shape), fields(&items()));
    assert_eq!(found.declared.len(), found.shape.fields.len());
    assert!(
        trial
            .end()
            .inspect("nothing", &[])
            .expect("an answer")
            .is_none()
    );
}

fn check(fixture: &dyn Fixture) {
    let subject = fixture.fresh(Side::Old);
    let mut wanted = role(Side::Old).as_ref().clone();
    let found = |wanted: &_| problems(&subject.end().check(wanted).expect("an answer"));
    assert_eq!(found(&wanted), []);
    wanted.tables[0].name = "nothing".to_owned();
    let problems = found(&wanted);
    assert!(
        problems
            .iter()
            .any(|problem| problem.code == Code::TABLE_MISSING)
    );
}
