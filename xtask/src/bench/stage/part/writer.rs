//! An application's writer: short transactions, each tried until it is accepted.
//!
//! That the table has moved a writer learns from the error of a write, as any application would.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, params};

use super::super::{NEW_FILE, OLD_FILE, Stage, open};
use crate::shell::{self, Stopwatch};

/// The pause between two writes of a writer.
const BETWEEN: Duration = Duration::from_millis(5);
/// The pause before a refused write is tried again.
const AGAIN: Duration = Duration::from_millis(1);
/// For how long one write is tried.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The file whose presence ends the writers.
const END_FILE: &str = "writers.end";

/// One accepted write.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Write {
    /// From the first try to the acceptance, waiting for locks included.
    pub(in crate::bench) took_ms: f64,
    /// From the first refusal to the acceptance, if it was refused.
    pub(in crate::bench) refused_ms: Option<f64>,
}

/// Writers that are at work.
pub(in crate::bench) struct Writers {
    children: Vec<(Child, PathBuf)>,
    end: PathBuf,
    /// How much of each writer's lines was read.
    read: Vec<usize>,
}

impl Writers {
    pub(in crate::bench) fn start(stage: &Stage, count: usize) -> Result<Writers> {
        let mut children = Vec::with_capacity(count);
        for i in 0..count {
            let lines = stage.path(&format!("writer{i}.txt"));
            let (folder, seed) = (stage.folder().to_str(), (i + 1).to_string());
            let folder = folder.context("the folder has a name of text")?;
            let mut command = super::start(&["writer", folder, &seed])?;
            let child = command.stdout(Stdio::from(File::create(&lines)?)).spawn();
            children.push((child.context("cannot start a writer")?, lines));
        }
        Ok(Writers {
            children,
            end: stage.path(END_FILE),
            read: vec![0; count],
        })
    }

    /// The writes that were accepted since the last call, writer by writer.
    pub(in crate::bench) fn take(&mut self) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        for ((child, lines), read) in self.children.iter_mut().zip(&mut self.read) {
            ensure!(child.try_wait()?.is_none(), "a writer has ended");
            let text = std::fs::read_to_string(lines)?;
            let fresh = &text[*read..];
            let whole = fresh.rfind('\n').map_or(0, |at| at + 1);
            for line in fresh[..whole].lines() {
                let (took, refused) = line.split_once(' ').context("a writer's line")?;
                let refused: f64 = refused.parse()?;
                writes.push(Write {
                    took_ms: took.parse()?,
                    refused_ms: (refused > 0.0).then_some(refused),
                });
            }
            *read += whole;
        }
        Ok(writes)
    }

    /// Lets every writer finish its last write.
    pub(in crate::bench) fn end(mut self) -> Result<()> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.end)?;
        for (child, _) in &mut self.children {
            ensure!(child.wait()?.success(), "a writer failed");
        }
        Ok(())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            // Without effect on one that has ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Where the writer believes the table to be.
#[derive(Clone, Copy)]
struct Release {
    file: &'static str,
    table: &'static str,
    name: &'static str,
}

const OLD: Release = Release {
    file: OLD_FILE,
    table: "phonebook",
    name: "owner",
};
const NEW: Release = Release {
    file: NEW_FILE,
    table: "contacts",
    name: "person",
};

struct Writer {
    folder: PathBuf,
    db: Connection,
    release: Release,
    ids: u64,
    random: u64,
}

/// Writes until the end is asked for, one line per accepted write.
pub(super) fn play(folder: &Path, seed: u64) -> Result<()> {
    let db = open(&folder.join(OLD.file))?;
    let sql = "select max(id) from phonebook";
    let ids = db.query_row(sql, [], |row| row.get(0))?;
    let mut writer = Writer {
        folder: folder.to_owned(),
        db,
        release: OLD,
        ids,
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    };
    let end = folder.join(END_FILE);
    while !end.exists() {
        let write = writer.write()?;
        let (took, refused) = (write.took_ms, write.refused_ms.unwrap_or(0.0));
        shell::say(&format!("{took:.3} {refused:.3}"));
        shell::pause(BETWEEN);
    }
    Ok(())
}

impl Writer {
    fn write(&mut self) -> Result<Write> {
        let action = self.next_random();
        let watch = Stopwatch::start();
        let mut refused: Option<Stopwatch> = None;
        while let Err(error) = self.try_write(action) {
            let text = error.to_string();
            // The guard of a table that has moved, or is about to.
            ensure!(text.contains("CF0302"), "a write failed: {text}");
            refused.get_or_insert_with(Stopwatch::start);
            if text.contains("authority is with side new") {
                self.follow(NEW)?;
            } else if text.contains("authority is with side old") {
                self.follow(OLD)?;
            }
            ensure!(watch.read() < GIVE_UP, "a write was refused for too long");
            shell::pause(AGAIN);
        }
        let ms = |watch: Stopwatch| watch.read().as_secs_f64() * 1_000.0;
        Ok(Write {
            refused_ms: refused.map(ms),
            took_ms: ms(watch),
        })
    }

    fn follow(&mut self, release: Release) -> Result<()> {
        self.db = open(&self.folder.join(release.file))?;
        self.release = release;
        Ok(())
    }

    fn try_write(&self, action: u64) -> rusqlite::Result<usize> {
        let Release { table, name, .. } = self.release;
        let id = action / 8 % self.ids + 1;
        let text = format!("by {action}");
        match action % 8 {
            0 => {
                let sql = format!("insert into {table} ({name}, city) values (?1, 'new')");
                self.db.prepare_cached(&sql)?.execute([text])
            }
            1 => {
                let sql = format!("delete from {table} where id = ?1");
                self.db.prepare_cached(&sql)?.execute([id])
            }
            _ => {
                let sql = format!("update {table} set city = ?1 where id = ?2");
                self.db.prepare_cached(&sql)?.execute(params![text, id])
            }
        }
    }

    /// Marsaglia's xorshift: the same actions in every run.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
