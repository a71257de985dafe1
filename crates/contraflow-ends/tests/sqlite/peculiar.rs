//! What only SQLite has: `replace`, row ids, collations, counters, and a journal that is pruned.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{
    Apply, End, Feed, Most, Progress, Role, Span, Start, Step, Structure, Switch, Table,
};
use contraflow_core::error::{Kind, Result};
use contraflow_core::lease::{Epoch, Gate, LaneId, Standing};
use contraflow_core::position::Position;
use contraflow_core::preflight::problems;
use contraflow_core::probe::Silent;
use contraflow_core::record::{Change, Image, Key, PairId, Record, Row};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use crate::one_table::one_table;

use super::files::File;

/// More than any table here has.
const MOST: Most = Most {
    rows: 10,
    bytes: 1 << 20,
};

const PAIR: PairId = PairId(0);
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A file that carries a change of its table `t`, whose key is the named columns.
pub(super) struct Carried {
    pub(super) file: File,
    role: Arc<Role>,
}

impl Carried {
    pub(super) fn new(script: &str, key: &[&str], side: Side) -> Carried {
        let file = File::new(script);
        let end = file.sqlite(Arc::new(Silent));
        let role = Arc::new(one_table(&end, key, side));
        let gate = match side {
            Side::Old => Gate::Open,
            Side::New => Gate::Closed,
        };
        let standing = Standing {
            gate,
            epoch: Epoch::FIRST,
            ledger: "l".to_owned(),
            mapping: "m".to_owned(),
        };
        end.structure(&role).unwrap().expand(&standing).unwrap();
        Carried { file, role }
    }

    fn end(&self) -> impl End + use<> {
        self.file.sqlite(Arc::new(Silent))
    }

    pub(super) fn feed(&self) -> Box<dyn Feed> {
        let mut feed = self.end().feed(&self.role).unwrap();
        feed.open(&Start::Earliest).unwrap();
        feed
    }

    pub(super) fn switch(&self) -> Box<dyn Switch> {
        self.end().switch(&self.role).unwrap()
    }

    pub(super) fn apply(&self) -> Box<dyn Apply> {
        self.end().apply(&self.role).unwrap()
    }

    pub(super) fn structure(&self) -> Box<dyn Structure> {
        self.end().structure(&self.role).unwrap()
    }

    /// Runs a script as the application does.
    pub(super) fn run(&self, script: &str) {
        self.file.db.execute_batch(script).unwrap();
    }

    /// A feed of its own behind a place.
    pub(super) fn reopened(&self, place: &Position) -> Result<()> {
        let mut feed = self.end().feed(&self.role).unwrap();
        feed.open(&Start::After(place.clone()))
    }

    /// Who uses the table.
    pub(super) fn users(&self) -> Vec<String> {
        let users = self.structure().users().unwrap().unwrap();
        users.into_iter().map(|user| user.who).collect()
    }

    pub(super) fn journal(&self) -> String {
        format!("\"_contraflow_odd_{}_journal\"", self.role.side)
    }
}

/// The first value of each key, and whether its row is there, in some order.
pub(super) fn touched(feed: &mut dyn Feed) -> Vec<(Value, bool)> {
    let mut found = Vec::new();
    loop {
        let batch = feed.next(100).unwrap();
        if batch.events.is_empty() {
            return found;
        }
        for event in batch.events {
            found.retain(|(key, _)| *key != event.key.0[0]);
            found.push((event.key.0[0].clone(), event.image.is_some()));
        }
    }
}

