//! Servers that lose their power, and runs that hang while another one takes their place.

use contraflow_core::probe::Point;

use super::bank::BANK;
use super::servers::Server;
use super::stage::{Layout, Plan, Stage};
use crate::live::process::{Process, until};

/// Time to do something while history is copied.
const SLOW: Plan = Plan {
    limits: "{ fence_max: 5s, rate_rows_per_s: 500 }",
    ..BANK
};

/// Kills the server of a side under a run, and starts it again.
fn loses(stage: &Stage, side: &str, server: &Server) {
    server.kill();
    let named = format!("end: {side}");
    stage.says(&["status"], 2, &["CF0101", &named]);
    server.comes_back();
}

/// Waits until so many rows of history have arrived.
fn copies(stage: &Stage, rows: i64) {
    until("history is being copied", || {
        let there = stage.number("new", "select count(*) from accounts");
        assert!(there.is_none_or(|there| there < 3_000), "it was too fast");
        there.is_some_and(|there| there >= rows)
    });
}

/// Asks until it is granted: a flow that has just lost its server proves nothing yet.
fn granted(stage: &Stage, verb: &str) {
    until(verb, || {
        let mut asked = stage.start(&[verb], &[]);
        let code = asked.wait();
        assert!(matches!(code, Some(0 | 1)), "{}", asked.err());
        code == Some(0)
    });
}

/// A run outlives its servers: in the copy, while it follows, and after each turn.
fn outlives(servers: [&'static Server; 2], layout: Layout, sides: &[&str]) {
    let stage = Stage::on(servers, SLOW, layout);
    let load = stage.load();
    let mut run = stage.run(None);
    let loses = |side: &&str| loses(&stage, side, servers[usize::from(*side == "new")]);
    for (n, side) in (1..).zip(sides) {
        copies(&stage, 700 * n);
        loses(side);
    }
    run.reaches("follow");
    for (verb, authority) in [("cutover", "new"), ("rollback", "old")] {
        sides.iter().for_each(loses);
        granted(&stage, verb);
        load.pause();
        run.asks(&["verify"]);
        stage.audit(authority);
        load.resume();
    }
    assert!(run.process.runs(), "{}", run.process.err());
}

#[test]
fn a_run_outlives_the_loss_of_either_server() {
    let servers = [Server::own(), Server::own()];
    outlives(servers, Layout::TwoDatabases, &["old", "new"]);
}

#[test]
fn a_run_outlives_the_loss_of_the_server_of_both_ends() {
    let server = Server::own();
    outlives([server, server], Layout::OneDatabase, &["old"]);
}

/// Starts a run once the other one counts as silent.
fn second_instance(stage: &Stage) -> Process {
    let mut second = stage.start(&["run"], &[]);
    until("the silent run is taken over", || {
        if !second.runs() {
            assert!(second.err().contains("CF0306"), "{}", second.err());
            second = stage.start(&["run"], &[]);
        }
        second.runs() && stage.status()["running"]["pid"] == second.id()
    });
    second
}

/// Every row of both ends and of our own tables.
fn everything(stage: &Stage) -> [String; 2] {
    let ours = "select query_to_xml('select * from contraflow.' || relname || ' order by 1, 2, 3',
                  true, true, '') from pg_class
                where relnamespace = 'contraflow'::regnamespace and relkind = 'r' order by relname";
    ["old", "new"].map(|side| stage.rows(side) + &stage.sql(side, ours))
}

/// A run hangs at a point, a second one takes its place and goes through a turn; the first one
/// comes back: it ends with an error, and nothing that it had in hand is written.
fn takes_over(point: Point) {
    let stage = Stage::new(SLOW, Layout::TwoDatabases);
    let load = stage.load();
    // A reader stops wherever the flow is: not inside a transaction, which would be waited for.
    let alone = point == Point::CHUNK_READ;
    if alone {
        load.pause();
    }
    let at = format!("{}:1", point.0);
    let mut zombie = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    zombie.until_stopped();
    if alone {
        load.resume();
    }
    let mut second = second_instance(&stage);
    until("the second one follows", || {
        stage.status()["phase"] == "follow"
    });
    for (verb, authority) in [("cutover", "new"), ("rollback", "old")] {
        stage.says(&[verb], 0, &[]);
        load.pause();
        stage.says(&["verify"], 0, &[]);
        stage.audit(authority);
        load.resume();
    }
    load.pause();
    stage.says(&["verify"], 0, &[]);
    second.stand_still();
    let before = everything(&stage);
    zombie.signal("-CONT");
    assert_eq!(zombie.wait(), Some(2), "{}", zombie.err());
    assert!(zombie.err().contains("CF0301"), "{}", zombie.err());
    assert!(everything(&stage) == before, "the first one wrote");
    second.signal("-CONT");
    load.resume();
    stage.says(&["cutover"], 0, &[]);
    load.pause();
    stage.says(&["verify"], 0, &[]);
    stage.audit("new");
}

#[test]
fn a_run_that_was_stopped_with_a_range_in_hand_writes_nothing_when_it_comes_back() {
    takes_over(Point::CHUNK_READ);
}

#[test]
fn a_run_that_was_stopped_with_a_batch_in_hand_writes_nothing_when_it_comes_back() {
    takes_over(Point::FEED_RECEIVED);
}

/// Its session keeps the lane: whoever takes its place waits until it goes on, or until the server
/// ends the transaction that stands still.
#[test]
fn a_run_that_was_stopped_inside_a_transaction_is_waited_for() {
    let stage = Stage::new(SLOW, Layout::TwoDatabases);
    let load = stage.load();
    let at = format!("{}:1", Point::COMMIT_BEFORE.0);
    let mut zombie = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    zombie.until_stopped();
    let _second = second_instance(&stage);
    // On a machine that is busy for a minute, the server comes first.
    let waits = "select count(*) filter (where wait_event_type = 'Lock')
                   + (count(*) filter (where state = 'idle in transaction') = 0)::int
                 from pg_stat_activity where datname = current_database()
                   and application_name = 'contraflow'";
    until("the second one waits, or need not any more", || {
        stage
            .number("new", waits)
            .is_some_and(|waiting| waiting > 0)
    });
    zombie.signal("-CONT");
    assert_eq!(zombie.wait(), Some(2), "{}", zombie.err());
    assert!(zombie.err().contains("CF0301"), "{}", zombie.err());
    until("the second one follows", || {
        stage.status()["phase"] == "follow"
    });
    stage.says(&["cutover"], 0, &[]);
    load.pause();
    stage.says(&["verify"], 0, &[]);
    stage.audit("new");
}
