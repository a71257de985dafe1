//! What happens to a table while a range of it has been read and is not written yet.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind};
use contraflow_core::lease::Epoch;
use contraflow_core::side::Direction;
use contraflow_engine::flow::{Flow, Stepped};

use super::between::{Between, Read, offer, settle};

const TABLE: &str = "create table t (id int primary key, v text)";
const ROWS: &str = "insert into t select n, 'row ' || n from generate_series(1, 20) n";
const FORWARD: Direction = Direction::Forward;

/// When a key moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    BeforeBoth,
    Between,
    AfterBoth,
}

/// Reads both halves of the table under windows that stay open, moves a key from one to the other
/// meanwhile, and writes them in either order. `follows`: the move is received while it is open.
fn moved((from, to): (i32, i32), moves: When, direction: Direction, follows: bool) {
    let between = Between::new(TABLE, ROWS);
    if direction == Direction::Reverse {
        let mut flow = between.flow(FORWARD);
        let whole = between.read(&flow, (0, None), 100);
        offer(&mut flow, whole);
        settle(&mut flow).unwrap();
        between.old.turn_to(&between.new);
    }
    let mut flow = between.flow(direction);
    let step = |now: When, flow: &mut Flow| {
        if now == moves {
            let sql = format!("update t set id = {to}, v = 'moved' where id = {from}");
            between.source(direction).database.run(&sql);
        }
        if follows {
            flow.step().unwrap();
        }
    };
    // Opened before anything moves.
    let open = between.read(&flow, (7, None), 1);
    step(When::BeforeBoth, &mut flow);
    let low = between.read(&flow, (0, None), 10);
    step(When::Between, &mut flow);
    let high = between.read(&flow, (1, low.through.as_ref()), 100);
    step(When::AfterBoth, &mut flow);
    drop(open);
    for read in [low, high] {
        offer(&mut flow, read);
    }
    settle(&mut flow).unwrap();
    assert!(
        between.alike(),
        "{from} to {to}, {moves:?}, {direction:?}, {follows}"
    );
}

#[test]
fn a_key_that_moves_to_another_range_in_an_open_window_is_there_once() {
    for moves in [When::BeforeBoth, When::Between, When::AfterBoth] {
        for follows in [false, true] {
            moved((5, 105), moves, FORWARD, follows);
            moved((15, 0), moves, FORWARD, follows);
        }
    }
}

#[test]
fn a_key_that_moves_in_an_open_window_on_the_way_back_is_there_once() {
    for moves in [When::BeforeBoth, When::Between, When::AfterBoth] {
        moved((5, 105), moves, Direction::Reverse, true);
        moved((15, 0), moves, Direction::Reverse, false);
    }
}

/// Reads the table, runs a script before that or after, and says what stops the flow. Rows that were
/// read after the script are not written then. Those read before it may be, all of them: the feed can
/// pass what they show before it comes to the script. Nothing of the script is.
fn stopped(script: &str, before: bool) -> Error {
    let between = Between::new(TABLE, ROWS);
    let mut flow = between.flow(FORWARD);
    let read = |flow: &Flow| -> Read { between.read(flow, (0, None), 100) };
    let early = (!before).then(|| read(&flow));
    between.old.database.run(script);
    let late = before.then(|| read(&flow));
    for read in early.into_iter().chain(late) {
        offer(&mut flow, read);
    }
    let error = settle(&mut flow).unwrap_err();
    let new = |sql: &str| between.new.database.one(sql);
    let written = new("select count(*)::text from t");
    assert!(written == "0" || (!before && written == "20"), "{written}");
    assert_eq!(new("select count(*)::text from t where v = 'after'"), "0");
    error
}

#[test]
fn a_truncation_in_an_open_window_holds_and_nothing_behind_it_is_written() {
    for before in [true, false] {
        let error = stopped("truncate t; insert into t values (1, 'after')", before);
        let told = (error.code, error.kind);
        assert_eq!(told, (Code::TABLE_TRUNCATED, Kind::Hold));
    }
}

#[test]
fn an_alteration_in_an_open_window_holds_and_nothing_behind_it_is_written() {
    for script in [
        "alter table t add more int; update t set more = 1 where id = 7",
        "alter table t alter v type varchar(50); update t set v = 'after' where id = 7",
    ] {
        let error = stopped(script, false);
        let told = (error.code, error.kind);
        assert_eq!(told, (Code::SHAPE_CHANGED, Kind::Hold), "{script}");
    }
}

/// No write tells of it in the log; the fence looks for itself.
#[test]
fn an_alteration_that_nobody_writes_after_stops_a_turn() {
    let between = Between::new(TABLE, ROWS);
    let sql = "alter table t alter v type varchar using v || ' anew'";
    between.old.database.run(sql);
    let limit = std::time::Duration::from_secs(5);
    let error = between.old.switch().fence(Epoch::FIRST, limit).unwrap_err();
    assert_eq!((error.code, error.kind), (Code::SHAPE_CHANGED, Kind::Hold));
}

/// While a range is due its progress is not written; when nothing follows it is, soon and not with
/// whatever comes next.
#[test]
fn a_checkpoint_that_a_range_has_put_off_is_written_all_the_same() {
    let between = Between::new(TABLE, ROWS);
    let mut flow = between.flow(FORWARD);
    let whole = between.read(&flow, (0, None), 100);
    offer(&mut flow, whole);
    while !matches!(flow.step().unwrap(), Stepped::Copied(_)) {}
    let applied = flow.applied().clone();
    let mut apply = between.new.end.apply(&between.new.role).unwrap();
    let mut written = || apply.checkpoint(FORWARD).unwrap();
    while written().as_ref() != Some(flow.applied()) {
        flow.step().unwrap();
    }
    assert_eq!(flow.applied(), &applied, "only with what came next");
}