pub(super) fn int(number: i64) -> Value {
    Value::Int(number)
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn replace_takes_victims_through_every_unique_index() {
    let old = Carried::new(
        "create table t (id integer primary key, u text, v text collate nocase, w, x,
           unique (u), unique (w, x));
         create unique index tv on t (v);
         insert into t values (1,'a','a',1,1),(2,'b','b',2,2),(3,'c','c',3,3),(4,'d','d',4,4)",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    old.run("insert or replace into t values (1, 'b', 'C', 4, 4)");
    let found = touched(feed.as_mut());
    for victim in [2, 3, 4] {
        assert!(
            found.contains(&(int(victim), false)),
            "row {victim} is gone"
        );
    }
    assert!(found.contains(&(int(1), true)));
    // A null never conflicts, and half of a composite value does not either.
    old.run("insert into t values (5,null,null,5,5),(6,null,null,6,6)");
    old.run("update or replace t set w = 6 where id = 5");
    old.run("update or replace t set x = 6 where id = 5");
    let found = touched(feed.as_mut());
    assert!(found.contains(&(int(6), false)));
    assert!(found.contains(&(int(5), true)));
}

#[test]
fn replace_takes_victims_through_a_row_id_that_is_not_the_key() {
    let old = Carried::new(
        "create table t (id integer primary key, code text not null unique);
         insert into t values (1, 'a'), (2, 'b'), (3, 'c')",
        &["code"],
        Side::Old,
    );
    let mut feed = old.feed();
    old.run("insert or replace into t values (1, 'z')");
    let found = touched(feed.as_mut());
    assert!(
        found.contains(&(text("a"), false)),
        "the row with that row id is gone"
    );
    old.run("update or replace t set id = 3 where code = 'b'");
    let found = touched(feed.as_mut());
    assert!(found.contains(&(text("c"), false)));
    old.run("insert into t (code) values ('n')");
    assert_eq!(touched(feed.as_mut()), [(text("n"), true)]);
}

#[test]
fn a_row_id_that_is_used_again_is_another_row() {
    let old = Carried::new(
        "create table t (id integer primary key, u text unique); insert into t values (1, 'a')",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    old.run("delete from t; insert into t (u) values ('b')");
    let batch = feed.next(100).unwrap();
    assert_eq!(batch.events.len(), 1);
    assert_eq!(batch.events[0].op, contraflow_core::record::Op::Replace);
    // Taken by `replace` through another value, and used again.
    old.run("insert into t values (2, 'c'); insert or replace into t values (2, 'b')");
    old.run("insert into t values (1, 'd')");
    let batch = feed.next(100).unwrap();
    let first = batch.events.iter().find(|e| e.key.0[0] == int(1)).unwrap();
    assert_eq!(first.op, contraflow_core::record::Op::Replace);
}

#[test]
fn keys_of_one_collation_are_told_apart() {
    let schema = "create table t (k text collate nocase primary key, n)";
    let (old, new) = (
        Carried::new(
            &format!("{schema}; insert into t values ('A', 1)"),
            &["k"],
            Side::Old,
        ),
        Carried::new(schema, &["k"], Side::New),
    );
    let mut feed = old.feed();
    old.run("update t set k = 'a'");
    let found = touched(feed.as_mut());
    assert!(found.contains(&(text("A"), false)));
    assert!(found.contains(&(text("a"), true)));
    let mut apply = new.apply();
    let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
    let at = Position::new(1_u64.to_be_bytes());
    let progress = Progress::Keys { seen: &at };
    let put = |k: &str, n| {
        let row = Row(vec![text(k), int(n)]);
        record(
            k,
            Change::Put(Image {
                row,
                ..Image::default()
            }),
        )
    };
    let mut carry = |records: &[Record]| {
        let applied = apply.apply(records, &[], &progress, &mut lease).unwrap();
        assert_eq!(applied.letters, 0);
        let sql = "select coalesce(group_concat(k || n), '') from t";
        new.file.one::<String>(sql)
    };
    assert_eq!(carry(&[put("A", 1)]), "A1");
    assert_eq!(carry(&[record("A", Change::Delete), put("a", 1)]), "a1");
    assert_eq!(
        carry(&[record("a", Change::Delete), put("A", 2)]),
        "A2",
        "the key is written as the authority has it"
    );
    // A key that is not at the source any more must not take its twin along.
    assert_eq!(carry(&[record("a", Change::Delete)]), "A2");
}

fn record(key: &str, change: Change) -> Record {
    let key = Key(vec![text(key)]);
    Record {
        pair: PAIR,
        source_key: key.clone(),
        key,
        change,
    }
}

#[test]
fn a_pruned_journal_keeps_its_place() {
    let old = Carried::new(
        "create table t (id integer primary key, u)",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    for n in 1..=3 {
        old.run(&format!("insert into t values ({n}, 0)"));
    }
    let batch = feed.next(100).unwrap();
    // Whatever the pace of pruning is, everything before the checkpoint may be gone.
    old.run(&format!("delete from {} where seq < 3", old.journal()));
    let mut again = old.end().feed(&old.role).unwrap();
    again.open(&Start::After(batch.through.clone())).unwrap();
    assert_eq!(again.head().unwrap(), (batch.through.clone(), 0));
    let mut scan = old.end().scan(&old.role).unwrap();
    let chunk = scan.read(&Span::whole(PAIR), MOST, &batch.through).unwrap();
    assert_eq!(
        (chunk.since, chunk.until),
        (batch.through.clone(), batch.through)
    );
    old.run("insert into t values (9, 0)");
    assert_eq!(touched(again.as_mut()), [(int(9), true)]);
    // A place before what is left is lost, and says so.
    let error = old
        .end()
        .feed(&old.role)
        .unwrap()
        .open(&Start::After(place(1)))
        .unwrap_err();
    assert_eq!((error.code, error.kind), (Code::FEED_LOST, Kind::Hold));
}

fn place(number: u64) -> Position {
    Position::new(number.to_be_bytes())
}

#[test]
fn a_statement_that_fails_halfway_loses_no_place() {
    let old = Carried::new(
        "create table t (id integer primary key, u); insert into t values (3, 0)",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    // Two rows stay, the third fails: SQLite does not record the counter it has used up.
    let sql = "insert or fail into t values (1, 0), (2, 0), (3, 0)";
    old.file.db.execute_batch(sql).unwrap_err();
    let batch = feed.next(100).unwrap();
    assert_eq!(batch.events.len(), 2);
    assert_eq!(
        feed.next(100).unwrap().events.len(),
        0,
        "it has not lost its place"
    );
    feed.confirm(&batch.through).unwrap();
    // So much is confirmed that it is forgotten; the counter must go on all the same.
    let many = "with recursive n(i) as (select 10 union all select i + 1 from n where i < 3000)
                insert into t select i, 0 from n";
    old.run(many);
    let before = pruned(feed.as_mut());
    let sql = format!("update or fail t set u = 1 where id > 10; {sql}");
    old.file.db.execute_batch(&sql).unwrap_err();
    old.run("delete from t where id in (1, 2)");
    old.file
        .db
        .execute_batch("insert or fail into t values (1, 0), (2, 0), (3, 0)")
        .unwrap_err();
    let after = pruned(feed.as_mut());
    assert!(old.end().reached(&after, &before) && after != before);
    old.run("insert into t values (9003, 0)");
    assert_eq!(touched(feed.as_mut()), [(int(9003), true)]);
}

/// Receives and confirms everything.
fn pruned(feed: &mut dyn Feed) -> Position {
    loop {
        let batch = feed.next(10_000).unwrap();
        feed.confirm(&batch.through).unwrap();
        if batch.events.is_empty() {
            return batch.through;
        }
    }
}

#[test]
fn counters_are_carried_over() {
    let schema = "create table t (id integer primary key autoincrement, u)";
    let old = Carried::new(schema, &["id"], Side::Old);
    let new = Carried::new(schema, &["id"], Side::New);
    old.run("insert into t values (41, 0); delete from t");
    let sequences = old.switch().sequences().unwrap();
    new.switch().flip(Epoch::FIRST.next(), &sequences).unwrap();
    new.run("insert into t (u) values (1)");
    assert_eq!(new.file.one::<i64>("select id from t"), 42);
    // The other way the counter never goes back.
    let back = Carried::new(
        &format!("{schema}; insert into t values (99, 0); delete from t"),
        &["id"],
        Side::New,
    );
    back.switch().flip(Epoch::FIRST.next(), &sequences).unwrap();
    back.run("insert into t (u) values (1)");
    assert_eq!(back.file.one::<i64>("select id from t"), 100);
}

#[test]
fn a_foreign_trigger_is_found_before_anything_is_written() {
    let file = File::new(
        "create table t (id integer primary key, u); create table log (id);
         create trigger mine after insert on t begin insert into log values (new.id); end",
    );
    let end = file.sqlite(Arc::new(Silent));
    let shape = end.inspect("t", &["id".to_owned()]).unwrap().unwrap().shape;
    let role = Role {
        change: "odd".to_owned(),
        side: Side::Old,
        tables: vec![Table {
            name: "t".to_owned(),
            native: vec![true; 2],
            declared: vec![None; 2],
            shape,
            created: false,
        }],
    };
    let problems = problems(&end.check(&role).unwrap());
    assert!(
        problems
            .iter()
            .any(|problem| problem.code == Code::TRIGGERS_PRESENT)
    );
    assert_eq!(file.one::<i64>("select count(*) from sqlite_schema"), 3);
}

#[test]
fn a_shape_that_changes_mid_flight_holds() {
    for alteration in [
        "alter table t add column more",
        "alter table t rename column u to v",
        "create unique index tu on t (u)",
        "drop table t",
    ] {
        let script = "create table t (id integer primary key, u); insert into t values (1, 0)";
        let old = Carried::new(script, &["id"], Side::Old);
        let new = Carried::new(script, &["id"], Side::New);
        let mut feed = old.feed();
        let mut scan = old.end().scan(&old.role).unwrap();
        old.run("create index harmless on t (id, u)");
        old.run("insert into t values (2, 1)");
        assert_eq!(
            feed.next(10).unwrap().events.len(),
            1,
            "an index changes no shape"
        );
        old.run(alteration);
        let held = |error: contraflow_core::error::Error| {
            assert_eq!(
                (error.code, error.kind),
                (Code::SHAPE_CHANGED, Kind::Hold),
                "{alteration}"
            );
        };
        held(feed.next(10).unwrap_err());
        held(scan.read(&Span::whole(PAIR), MOST, &place(0)).unwrap_err());
        let mut apply = new.apply();
        let (mut lease, _) = apply.claim(LaneId(0), Direction::Forward).unwrap();
        new.run(alteration);
        let at = place(1);
        let progress = Progress::Keys { seen: &at };
        held(apply.apply(&[], &[], &progress, &mut lease).unwrap_err());
    }
}

#[test]
fn triggers_speak_the_sql_of_old_applications() {
    let old = Carried::new(
        "create table t (a, b text collate nocase, c unique, primary key (a, b))",
        &["a", "b"],
        Side::Old,
    );
    let structure = old.end().structure(&old.role).unwrap();
    let steps = [Step::Expand, Step::Fence, Step::Seal, Step::Flip];
    let statements = steps.iter().flat_map(|step| structure.statements(*step));
    let mut triggers = 0;
    for sql in statements.filter(|sql| sql.starts_with("create trigger")) {
        triggers += 1;
        // Upserts, row values, `iif`, `unixepoch`, `returning`, computed messages and a filter
        // on `is distinct from` are all younger than applications that are still in use.
        for young in [
            "on conflict",
            "iif(",
            "unixepoch",
            "returning",
            "distinct",
            "->",
            ") = (",
        ] {
            assert!(!sql.contains(young), "{young}: {sql}");
        }
        for message in sql.split("raise(abort, ").skip(1) {
            assert!(message.starts_with('\''), "a literal: {sql}");
        }
    }
    // A closed end needs three: whatever gets that far is refused.
    assert_eq!(triggers, 18);
}

#[test]
fn outer_conflict_clauses_do_not_reach_the_bookkeeping() {
    let old = Carried::new(
        "create table t (id integer primary key, u unique); insert into t values (1, 1), (2, 2)",
        &["id"],
        Side::Old,
    );
    let beside = "\"_contraflow_odd_old_complement\"";
    for clause in [
        "",
        "or abort",
        "or ignore",
        "or fail",
        "or replace",
        "or rollback",
    ] {
        // A note that was left behind by a row that `replace` took.
        old.run(&format!("insert into {beside} values (0, 7, x'07')"));
        old.run(&format!("insert into {beside} values (0, 1, x'01')"));
        old.run(&format!("update {clause} t set id = 7 where id = 1"));
        let sql = format!("select hex(document) from {beside} where k0 = 7");
        assert_eq!(old.file.one::<String>(&sql), "01", "{clause}");
        let sql = format!("select count(*) from {beside}");
        assert_eq!(old.file.one::<i64>(&sql), 1, "{clause}");
        old.run(&format!(
            "update t set id = 1 where id = 7; delete from {beside}"
        ));
    }
}

#[test]
fn many_connections_write_and_nothing_is_missed() {
    let old = Carried::new(
        "create table t (id integer primary key, n)",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    let connections: Vec<_> = (0..3).map(|_| old.file.connect()).collect();
    let sum = std::thread::scope(|scope| {
        for (writer, db) in connections
            .iter()
            .enumerate()
            .map(|(i, _)| (i, old.file.connect()))
        {
            scope.spawn(move || {
                for n in 0..60 {
                    let id = (n * 7 + writer) % 20;
                    db.execute(
                        "insert into t values (?1, 1) on conflict (id) do update set n = n + 1",
                        [id as i64],
                    )
                    .unwrap();
                }
            });
        }
        let mut mirror = std::collections::HashMap::new();
        loop {
            for event in feed.next(10).unwrap().events {
                mirror.insert(event.key, event.image.unwrap().row.0[1].clone());
            }
            let number = |value: &Value| match value {
                Value::Int(number) => *number,
                _ => panic!("a number"),
            };
            let sum: i64 = mirror.values().map(number).sum();
            if sum == 180 {
                break sum;
            }
        }
    });
    assert_eq!(sum, old.file.one::<i64>("select sum(n) from t"));
}

#[test]
fn a_fence_waits_for_a_writer_that_is_under_way() {
    let old = Carried::new(
        "create table t (id integer primary key, n)",
        &["id"],
        Side::Old,
    );
    let mut feed = old.feed();
    old.run("begin immediate; insert into t values (1, 0)");
    let position = std::thread::scope(|scope| {
        let mut switch = old.switch();
        let fence = scope.spawn(move || switch.fence(Epoch::FIRST, LONG).unwrap());
        assert!(!fence.is_finished());
        let db = &old.file.db;
        db.execute_batch("insert into t values (2, 0); commit")
            .unwrap();
        fence.join().unwrap()
    });
    assert_eq!(touched(feed.as_mut()).len(), 2);
    assert_eq!(feed.received(), position, "both rows lie before the fence");
    let error = old
        .file
        .db
        .execute_batch("insert into t values (3, 0)")
        .unwrap_err();
    assert!(error.to_string().contains("CF0302"), "{error}");
}
