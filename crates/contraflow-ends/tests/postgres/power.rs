//! What a server that loses its power still has of what it was given.

use std::process::Command;
use std::sync::Arc;

use contraflow_core::end::{Apply, End, Progress, Range, Resume};
use contraflow_core::lease::{LaneId, Lease};
use contraflow_core::position::Position;
use contraflow_core::record::{Key, Record};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use super::carried::{Carried, PAIR, WHOLE, put};
use super::server::Server;

const TABLE: &str = "create table t (id int primary key, v text)";

/// A mirror whose server writes nothing to disk that nobody waits for, and by itself waits for
/// nothing.
struct Mirror {
    server: Server,
    new: Carried,
}

impl Mirror {
    fn new() -> Mirror {
        let server = Server::start_with(&["synchronous_commit=off"]);
        let new = Carried::on(&server, TABLE, Side::New);
        Mirror { server, new }
    }

    fn claim(&self) -> (Box<dyn Apply>, Lease, Resume) {
        let end: Arc<dyn End> = self.new.database.again();
        let mut apply = end.apply(&self.new.role).unwrap();
        let (lease, resume) = apply.claim(LaneId(0), Direction::Forward).unwrap();
        (apply, lease, resume)
    }

    /// Stops the process that writes what nobody waits for.
    fn writes_late(&self) {
        let writer = "select pid::text from pg_stat_activity where backend_type = 'walwriter'";
        let writer = self.new.database.one(writer);
        let stopped = Command::new("kill").args(["-STOP", &writer]).status();
        assert!(stopped.unwrap().success());
    }

    /// Loses everything that was not on disk, and says what is there.
    fn after_loss(self) -> (Resume, String) {
        let Mirror { mut server, new } = self;
        server.loses_power();
        let rows = "select coalesce(string_agg(id::text, ' ' order by id), '') from t";
        let mut app = new.database.connect();
        let rows = app.query_one(rows, &[]).unwrap().get(0);
        let mirror = Mirror { server, new };
        (mirror.claim().2, rows)
    }
}

fn rows(ids: [i64; 2]) -> Vec<Record> {
    ids.iter().map(|id| put(*id, "carried")).collect()
}

/// A range that is not the last one.
fn first() -> Range {
    Range {
        through: Some(Key(vec![Value::Int(2)])),
        ..WHOLE
    }
}

/// What is confirmed when it was applied is on disk by then, and everything before it.
#[test]
fn a_batch_that_was_applied_survives_a_loss_of_power_and_so_does_what_came_before() {
    let mirror = Mirror::new();
    let (mut apply, mut lease, _) = mirror.claim();
    mirror.writes_late();
    let (at, range) = (Position::new([7]), first());
    let (through, seen) = (&at, &at);
    for (ids, progress) in [
        (
            [1, 2],
            Progress::Chunk {
                range: &range,
                seen,
            },
        ),
        ([3, 4], Progress::Advance { through, seen }),
    ] {
        apply.apply(&rows(ids), &[], &progress, &mut lease).unwrap();
    }
    let (resume, rows) = mirror.after_loss();
    assert_eq!(rows, "1 2 3 4");
    assert_eq!(resume.position, Some(at));
    assert_eq!(resume.chunks, [(PAIR, Some(range))]);
}

/// Behind the last range the copy is told to be done.
#[test]
fn the_last_range_survives_a_loss_of_power() {
    let mirror = Mirror::new();
    let (mut apply, mut lease, _) = mirror.claim();
    mirror.writes_late();
    let seen = &Position::new([7]);
    let progress = Progress::Chunk {
        range: &WHOLE,
        seen,
    };
    apply
        .apply(&rows([1, 2]), &[], &progress, &mut lease)
        .unwrap();
    let (resume, rows) = mirror.after_loss();
    assert_eq!(
        (rows.as_str(), resume.chunks),
        ("1 2", vec![(PAIR, Some(WHOLE))])
    );
}

/// One that is not the last may be lost, but not its rows without its mark or the other way round:
/// it is read again then.
#[test]
fn a_range_that_is_lost_with_the_power_is_lost_with_its_mark() {
    let mirror = Mirror::new();
    let (mut apply, mut lease, _) = mirror.claim();
    mirror.writes_late();
    let (seen, range) = (&Position::new([7]), first());
    let progress = Progress::Chunk {
        range: &range,
        seen,
    };
    apply
        .apply(&rows([1, 2]), &[], &progress, &mut lease)
        .unwrap();
    let (resume, rows) = mirror.after_loss();
    let there = [(PAIR, Some(range))];
    let lost = [(PAIR, None)];
    let expected: &[_] = if rows.is_empty() { &lost } else { &there };
    assert_eq!(resume.chunks, expected, "{rows:?}");
}
