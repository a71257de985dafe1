//! Servers: one for all tests, and others for tests that do something to theirs.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use contraflow_testkit::server::Postgres;
use tempfile::TempDir;

use super::stage::psql;

/// A server and its folder.
pub(super) struct Server {
    server: Mutex<Postgres>,
    _folder: TempDir,
}

/// The server of all tests.
pub(super) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

impl Server {
    fn start() -> Server {
        Server::of(Postgres::start)
    }

    fn of(start: impl FnOnce(&Path) -> Postgres) -> Server {
        let folder = tempfile::Builder::new().prefix("cf-pg-").tempdir();
        let folder = folder.expect("a folder");
        Server {
            server: Mutex::new(start(folder.path())),
            _folder: folder,
        }
    }

    /// A server that nobody else uses. It lives as long as this process.
    pub(super) fn own() -> &'static Server {
        Box::leak(Box::new(Server::start()))
    }

    /// The same, reached over TCP alone and with a password.
    pub(super) fn over_tcp() -> &'static Server {
        Box::leak(Box::new(Server::of(Postgres::over_tcp)))
    }

    /// How to connect to a database of it.
    pub(super) fn url(&self, database: &str) -> String {
        self.ask(|server| server.url(database))
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        psql(&self.url("postgres"), sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends all its processes at once, as a loss of power does.
    pub(super) fn kill(&self) {
        self.ask(Postgres::kill);
    }

    /// Starts it again.
    pub(super) fn comes_back(&self) {
        self.ask(Postgres::start_again);
    }

    /// Limits the size of every file that its sessions write from now on, or no longer does.
    pub(super) fn limit(&self, bytes: Option<u64>) {
        self.ask(|server| server.limit(bytes));
    }

    fn ask<T>(&self, work: impl FnOnce(&mut Postgres) -> T) -> T {
        work(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
