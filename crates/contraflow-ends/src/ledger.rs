//! The ledger as a SQLite file: embedded, inspectable, compare-and-set for free.

use std::path::Path;

use contraflow_core::code::Code;
use contraflow_core::end::fenced;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::Evidence;
use contraflow_core::ledger::{Answer, Entry, Ledger, Request, RunnerMark, Saved};
use contraflow_core::phase::{Ask, Phase, State};
use contraflow_core::sighting::{Mark, Marks, Sightings};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the tables below; a newer file is refused.
const FORMAT: u32 = 1;

/// Each try that fails lets another process make the ledger; there are not so many.
const WAL_TRIES: u32 = 20;

/// Lines of history kept; older ones go. Enough for months of a change's life.
const HISTORY_MAX: u64 = 100_000;

const TABLES: &str = "
create table if not exists ledger (id integer primary key check (id = 1), name text not null);
create table if not exists saved (id integer primary key check (id = 1), version integer not null,
  state text not null, mapping text not null);
create table if not exists history (seq integer primary key autoincrement, at_ms integer not null,
  kind text not null, text text not null);
create table if not exists request (id integer primary key autoincrement, ask text not null,
  answer text);
create table if not exists runner (id integer primary key check (id = 1), run text not null,
  pid integer not null, beat_ms integer not null);
create table if not exists evidence (rule text not null, epoch integer not null,
  direction text not null, document text not null, primary key (rule, epoch, direction));
create table if not exists sightings (id integer primary key check (id = 1),
  document text not null);
create table if not exists mark (reader text primary key, document text not null);
create table if not exists report (id integer primary key check (id = 1), document text not null);
";

/// Columns that came later, in files of the same format: an earlier version ignores them.
const ADDED: [(&str, &str); 5] = [
    ("runner", "started"),
    ("runner", "file"),
    ("runner", "brief"),
    ("request", "pid"),
    ("request", "started"),
];

const RUNNER: &str = "select run, pid, beat_ms, started, file, brief from runner";

/// A ledger in a SQLite file.
pub struct SqliteLedger {
    db: Connection,
    id: String,
}

impl SqliteLedger {
    /// Opens the ledger and makes it when it is not there; `name` becomes its name then.
    ///
    /// # Errors
    /// [`Code::LEDGER_FAILED`] when the file cannot be used.
    pub fn open(path: &Path, name: &str) -> Result<SqliteLedger> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| {
                failed(&format!("cannot create the folder `{}`", folder.display())).because(source)
            })?;
        }
        let mut db = Connection::open(path).map_err(broken)?;
        db.busy_timeout(std::time::Duration::from_secs(10))
            .map_err(broken)?;
        use_wal(&db)?;
        db.pragma_update(None, "synchronous", "extra")
            .map_err(broken)?;
        let format: u32 = db
            .query_row("pragma user_version", [], |row| row.get(0))
            .map_err(broken)?;
        if format > FORMAT {
            let message = format!("the ledger was written by a newer version (format {format})");
            return Err(failed(&message).hint("Use the newer version of contraflow."));
        }
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        tx.execute_batch(TABLES).map_err(broken)?;
        for (table, column) in ADDED {
            let there: bool = tx
                .query_row(
                    "select exists(select 1 from pragma_table_info(?1) where name = ?2)",
                    [table, column],
                    |row| row.get(0),
                )
                .map_err(broken)?;
            if !there {
                tx.execute_batch(&format!(
                    "alter table {table} add column {column} integer not null default 0"
                ))
                .map_err(broken)?;
            }
        }
        tx.pragma_update(None, "user_version", FORMAT)
            .map_err(broken)?;
        tx.execute(
            "insert or ignore into ledger (id, name) values (1, ?1)",
            [name],
        )
        .map_err(broken)?;
        let id = tx
            .query_row("select name from ledger", [], |row| row.get(0))
            .map_err(broken)?;
        tx.commit().map_err(broken)?;
        Ok(SqliteLedger { db, id })
    }
}

