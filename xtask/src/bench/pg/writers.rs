//! An application's writers: single updates, each tried until one of the ends accepts it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use postgres::{Client, Statement};

use super::people::{NEW_TABLE, OLD_TABLE};
use super::stage::{NEW, OLD, Stage};
use crate::shell::{self, Stopwatch};

/// The pause between two writes of a writer.
const BETWEEN: Duration = Duration::from_millis(5);
/// The pause before a refused write is tried at the other end.
const AGAIN: Duration = Duration::from_millis(1);
/// For how long one write is tried.
const GIVE_UP: Duration = Duration::from_secs(60);
/// What a write is refused with where the authority is not, or is about to leave.
const REFUSED: &str = "CF302";

/// One accepted write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    /// From the first try to the acceptance, waiting for locks included.
    pub(super) took_ms: f64,
    /// Whether it was refused on the way.
    pub(super) was_refused: bool,
}

/// Writers that are at work.
#[derive(Default)]
pub(super) struct Writers {
    over: AtomicBool,
    writes: Mutex<Vec<Write>>,
}

impl Writers {
    /// Lets so many write while something is done.
    pub(super) fn during<T>(
        stage: &Stage,
        count: u64,
        work: impl FnOnce(&Writers) -> Result<T>,
    ) -> Result<T> {
        let writers = Writers::default();
        std::thread::scope(|scope| {
            let all: Vec<_> = (1..=count)
                .map(|seed| (seed, &writers))
                .map(|(seed, writers)| scope.spawn(move || writers.play(stage, seed)))
                .collect();
            let done = work(&writers);
            writers.over.store(true, Ordering::Release);
            for writer in all {
                writer.join().map_err(|_| anyhow!("a writer died"))??;
            }
            done
        })
    }

    /// The writes that were accepted since the last call.
    pub(super) fn take(&self) -> Vec<Write> {
        std::mem::take(&mut *self.writes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn play(&self, stage: &Stage, seed: u64) -> Result<()> {
        let mut writer = Writer {
            ends: [End::of(stage, OLD)?, End::of(stage, NEW)?],
            at: 0,
            rows: stage.rows(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        while !self.over.load(Ordering::Acquire) {
            let write = writer.write()?;
            let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
            writes.push(write);
            drop(writes);
            shell::pause(BETWEEN);
        }
        Ok(())
    }
}

/// A connection to an end.
struct End {
    client: Client,
    update: Option<Statement>,
}

impl End {
    fn of(stage: &Stage, database: &str) -> Result<End> {
        let client = stage.connect(database)?;
        Ok(End {
            client,
            update: None,
        })
    }
}

struct Writer {
    ends: [End; 2],
    /// Where the writer believes the table to be.
    at: usize,
    rows: u64,
    random: u64,
}

impl Writer {
    fn write(&mut self) -> Result<Write> {
        let id = i64::try_from(self.next_random() % self.rows + 1)?;
        let watch = Stopwatch::start();
        let mut was_refused = false;
        while let Err(error) = self.try_write(id) {
            let code = error.code().map(postgres::error::SqlState::code);
            if code != Some(REFUSED) {
                return Err(error).context("a write failed");
            }
            was_refused = true;
            self.at = 1 - self.at;
            ensure!(watch.read() < GIVE_UP, "a write was refused for too long");
            shell::pause(AGAIN);
        }
        Ok(Write {
            took_ms: watch.read().as_secs_f64() * 1_000.0,
            was_refused,
        })
    }

    fn try_write(&mut self, id: i64) -> Result<(), postgres::Error> {
        let table = [OLD_TABLE, NEW_TABLE][self.at];
        let End { client, update } = &mut self.ends[self.at];
        let statement = match update {
            Some(statement) => statement.clone(),
            None => {
                let sql = format!("update {table} set balance = balance + 0.01 where id = $1");
                update.insert(client.prepare(&sql)?).clone()
            }
        };
        client.execute(&statement, &[&id]).map(drop)
    }

    /// Marsaglia's xorshift: the same rows in every run.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
