//! The application of the demo: an ordinary loop over a phonebook.
//!
//! It knows its two releases, the old shape and the new one, and nothing of Contraflow. That the
//! table has moved it learns from the error of a write, which names the side that has authority.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use contraflow_core::clock::Clock;
use rusqlite::Connection;

use crate::demo::{NEW_FILE, OLD_FILE};
use crate::output::Output;
use crate::surroundings::SystemClock;

/// The pause between two writes: a few hundred writes per second beside the copy.
const BETWEEN: Duration = Duration::from_millis(2);
/// The pause before a refused write is tried again.
const AGAIN: Duration = Duration::from_millis(5);
/// For how long one write is tried.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Which release of the application is live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    Old,
    New,
}

struct App {
    db: Connection,
    release: Release,
    clock: SystemClock,
    random: u64,
    writes: u64,
    refused: u64,
    refused_max: Duration,
}

/// Writes until its standard input closes, pausing between two lines `pause` and `go`; then tells
/// what it did on standard output.
///
/// # Errors
/// When a write is refused for a reason that is not the guard, or for too long.
pub fn run(folder: &Path, out: &mut Output) -> anyhow::Result<()> {
    let mut app = App {
        db: open(&folder.join(OLD_FILE))?,
        release: Release::Old,
        clock: SystemClock::default(),
        random: 0x9e37_79b9_7f4a_7c15,
        writes: 0,
        refused: 0,
        refused_max: Duration::ZERO,
    };
    let ended = Arc::new(AtomicBool::new(false));
    let paused = Arc::new(AtomicBool::new(false));
    listen(Arc::clone(&ended), Arc::clone(&paused))?;
    let mut told_pause = false;
    while !ended.load(Ordering::SeqCst) {
        if paused.load(Ordering::SeqCst) {
            if !told_pause {
                out.data("paused")?;
                told_pause = true;
            }
            app.clock.sleep(AGAIN);
            continue;
        }
        told_pause = false;
        app.write(folder)?;
        app.clock.sleep(BETWEEN);
    }
    out.data(&format!(
        "{} {} {}",
        app.writes,
        app.refused,
        app.refused_max.as_millis()
    ))?;
    Ok(())
}

/// Follows what the story says on standard input.
fn listen(ended: Arc<AtomicBool>, paused: Arc<AtomicBool>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("input".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                paused.store(line == "pause", Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        })
        .context("cannot start the thread that listens")?;
    drop(std::io::stdout().flush());
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Connection> {
    let db = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    db.busy_timeout(Duration::from_secs(30))?;
    Ok(db)
}

impl App {
    /// One business action, tried until it is accepted.
    fn write(&mut self, folder: &Path) -> anyhow::Result<()> {
        let action = self.next_random();
        let began = self.clock.elapsed();
        loop {
            let result = match self.release {
                Release::Old => write_old(&mut self.db, action),
                Release::New => write_new(&mut self.db, action),
            };
            let Err(error) = result else { break };
            let text = error.to_string();
            if !text.contains("CF0302") {
                return Err(error).context("the application's write failed");
            }
            self.refused += 1;
            // The guard says who has authority now; fenced means: in a moment.
            if text.contains("authority is with side new") {
                self.release = Release::New;
                self.db = open(&folder.join(NEW_FILE))?;
            } else if text.contains("authority is with side old") {
                self.release = Release::Old;
                self.db = open(&folder.join(OLD_FILE))?;
            }
            self.clock.sleep(AGAIN);
            let waited = self.clock.elapsed().saturating_sub(began);
            self.refused_max = self.refused_max.max(waited);
            if waited > GIVE_UP {
                bail!("a write was refused for {} s", waited.as_secs());
            }
        }
        self.writes += 1;
        Ok(())
    }

    /// Marsaglia's xorshift: the same actions in every demo.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn row_count(db: &Connection, table: &str) -> rusqlite::Result<u64> {
    db.query_row(
        &format!("select coalesce(max(id), 1) from {table}"),
        [],
        |row| row.get(0),
    )
}

/// An action of the old release: numbered columns.
fn write_old(db: &mut Connection, action: u64) -> rusqlite::Result<()> {
    let id = action / 16 % row_count(db, "phonebook")? + 1;
    let number = format!("+1-555-{:07}", action % 10_000_000);
    match action % 16 {
        0 | 1 => db.execute(
            "insert into phonebook (owner, contact1_name, contact1_num) values (?1, 'new', ?2)",
            [format!("owner {action}"), number],
        ),
        2 => db.execute("delete from phonebook where id = ?1", [id]),
        3 => db.execute(
            "replace into phonebook (id, owner, contact2_name, contact2_num)
             values (?1, 'replaced', 'second', ?2)",
            rusqlite::params![id, number],
        ),
        4 => {
            let tx = db.transaction()?;
            for row in [id, id + 1, id + 2] {
                tx.execute(
                    "update phonebook set contact1_num = ?2 where id = ?1",
                    rusqlite::params![row, number],
                )?;
            }
            tx.commit().map(|()| 3)
        }
        5 => db.execute(
            "update or ignore phonebook set id = (select max(id) + 1 from phonebook) where id = ?1",
            [id],
        ),
        6 => db.execute(
            "update phonebook set contact1_name = null, contact1_num = null where id = ?1",
            [id],
        ),
        _ => db.execute(
            "update phonebook set contact2_name = 'moved', contact2_num = ?2 where id = ?1",
            rusqlite::params![id, number],
        ),
    }
    .map(|_| ())
}

/// An action of the new release: a list of contacts.
fn write_new(db: &mut Connection, action: u64) -> rusqlite::Result<()> {
    let id = action / 16 % row_count(db, "contacts")? + 1;
    let contact = |name: &str| {
        format!(
            r#"{{"name":"{name}","phoneNumber":"+1-555-{:07}"}}"#,
            action % 10_000_000
        )
    };
    let one = format!("[{}]", contact("new"));
    // More contacts than the old shape has columns for: they must survive the way back.
    let three = format!(
        "[{},{},{}]",
        contact("first"),
        contact("second"),
        contact("third")
    );
    match action % 16 {
        0 | 1 => db.execute(
            "insert into contacts (person, contacts, count) values (?1, ?2, 1)",
            [format!("person {action}"), one],
        ),
        2 => db.execute("delete from contacts where id = ?1", [id]),
        3 => db.execute(
            "update contacts set contacts = ?2, count = 3 where id = ?1",
            rusqlite::params![id, three],
        ),
        4 => {
            let tx = db.transaction()?;
            for row in [id, id + 1, id + 2] {
                tx.execute(
                    "update contacts set person = ?2 where id = ?1",
                    rusqlite::params![row, format!("person {action}")],
                )?;
            }
            tx.commit().map(|()| 3)
        }
        5 => db.execute(
            "update or ignore contacts set id = (select max(id) + 1 from contacts) where id = ?1",
            [id],
        ),
        _ => db.execute(
            "update contacts set contacts = ?2, count = 1 where id = ?1",
            rusqlite::params![id, one],
        ),
    }
    .map(|_| ())
}