/// Two processes that make a ledger at the same moment both hold it for reading when they ask for
/// more, and SQLite refuses one of them at once. That one waits for the other, and asks again.
fn use_wal(db: &Connection) -> Result<()> {
    for _ in 0..WAL_TRIES {
        match db.pragma_update(None, "journal_mode", "wal") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                db.execute_batch("begin immediate; rollback")
                    .map_err(broken)?;
            }
            done => return done.map_err(broken),
        }
    }
    db.pragma_update(None, "journal_mode", "wal")
        .map_err(broken)
}

impl Ledger for SqliteLedger {
    fn id(&self) -> &str {
        &self.id
    }

    fn load(&mut self) -> Result<Option<Saved>> {
        let found: Option<(u64, String, String)> = self
            .db
            .query_row("select version, state, mapping from saved", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()
            .map_err(broken)?;
        found
            .map(|(version, state, mapping)| {
                Ok(Saved {
                    version,
                    state: from(&state)?,
                    mapping,
                })
            })
            .transpose()
    }

    fn commit(&mut self, version: u64, state: &State, mapping: &str, entry: &Entry) -> Result<u64> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        let withdrawn = match state.asked {
            Some(id) => is_answered(&tx, id)? && asked_in(&tx)? != Some(id),
            None => false,
        };
        let document = into(state)?;
        let written = if version == 0 {
            tx.execute(
                "insert into saved (id, version, state, mapping) values (1, 1, ?1, ?2)
                 on conflict do nothing",
                [&document, mapping],
            )
        } else {
            tx.execute(
                "update saved set version = version + 1, state = ?1, mapping = ?2
                 where version = ?3",
                rusqlite::params![document, mapping, version],
            )
        };
        if written.map_err(broken)? != 1 {
            let message = "overtaken by another process: the ledger was written in between";
            return Err(Error::new(Kind::Fenced, Code::FENCED, message));
        }
        if withdrawn {
            let message = "the request was withdrawn before it was taken";
            return Err(Error::new(Kind::Precondition, Code::NOT_CONFIRMED, message));
        }
        if state.phase == Phase::Declared {
            // It starts again after an abort: what was proven then proves nothing now.
            tx.execute_batch(
                "delete from evidence; delete from report;
                 delete from sightings; delete from mark;",
            )
            .map_err(broken)?;
        }
        record(&tx, entry)?;
        tx.commit().map_err(broken)?;
        Ok(version + 1)
    }

    fn record(&mut self, entry: &Entry) -> Result<()> {
        record(&self.db, entry)
    }

    fn history(&mut self, lines_max: u64) -> Result<Vec<Entry>> {
        let mut statement = self
            .db
            .prepare_cached(
                "select at_ms, kind, text from (select * from history order by seq desc limit ?1)
                 order by seq",
            )
            .map_err(broken)?;
        let lines = statement
            .query_map([lines_max], |row| {
                Ok(Entry {
                    at_ms: row.get(0)?,
                    kind: row.get(1)?,
                    text: row.get(2)?,
                })
            })
            .map_err(broken)?;
        lines.collect::<rusqlite::Result<_>>().map_err(broken)
    }

    fn ask(&mut self, ask: &Ask, asker: &RunnerMark) -> Result<u64> {
        self.db
            .execute(
                "insert into request (ask, pid, started) values (?1, ?2, ?3)",
                rusqlite::params![into(ask)?, asker.pid, asker.started],
            )
            .map_err(broken)?;
        u64::try_from(self.db.last_insert_rowid())
            .map_err(|_| failed("the ledger gave a request a negative number"))
    }

