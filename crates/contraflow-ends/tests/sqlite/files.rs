//! Fresh files, the application's connections to them, and a real clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::end::End;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::record::{Image, Key, Row};
use contraflow_core::shape::Shape;
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_ends::sqlite::Sqlite;
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::conformance::{Fixture, Refused, Subject, TABLE, Write, items};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

/// The table of the suite, with a row id beside its key.
pub(super) const ROWID_TABLE: &str = "
     create table items (a integer not null, b text not null, tag text, \
     n integer not null, primary key (a, b)); create unique index items_tag on items (tag)";

/// The same, stored under its key.
pub(super) const WITHOUT_ROWID_TABLE: &str = "
     create table items (a integer not null, b text not null, \
     tag text unique, n integer not null, primary key (a, b)) without rowid";

/// A table of no change, with numbers of its own.
pub(super) const NEIGHBOUR: &str = "
     create table neighbour (id integer primary key autoincrement, x); \
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
        // In memory where the system has such a folder: SQLite asks the disk at every commit.
        let folder = TempDir::new_in("/dev/shm")
            .or_else(|_| TempDir::new())
            .unwrap();
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

    /// What a table holds, in the order of its key.
    pub(super) fn plain_rows(&self, table: &str, shape: &Shape) -> Vec<(Key, Image)> {
        let order: Vec<String> = shape.key.iter().map(|i| (i + 1).to_string()).collect();
        let sql = format!("select * from {table} order by {}", order.join(", "));
        let mut statement = self.db.prepare(&sql).unwrap();
        let cell = |cell: ValueRef<'_>| match cell {
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8(text.to_vec()).unwrap()),
            _ => Value::Null,
        };
        let cells = 0..shape.fields.len();
        let rows = statement.query_map([], |row| {
            let cells = cells.clone().map(|i| row.get_ref(i).map(cell));
            cells.collect::<Result<Vec<_>, _>>()
        });
        let image = |row: Vec<Value>| {
            let key = Key(shape.key_of(&row));
            let row = Row(row);
            (
                key,
                Image {
                    row,
                    ..Image::default()
                },
            )
        };
        rows.unwrap().map(|row| image(row.unwrap())).collect()
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

/// One transaction of an application on a table, statement by statement.
pub(super) fn transact(
    db: &Connection,
    table: &str,
    shape: &Shape,
    writes: &[Write],
) -> Result<(), Refused> {
    db.execute_batch("begin immediate").unwrap();
    for write in writes {
        if let Err(error) = statement(db, table, shape, write) {
            db.execute_batch("rollback").unwrap();
            return Err(if error.to_string().contains("CF0302") {
                Refused::Guard
            } else {
                Refused::Conflict
            });
        }
    }
    db.execute_batch("commit").unwrap();
    Ok(())
}

fn statement(
    db: &Connection,
    table: &str,
    shape: &Shape,
    write: &Write,
) -> rusqlite::Result<usize> {
    let every = |places: &[usize], between: &str| {
        let names = places
            .iter()
            .map(|&i| format!("{} = ?", shape.fields[i].name));
        names.collect::<Vec<_>>().join(between)
    };
    let all: Vec<usize> = (0..shape.fields.len()).collect();
    let marks = vec!["?"; all.len()].join(", ");
    let at = every(&shape.key, " and ");
    let (sql, values) = match write {
        Write::Insert(row) => (
            format!("insert into {table} values ({marks})"),
            bound(&row.0),
        ),
        Write::Update(key, row) => (
            format!("update {table} set {} where {at}", every(&all, ", ")),
            [bound(&row.0), bound(&key.0)].concat(),
        ),
        Write::Delete(key) => (format!("delete from {table} where {at}"), bound(&key.0)),
        Write::Replace(row) => (
            format!("insert or replace into {table} values ({marks})"),
            bound(&row.0),
        ),
    };
    db.execute(&sql, params_from_iter(values))
}

impl Subject for File {
    fn end(&self) -> Arc<dyn End> {
        Arc::new(self.sqlite(Arc::new(Silent)))
    }

    fn transact(&self, writes: &[Write]) -> Result<(), Refused> {
        transact(&self.db, TABLE, &items(), writes)
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.plain_rows(TABLE, &items()).into_iter();
        rows.map(|(_, image)| image.row).collect()
    }

    fn declaration(&self) -> String {
        // `sqlite_sequence` cannot be dropped once any `autoincrement` was there.
        let sql = "select group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10))
                   from (select * from sqlite_schema where name <> 'sqlite_sequence'
                         order by name)";
        let schema: String = self.one(sql);
        let there: bool =
            self.one("select exists (select 1 from sqlite_schema where name = 'sqlite_sequence')");
        let sequences: Option<String> = if there {
            self.one(
                "select group_concat(name || seq)
                 from (select * from sqlite_sequence order by name)",
            )
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
