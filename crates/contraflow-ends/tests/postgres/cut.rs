//! A network that breaks in the moment when it matters most: around a commit.

use contraflow_core::code::Code;
use contraflow_core::end::{Apply, End, Progress, Range, Resume};
use contraflow_core::error::Kind;
use contraflow_core::lease::{Epoch, Gate, LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::record::{Key, Record};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;
use contraflow_testkit::proxy::Cut;

use super::carried::{Carried, PAIR, WHOLE, put};

/// Every row that is written is counted, by a trigger that fires for us too.
const COUNTED: &str = "create table t (id int primary key, v text);
    create table written (id int);
    create function count_it() returns trigger language plpgsql as
      $$ begin insert into public.written values (new.id); return new; end $$;
    create trigger counts before insert or update on t for each row execute function count_it();
    alter table t enable always trigger counts";

fn rows() -> Vec<Record> {
    (1..=3).map(|id| put(id, "carried")).collect()
}

fn claim(apply: &mut dyn Apply) -> (Lease, Resume) {
    apply.claim(LaneId(0), Direction::Forward).unwrap()
}

/// Applies once, loses the connection around its commit, and goes on as a flow does: it claims the
/// lane again and does what is not done yet. Says whether the first time had done it.
fn carried_through(cut: Cut, progress: &Progress<'_>, is_done: impl Fn(&Resume) -> bool) -> bool {
    let new = Carried::new(COUNTED, Side::New);
    let (proxy, end) = new.database.afar();
    let mut apply = end.apply(&new.role).unwrap();
    let (mut lease, resume) = claim(&mut *apply);
    assert!(!is_done(&resume));
    proxy.cut_at(b"COMMIT\0", cut);
    let error = apply.apply(&rows(), &[], progress, &mut lease).unwrap_err();
    let told = (error.kind, error.code);
    assert_eq!(told, (Kind::Transient, Code::END_UNREACHABLE));
    assert_eq!(proxy.cuts(), 1, "the commit was not cut");
    let error = apply.apply(&rows(), &[], progress, &mut lease).unwrap_err();
    assert_eq!(error.code, Code::END_UNREACHABLE, "without a claim");
    let (mut lease, resume) = claim(&mut *apply);
    let done = is_done(&resume);
    if !done {
        apply.apply(&rows(), &[], progress, &mut lease).unwrap();
    }
    let found = new
        .database
        .one("select string_agg(id || v, ' ' order by id) from t");
    assert_eq!(found, "1carried 2carried 3carried");
    let written = new
        .database
        .one("select string_agg(id::text, ' ' order by id) from written");
    assert_eq!(written, "1 2 3", "more or less than once");
    done
}

/// Cuts the commit of a batch and that of a range, and says of both whether they are there after
/// all, each exactly as it was given.
fn both_carried_through(cut: Cut) -> [bool; 2] {
    let at = &Position::new([7]);
    let range = &Range {
        through: Some(Key(vec![Value::Int(3)])),
        ..WHOLE
    };
    let (through, seen) = (at, at);
    let batch = carried_through(cut, &Progress::Advance { through, seen }, |resume| {
        resume.position.as_ref() == Some(at)
    });
    let chunk = carried_through(cut, &Progress::Chunk { range, seen }, |resume| {
        resume.chunks == [(PAIR, Some(range.clone()))]
    });
    [batch, chunk]
}

#[test]
fn a_commit_that_never_reached_the_server_is_applied_again_and_only_then() {
    assert_eq!(both_carried_through(Cut::Question), [false; 2]);
}

#[test]
fn a_commit_whose_answer_was_lost_is_not_applied_twice() {
    assert_eq!(both_carried_through(Cut::Answer), [true; 2]);
}

/// Fences an end, cuts the commit of its seal, and says what became of its gate.
fn sealed(cut: Cut) -> Gate {
    let old = Carried::new(COUNTED, Side::Old);
    let (proxy, end) = old.database.afar();
    let mut switch = end.switch(&old.role).unwrap();
    let limit = std::time::Duration::from_secs(60);
    let fence = switch.fence(Epoch::FIRST, limit).unwrap();
    proxy.cut_at(b"commit\0", cut);
    let error = switch
        .seal(Epoch::FIRST, &fence, &Position::new([]))
        .unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert_eq!(proxy.cuts(), 1, "the commit was not cut");
    // A lift waits for the session of the fence, which may be committing still.
    let lifted = switch.lift(Epoch::FIRST);
    let gate = switch.standing().unwrap().unwrap().gate;
    assert_eq!(lifted.is_ok(), gate == Gate::Open);
    let writes = old
        .database
        .connect()
        .batch_execute("insert into t values (9, 'app')");
    assert_eq!(
        writes.is_ok(),
        gate == Gate::Open,
        "the guard says otherwise"
    );
    gate
}

#[test]
fn a_seal_that_was_cut_is_there_or_not_and_the_end_says_which() {
    assert_eq!(sealed(Cut::Question), Gate::Open);
    assert_eq!(sealed(Cut::Answer), Gate::Closed);
}
