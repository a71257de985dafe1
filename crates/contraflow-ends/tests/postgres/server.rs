//! A server for all tests of this binary, and a database of its own for each.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use contraflow_core::end::End;
use contraflow_core::probe::Silent;
use contraflow_core::record::Row;
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_ends::postgres::Postgres;
use contraflow_testkit::conformance::{Fixture, Refused, Subject, Write};
use contraflow_testkit::proxy::Proxy;
use contraflow_testkit::server;
use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::clock::Real;

/// The server of this binary. Its folder goes with the next cleaning of the system's own.
static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A server and its folder.
pub(super) struct Server {
    server: server::Postgres,
    _folder: TempDir,
}

impl Server {
    pub(super) fn start() -> Server {
        Server::start_with(&[])
    }

    /// A server with settings of its own.
    pub(super) fn start_with(settings: &[&str]) -> Server {
        Server::of(|folder| server::Postgres::with(folder, settings))
    }

    /// A server that is reached over TCP alone, with a password.
    pub(super) fn over_tcp() -> Server {
        Server::of(server::Postgres::over_tcp)
    }

    fn of(start: impl FnOnce(&Path) -> server::Postgres) -> Server {
        let folder = tempfile::Builder::new().prefix("cf-pg-").tempdir().unwrap();
        Server {
            server: start(folder.path()),
            _folder: folder,
        }
    }

    /// Ends all its processes at once, and starts it again: what was in memory only is gone.
    pub(super) fn loses_power(&mut self) {
        self.server.kill();
        self.server.start_again();
    }

    /// A fresh database of it.
    pub(super) fn database(&self, script: &str) -> Database {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut admin = Client::connect(&self.server.url("postgres"), NoTls).unwrap();
        admin
            .batch_execute(&format!("create database {name}"))
            .unwrap();
        let url = self.server.url(&name);
        let mut app = Client::connect(&url, NoTls).unwrap();
        app.batch_execute(script).unwrap();
        let clock = Arc::new(Real::start());
        let end = Arc::new(Postgres::new(&url, clock, Arc::new(Silent)));
        Database {
            socket: self.server.socket(),
            name,
            url,
            end,
            app: Mutex::new(app),
        }
    }
}

/// A fresh database of the server of all tests.
pub(super) fn database(script: &str) -> Database {
    SERVER.get_or_init(Server::start).database(script)
}

/// A database and its application.
pub(super) struct Database {
    socket: PathBuf,
    name: String,
    url: String,
    end: Arc<Postgres>,
    app: Mutex<Client>,
}

impl Database {
    /// Another session of the application.
    pub(super) fn connect(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    /// An end that knows nothing of what this one did: as after a restart.
    pub(super) fn again(&self) -> Arc<Postgres> {
        let clock = Arc::new(Real::start());
        Arc::new(Postgres::new(&self.url, clock, Arc::new(Silent)))
    }

    /// A network before the server, and an end that reaches the database through it and waits for
    /// a second where others wait for half a minute.
    pub(super) fn afar(&self) -> (Proxy, Arc<Postgres>) {
        let proxy = Proxy::before(&self.socket);
        let end = self.through(&proxy, "user=postgres");
        (proxy, end)
    }

    /// Such an end through a network, as a role.
    pub(super) fn through(&self, proxy: &Proxy, role: &str) -> Arc<Postgres> {
        let (port, name) = (proxy.port(), &self.name);
        let url = format!("host=127.0.0.1 port={port} {role} dbname={name} tcp_user_timeout=1");
        let clock = Arc::new(Real::start());
        Arc::new(Postgres::new(&url, clock, Arc::new(Silent)))
    }

    /// Runs a script as the application.
    pub(super) fn run(&self, script: &str) {
        self.app.lock().unwrap().batch_execute(script).unwrap();
    }

    /// One value, as text.
    pub(super) fn one(&self, sql: &str) -> String {
        let row = self.app.lock().unwrap().query_one(sql, &[]).unwrap();
        row.get(0)
    }
}

/// Databases with the table of the suite, on a server where nobody else writes: a feed counts what
/// lies before it in the log of the server. Everything compares byte by byte there.
pub(super) struct Databases {
    pub(super) server: Server,
    /// The type of the text in the key.
    pub(super) text: &'static str,
}

impl Fixture for Databases {
    fn fresh(&self, _side: Side) -> Box<dyn Subject> {
        Box::new(self.server.database(&format!(
            "create table items (a bigint not null, b {} not null, tag text unique,
               n bigint not null, primary key (a, b))",
            self.text
        )))
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{number}::bigint"),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        _ => "null".to_owned(),
    }
}

fn statement(write: &Write) -> String {
    let row = |row: &Row| row.0.iter().map(literal).collect::<Vec<_>>().join(", ");
    match write {
        Write::Insert(new) => format!("insert into items values ({})", row(new)),
        Write::Update(key, new) => format!(
            "update items set (a, b, tag, n) = ({}) where a = {} and b = {}",
            row(new),
            literal(&key.0[0]),
            literal(&key.0[1])
        ),
        Write::Delete(key) => format!(
            "delete from items where a = {} and b = {}",
            literal(&key.0[0]),
            literal(&key.0[1])
        ),
        Write::Replace(new) => format!(
            "delete from items where a = {} and b = {} or tag = {}; insert into items values ({})",
            literal(&new.0[0]),
            literal(&new.0[1]),
            literal(&new.0[2]),
            row(new)
        ),
    }
}

impl Subject for Database {
    fn end(&self) -> Arc<dyn End> {
        Arc::clone(&self.end) as Arc<dyn End>
    }

    fn transact(&self, writes: &[Write]) -> Result<(), Refused> {
        let mut app = self.app.lock().unwrap();
        // Writers wait for a fence; this application does not wait for long.
        app.batch_execute("set lock_timeout = '200ms'; begin")
            .unwrap();
        for write in writes {
            if let Err(error) = app.batch_execute(&statement(write)) {
                app.batch_execute("rollback").unwrap();
                let state = error.code().map(|code| code.code().to_owned());
                return Err(match state.as_deref() {
                    Some("CF302" | "55P03") => Refused::Guard,
                    Some("23505") => Refused::Conflict,
                    other => panic!("{other:?}: {error}"),
                });
            }
        }
        app.batch_execute("commit").unwrap();
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let mut app = self.app.lock().unwrap();
        let rows = app
            .query("select a, b, tag, n from items order by a, b", &[])
            .unwrap();
        let row = |row: &postgres::Row| {
            let tag: Option<String> = row.get(2);
            Row(vec![
                Value::Int(row.get(0)),
                Value::Text(row.get(1)),
                tag.map_or(Value::Null, Value::Text),
                Value::Int(row.get(3)),
            ])
        };
        rows.iter().map(row).collect()
    }

    fn declaration(&self) -> String {
        self.one(
            "select concat_ws(E'\\n',
               (select string_agg(n.nspname || '.' || c.relname, ' ' order by 1)
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'),
               (select string_agg(tgname, ' ' order by tgname) from pg_trigger
                where not tgisinternal),
               (select string_agg(nspname, ' ' order by nspname) from pg_namespace),
               (select string_agg(pubname, ' ' order by 1) from pg_publication),
               (select string_agg(slot_name, ' ' order by 1) from pg_replication_slots
                where database = current_database()))",
        )
    }

    fn pass(&self, time: Duration) {
        // The server's clock decides.
        let sql = format!("select pg_sleep({})", time.as_secs_f64() + 0.05);
        self.app.lock().unwrap().batch_execute(&sql).unwrap();
    }
}