    fn withdraw(&mut self, id: u64) -> Result<bool> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        if asked_in(&tx)? == Some(id) || is_answered(&tx, id)? {
            return Ok(false);
        }
        let answer = Answer {
            granted: false,
            code: None,
            text: "withdrawn: whoever asked does not wait any more".to_owned(),
            detail: None,
            hint: None,
            data: None,
        };
        tx.execute(
            "update request set answer = ?1 where id = ?2",
            rusqlite::params![into(&answer)?, id],
        )
        .map_err(broken)?;
        tx.commit().map_err(broken)?;
        Ok(true)
    }

    fn requests(&mut self) -> Result<Vec<Request>> {
        let mut statement = self
            .db
            .prepare_cached(
                "select id, ask, pid, started from request where answer is null order by id",
            )
            .map_err(broken)?;
        let rows = statement
            .query_map([], |row| {
                let mark = RunnerMark {
                    run: String::new(),
                    pid: row.get(2)?,
                    started: row.get(3)?,
                    file: 0,
                    brief: false,
                    beat_ms: 0,
                };
                Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?, mark))
            })
            .map_err(broken)?;
        let mut requests = Vec::new();
        for row in rows {
            let (id, ask, mark) = row.map_err(broken)?;
            requests.push(Request {
                id,
                ask: from(&ask)?,
                asker: (mark.pid != 0).then_some(mark),
            });
        }
        Ok(requests)
    }

    fn answer(&mut self, run: &str, id: u64, answer: &Answer) -> Result<()> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        let held: bool = tx
            .query_row(
                "select exists (select 1 from runner where run = ?1)",
                [run],
                |row| row.get(0),
            )
            .map_err(broken)?;
        if !held {
            return Err(fenced("the run was taken over"));
        }
        tx.execute(
            "update request set answer = ?1 where id = ?2 and answer is null",
            rusqlite::params![into(answer)?, id],
        )
        .map_err(broken)?;
        tx.commit().map_err(broken)
    }

    fn answered(&mut self, id: u64) -> Result<Option<Answer>> {
        let answer: Option<Option<String>> = self
            .db
            .query_row("select answer from request where id = ?1", [id], |row| {
                row.get(0)
            })
            .optional()
            .map_err(broken)?;
        answer.flatten().as_deref().map(from).transpose()
    }

    fn beat(
        &mut self,
        mark: &RunnerMark,
        stale_before_ms: u64,
        gone: Option<&str>,
    ) -> Result<RunnerMark> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        // A clock that was set back must not keep a dead run alive: i64 is what SQLite compares.
        let stale = i64::try_from(stale_before_ms).unwrap_or(i64::MAX);
        tx.execute(
            "insert into runner (id, run, pid, beat_ms, started, file, brief)
               values (1, ?1, ?2, ?3, ?5, ?7, ?8)
             on conflict (id) do update set run = excluded.run, pid = excluded.pid,
               beat_ms = excluded.beat_ms, started = excluded.started,
               file = excluded.file, brief = excluded.brief
             where run = excluded.run or beat_ms < ?4 or run = ?6",
            rusqlite::params![
                mark.run,
                mark.pid,
                mark.beat_ms,
                stale,
                mark.started,
                gone,
                mark.file,
                mark.brief
            ],
        )
        .map_err(broken)?;
        let holder = tx.query_row(RUNNER, [], mark_of);
        let holder = holder.map_err(broken)?;
        tx.commit().map_err(broken)?;
        Ok(holder)
    }

    fn leave(&mut self, run: &str) -> Result<()> {
        self.db
            .execute("delete from runner where run = ?1", [run])
            .map(|_| ())
            .map_err(broken)
    }

    fn runner(&mut self) -> Result<Option<RunnerMark>> {
        self.db
            .query_row(RUNNER, [], mark_of)
            .optional()
            .map_err(broken)
    }

    fn prove(&mut self, evidence: &Evidence) -> Result<()> {
        self.db
            .execute(
                "insert or replace into evidence (rule, epoch, direction, document)
                 values (?1, ?2, ?3, ?4)",
                rusqlite::params![
                    evidence.rule.name(),
                    evidence.epoch.0,
                    evidence.direction.name(),
                    into(evidence)?
                ],
            )
            .map(|_| ())
            .map_err(broken)
    }

    fn evidence(&mut self) -> Result<Vec<Evidence>> {
        let mut statement = self
            .db
            .prepare_cached("select document from evidence order by epoch, direction, rule")
            .map_err(broken)?;
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(broken)?;
        let mut evidence = Vec::new();
        for row in rows {
            evidence.push(from(&row.map_err(broken)?)?);
        }
        Ok(evidence)
    }

    fn sight(&mut self, sightings: &Sightings) -> Result<()> {
        self.db
            .execute(
                "insert or replace into sightings (id, document) values (1, ?1)",
                [into(sightings)?],
            )
            .map(|_| ())
            .map_err(broken)
    }

    fn sighted(&mut self) -> Result<Sightings> {
        let found: Option<String> = self
            .db
            .query_row("select document from sightings", [], |row| row.get(0))
            .optional()
            .map_err(broken)?;
        found.map_or_else(|| Ok(Sightings::default()), |text| from(&text))
    }

    fn mark(&mut self, reader: &str, mark: Option<&Mark>) -> Result<()> {
        let done = match mark {
            Some(mark) => self.db.execute(
                "insert or replace into mark (reader, document) values (?1, ?2)",
                [reader, &into(mark)?],
            ),
            None => self
                .db
                .execute("delete from mark where reader = ?1", [reader]),
        };
        done.map(|_| ()).map_err(broken)
    }

    fn marks(&mut self) -> Result<Marks> {
        let mut statement = self
            .db
            .prepare_cached("select reader, document from mark")
            .map_err(broken)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(broken)?;
        let mut marks = Marks::new();
        for row in rows {
            let (reader, document) = row.map_err(broken)?;
            marks.insert(reader, from(&document)?);
        }
        Ok(marks)
    }

    fn report(&mut self, progress: &str) -> Result<()> {
        self.db
            .execute(
                "insert or replace into report (id, document) values (1, ?1)",
                [progress],
            )
            .map(|_| ())
            .map_err(broken)
    }

    fn reported(&mut self) -> Result<Option<String>> {
        self.db
            .query_row("select document from report", [], |row| row.get(0))
            .optional()
            .map_err(broken)
    }
}

