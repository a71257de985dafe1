//! Connections, and what PostgreSQL's error codes mean to the operator.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use postgres::config::Host;
use postgres::{Client, GenericClient, SimpleQueryMessage};
use tokio_postgres::Config;

use super::patience;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long without a word from a server that owes one, it is asked whether it is there at
/// all, unless the URL says otherwise (`tcp_user_timeout`): a firewall that swallows packets must
/// not stop a change for hours.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Settings that decide how values are spelled. The feed and every query use the same.
pub(super) const SPELLING: &str = "-c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
     -c extra_float_digits=1 -c bytea_output=hex -c search_path=pg_catalog";

/// Settings of every session that reads or writes rows. A process that was stopped inside a
/// transaction, or whose machine is gone, must not keep its locks for ever.
pub(super) const SESSION: &str = "-c row_security=off -c synchronous_commit=on \
     -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=60s \
     -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 \
     -c client_min_messages=error -c standard_conforming_strings=on";

/// A server and database, or a URL that nobody can read: then every use of it says so.
#[derive(Clone)]
pub(super) struct Target(Option<Config>);

impl Target {
    /// Reads a URL or a `key=value` text.
    pub(super) fn parse(url: &str) -> Target {
        let Ok(mut config) = url.trim().parse::<Config>() else {
            return Target(None);
        };
        if config.get_user().is_none() {
            config.user("postgres");
        }
        if config.get_dbname().is_none() {
            let user = config.get_user().unwrap_or("postgres").to_owned();
            config.dbname(&user);
        }
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let said = config.get_tcp_user_timeout().copied();
        let silence_max = said.filter(|said| !said.is_zero()).unwrap_or(SILENCE_MAX);
        config.tcp_user_timeout(silence_max);
        config.keepalives_idle(silence_max);
        Target(Some(config))
    }

    /// How long a server may owe an answer before anybody looks into it.
    pub(super) fn silence_max(&self) -> Duration {
        let said = self.0.as_ref().and_then(Config::get_tcp_user_timeout);
        said.copied().unwrap_or(SILENCE_MAX)
    }

    /// What the driver takes.
    pub(super) fn config(&self) -> Result<&Config> {
        self.0.as_ref().ok_or_else(|| {
            // The text may hold a password: not a word of it is repeated.
            let message = "the PostgreSQL URL cannot be read";
            Error::new(Kind::Config, Code::VALUE_INVALID, message).hint(
                "Write `postgres://user@host:5432/database`; escape special characters as `%XX`.",
            )
        })
    }

    /// The database, for names that must differ between two of one server.
    pub(super) fn database(&self) -> &str {
        let config = self.0.as_ref();
        config.and_then(Config::get_dbname).unwrap_or("postgres")
    }

    /// Where it leads, without a password.
    pub(super) fn address(&self) -> String {
        let Some(config) = &self.0 else {
            return "postgres".to_owned();
        };
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        format!("postgres:{host}:{port}/{}", self.database())
    }
}

/// A session for reading and writing rows.
pub(super) fn connect(target: &Target) -> Result<Client> {
    let mut config = target.config()?.clone();
    let own = config.get_options().unwrap_or_default().to_owned();
    config.options(format!("{own} {SPELLING} {SESSION}"));
    config.application_name("contraflow");
    patience::connect(&config, target.silence_max()).map_err(failure)
}

/// The one value that a query without parameters finds, as text. One message there and one back:
/// for what is asked again and again.
pub(super) fn asked(client: &mut impl GenericClient, sql: &str) -> Result<String> {
    let messages = client.simple_query(sql).map_err(failure)?;
    let mut values = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let value = values.next().map(str::to_owned);
    value.ok_or_else(|| lost("a query has found nothing"))
}

/// Translates a failure of PostgreSQL into what the operator does about it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
pub(super) fn failure(source: postgres::Error) -> Error {
    match source.as_db_error() {
        Some(db) => of_state(db.code().code(), db.message()),
        None => {
            let mut error = lost(&scrubbed(&source));
            if is_decoding(&source) {
                error = Error::new(
                    Kind::Internal,
                    Code::INTERNAL,
                    "a column came back in an unexpected form",
                );
            }
            error
        }
    }
}

fn is_decoding(source: &postgres::Error) -> bool {
    let text = source.to_string();
    text.starts_with("error deserializing") || text.starts_with("error serializing")
}

fn scrubbed(source: &postgres::Error) -> String {
    use std::error::Error as _;
    match source.source() {
        Some(inner) => format!("{source}: {inner}"),
        None => source.to_string(),
    }
}

/// A connection that cannot be made or was lost.
pub(super) fn lost(why: &str) -> Error {
    Error::new(
        Kind::Transient,
        Code::END_UNREACHABLE,
        "the server cannot be reached",
    )
    .detail(format!("The connection says: {why}."))
    .hint("Start the server, or correct the URL in the change file.")
}

/// The error of a SQLSTATE. Messages of classes 22 and 23 may quote values and are never shown.
pub(super) fn of_state(state: &str, message: &str) -> Error {
    let quotes_values = state.starts_with("22") || state.starts_with("23");
    let said = if quotes_values {
        format!("PostgreSQL says: SQLSTATE {state}.")
    } else {
        format!("PostgreSQL says: {message} (SQLSTATE {state}).")
    };
    let (kind, code, message, hint) = match state {
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "57014" => (
            Kind::Transient,
            Code::END_UNREACHABLE,
            "the server ended the connection",
            "",
        ),
        "40001" | "40P01" | "55P03" | "55006" | "53300" | "53200" => (
            Kind::Transient,
            Code::END_BUSY,
            "the server is busy or a lock was not granted",
            "",
        ),
        "53100" => (
            Kind::Hold,
            Code::DISK_FULL,
            "the disk of the server is full",
            "Free space, then `contraflow resume`.",
        ),
        "42501" => (
            Kind::Precondition,
            Code::END_READ_ONLY,
            "a privilege is missing",
            "`contraflow check` names the grant.",
        ),
        "28P01" | "28000" => (
            Kind::Precondition,
            Code::END_UNREACHABLE,
            "the server does not let us in",
            "Correct user and password in the change file, or `pg_hba.conf` at the server.",
        ),
        "3D000" => (
            Kind::Precondition,
            Code::END_UNREACHABLE,
            "there is no such database",
            "Correct the database in the URL of the change file.",
        ),
        _ if state.starts_with("08") => (
            Kind::Transient,
            Code::END_UNREACHABLE,
            "the connection was lost",
            "",
        ),
        _ => (
            Kind::Hold,
            Code::END_FAILED,
            "the server refused a statement",
            "Look at the server's log, then `contraflow resume`.",
        ),
    };
    let error = Error::new(kind, code, message).detail(said);
    if hint.is_empty() {
        error
    } else {
        error.hint(hint)
    }
}
