//! Fresh files, the application's connections to them, and a real clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::end::End;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::record::{Key, Row};
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_ends::sqlite::Sqlite;
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::conformance::{Fixture, Refused, Subject, Write};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

/// The table of the suite, with a row id beside its key.
pub(super) const ROWID_TABLE: &str = "create table items (a integer not null, b text not null, tag text, \
     n integer not null, primary key (a, b)); create unique index items_tag on items (tag)";

/// The same, stored under its key.
pub(super) const WITHOUT_ROWID_TABLE: &str = "create table items (a integer not null, b text not null, \
     tag text unique, n integer not null, primary key (a, b)) without rowid";

/// A table of no change, with numbers of its own.
pub(super) const NEIGHBOUR: &str = "create table neighbour (id integer primary key autoincrement, x); \
     insert into neighbour (x) values (1), (2)";

/// Makes files by a script.
pub(super) struct Files(String);

impl Files {
    pub(super) fn with(script: &str) -> Files {
        Files(script.to_owned())
    }
}

impl Fixture for Files {
    fn fresh(&self, _side: Side) -> Box<dyn Subject> {
        Box::new(File::new(&self.0))
    }
}

/// A file and its application.
pub(super) struct File {
    _folder: TempDir,
    pub(super) path: PathBuf,
    pub(super) db: Connection,
}

impl File {
    pub(super) fn new(script: &str) -> File {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("app.db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db.execute_batch(script).unwrap();
        File {
            _folder: folder,
            path,
            db,
        }
    }

    /// The end with a clock that stands still: our own pauses take no time.
    pub(super) fn sqlite(&self, probe: Arc<dyn Probe>) -> Sqlite {
        Sqlite::new(&self.path, Arc::new(SimClock::default()), probe)
    }

    /// Another connection of the application.
    pub(super) fn connect(&self) -> Connection {
        let db = Connection::open(&self.path).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db
    }

    pub(super) fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.db.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn bound(values: &[Value]) -> Vec<rusqlite::types::Value> {
    let bound = |value: &Value| match value {
        Value::Int(number) => rusqlite::types::Value::Integer(*number),
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
        _ => rusqlite::types::Value::Null,
    };
    values.iter().map(bound).collect()
}

fn statement(db: &Connection, write: &Write) -> rusqlite::Result<usize> {
    let key = |key: &Key| bound(&key.0);
    match write {
        Write::Insert(row) => db.execute(
            "insert into items values (?, ?, ?, ?)",
            params_from_iter(bound(&row.0)),
        ),
        Write::Update(at, row) => db.execute(
            "update items set a = ?, b = ?, tag = ?, n = ? where a = ? and b = ?",
            params_from_iter(bound(&row.0).into_iter().chain(key(at))),
        ),
        Write::Delete(at) => db.execute(
            "delete from items where a = ? and b = ?",
            params_from_iter(key(at)),
        ),
        Write::Replace(row) => db.execute(
            "insert or replace into items values (?, ?, ?, ?)",
            params_from_iter(bound(&row.0)),
        ),
    }
}

impl Subject for File {
    fn end(&self) -> Arc<dyn End> {
        Arc::new(self.sqlite(Arc::new(Silent)))
    }

    fn transact(&self, writes: &[Write]) -> Result<(), Refused> {
        self.db.execute_batch("begin immediate").unwrap();
        for write in writes {
            if let Err(error) = statement(&self.db, write) {
                self.db.execute_batch("rollback").unwrap();
                return Err(if error.to_string().contains("CF0302") {
                    Refused::Guard
                } else {
                    Refused::Conflict
                });
            }
        }
        self.db.execute_batch("commit").unwrap();
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let sql = "select a, b, tag, n from items order by a, b";
        let mut statement = self.db.prepare(sql).unwrap();
        let cell = |cell: ValueRef<'_>| match cell {
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8(text.to_vec()).unwrap()),
            _ => Value::Null,
        };
        let rows = statement
            .query_map([], |row| {
                (0..4)
                    .map(|i| row.get_ref(i).map(cell))
                    .collect::<Result<_, _>>()
                    .map(Row)
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn declaration(&self) -> String {
        // `sqlite_sequence` cannot be dropped once any `autoincrement` was there.
        let sql = "select group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10))
                   from (select * from sqlite_schema where name <> 'sqlite_sequence' order by name)";
        let schema: String = self.one(sql);
        let there: bool =
            self.one("select exists (select 1 from sqlite_schema where name = 'sqlite_sequence')");
        let sequences: Option<String> = if there {
            self.one("select group_concat(name || seq) from (select * from sqlite_sequence order by name)")
        } else {
            None
        };
        format!("{schema}\n{}", sequences.unwrap_or_default())
    }

    fn pass(&self, time: Duration) {
        // SQLite's own clock decides, and it does not stand still.
        let now = || self.one::<f64>("select julianday('now') * 86400.0");
        let until = now() + time.as_secs_f64() + 0.01;
        while now() < until {
            std::thread::yield_now();
        }
        SimClock::default().sleep(time);
    }
}