fn mark_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunnerMark> {
    Ok(RunnerMark {
        run: row.get(0)?,
        pid: row.get(1)?,
        beat_ms: row.get(2)?,
        started: row.get(3)?,
        file: row.get(4)?,
        brief: row.get(5)?,
    })
}

fn is_answered(db: &Connection, id: u64) -> Result<bool> {
    db.query_row(
        "select exists(select 1 from request where id = ?1 and answer is not null)",
        [id],
        |row| row.get(0),
    )
    .map_err(broken)
}

/// The request that the saved state answers.
fn asked_in(db: &Connection) -> Result<Option<u64>> {
    let saved: Option<String> = db
        .query_row("select state from saved", [], |row| row.get(0))
        .optional()
        .map_err(broken)?;
    let state: Option<State> = saved.as_deref().map(from).transpose()?;
    Ok(state.and_then(|state| state.asked))
}

fn record(db: &Connection, entry: &Entry) -> Result<()> {
    db.execute(
        "insert into history (at_ms, kind, text) values (?1, ?2, ?3)",
        rusqlite::params![entry.at_ms, entry.kind, entry.text],
    )
    .and_then(|_| {
        db.execute(
            "delete from history where seq <= (select max(seq) from history) - ?1",
            [HISTORY_MAX],
        )
    })
    .map(|_| ())
    .map_err(broken)
}

fn into(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|source| failed("the ledger cannot write one of its documents").because(source))
}

fn from<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| {
        failed("the ledger holds a document that this version cannot read").because(source)
    })
}

fn failed(message: &str) -> Error {
    Error::new(Kind::Hold, Code::LEDGER_FAILED, message)
}

fn broken(source: rusqlite::Error) -> Error {
    if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        return failed("the ledger is locked by another process")
            .hint("One that stands still does so: let it go on, or end it, and ask again.")
            .because(source);
    }
    failed("the ledger cannot be used")
        .hint("Free space or restore the file, then `contraflow run`; the ends keep the data safe.")
        .because(source)
}
