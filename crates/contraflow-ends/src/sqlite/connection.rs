//! Connections, and what SQLite's error codes mean to the operator.

use std::path::Path;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a statement waits for another writer before it reports a busy file. Longer than any
/// lock that a well-behaved application holds, shorter than an operator's patience.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Pages kept in memory per connection, in KiB (negative is SQLite's spelling for KiB).
const CACHE_KIB: i64 = -16_384;

/// Opens an existing file for reading. The connection still needs write access to the file's
/// shared memory in WAL mode, so it is opened read-write and forbidden to write.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let db = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| open(path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    db.pragma_update(None, "query_only", true)
        .map_err(failure)?;
    Ok(db)
}

/// Opens an existing file for writing, durable at every commit.
pub(super) fn writer(path: &Path) -> Result<Connection> {
    let db = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare_writer(&db)?;
    Ok(db)
}

/// Opens a file for writing and makes it when it is not there, in WAL mode.
pub(super) fn create(path: &Path) -> Result<Connection> {
    let fresh = !path.exists();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let db = open(path, flags)?;
    if fresh {
        db.pragma_update(None, "journal_mode", "wal")
            .map_err(failure)?;
    }
    prepare_writer(&db)?;
    Ok(db)
}

/// Pages of the write-ahead log before it is copied into the file: 16 MiB, so that a bulk write
/// copies a page once and not at every few commits.
pub(super) const CHECKPOINT_PAGES: u32 = 4_000;

fn prepare_writer(db: &Connection) -> Result<()> {
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .map_err(failure)?;
    // As `full`, and for a rollback journal the folder too: an unlinked journal must stay so.
    db.pragma_update(None, "synchronous", "extra")
        .map_err(failure)?;
    // Rows arrive in the order of the feed, not of their references; the cutover gate validates.
    db.pragma_update(None, "foreign_keys", false)
        .map_err(failure)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(path, flags).map_err(|source| {
        let message = format!("cannot open `{}`", path.display());
        Error::new(Kind::Precondition, Code::END_UNREACHABLE, message).because(source)
    })?;
    db.busy_timeout(BUSY_WAIT).map_err(failure)?;
    db.pragma_update(None, "cache_size", CACHE_KIB)
        .map_err(failure)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Makes the folder of a file.
///
/// # Errors
/// When the file system refuses.
pub fn create_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|source| {
        let message = format!("cannot create the folder `{}`", folder.display());
        Error::new(Kind::Precondition, Code::END_UNREACHABLE, message).because(source)
    })
}

/// Translates a failure of SQLite into what the operator does about it. SQLite's own texts name
/// tables and columns, never values.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
pub fn failure(source: rusqlite::Error) -> Error {
    let (kind, code, message) = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Transient,
            Code::END_BUSY,
            "the file is locked by another writer",
        ),
        Some(ErrorCode::SystemIoFailure) if cannot_grow(&source) => {
            (Kind::Hold, Code::DISK_FULL, "the file cannot grow")
        }
        Some(ErrorCode::DiskFull) => (Kind::Hold, Code::DISK_FULL, "the disk is full"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Kind::Precondition,
            Code::END_READ_ONLY,
            "the file cannot be written",
        ),
        Some(ErrorCode::CannotOpen | ErrorCode::NotADatabase) => (
            Kind::Precondition,
            Code::END_UNREACHABLE,
            "the file cannot be opened",
        ),
        Some(ErrorCode::SchemaChanged) => (
            Kind::Transient,
            Code::END_BUSY,
            "the schema changed under a statement",
        ),
        _ => (Kind::Hold, Code::END_FAILED, "the file cannot be used"),
    };
    let error = Error::new(kind, code, message);
    let error = error.detail(format!("SQLite says: {}.", scrubbed(&source)));
    match code {
        Code::DISK_FULL => error.hint("Free space, then `contraflow resume`."),
        Code::END_FAILED => error.hint(
            "Look at the file with `pragma integrity_check` and restore it if it is damaged; then \
             `contraflow resume` or `contraflow abort`.",
        ),
        Code::END_READ_ONLY => {
            error.hint("Allow this user to write the file and its folder, then run again.")
        }
        Code::END_UNREACHABLE => error.hint("Name a SQLite database, or restore this one."),
        _ => error,
    }
}

/// SQLite has a word for a full disk only; a quota and a limit of the process are failed writes.
fn cannot_grow(source: &rusqlite::Error) -> bool {
    const GROWING: [i32; 2] = [
        rusqlite::ffi::SQLITE_IOERR_WRITE,
        rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
    ];
    source
        .sqlite_error()
        .is_some_and(|error| GROWING.contains(&error.extended_code))
}

/// SQLite's message without anything that could be a value: failures of our own conversions
/// quote what they could not convert.
fn scrubbed(source: &rusqlite::Error) -> String {
    match source {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqliteFailure(error, None) => error.to_string(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        _ => "a value had an unexpected form".to_owned(),
    }
}

/// Runs `work` in a write transaction that waits for its turn at the start, never in the middle.
pub(super) fn write<T>(
    db: &mut Connection,
    work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let tx = db
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failure)?;
    let done = work(&tx)?;
    tx.commit().map_err(failure)?;
    Ok(done)
}
