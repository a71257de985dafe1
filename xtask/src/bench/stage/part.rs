//! Parts that other processes play: the peer, and the application's writers.
//!
//! A part is this program once more, as `xtask bench-part NAME FOLDER ..`, so that its memory and
//! CPU are its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::process::Usage;
use super::{OLD_FILE, PEER_FILE, Reshape, Stage, open};
use crate::bench::topic;
use crate::shell::{self, Stopwatch};

pub(in crate::bench) mod writer;

/// What a copy by one statement took.
pub(super) struct Done {
    pub(super) time: Duration,
    pub(super) cpu: Duration,
    pub(super) memory_mib: f64,
}

/// This program, about to play a part.
fn start(args: &[&str]) -> Result<Command> {
    let here = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(here);
    command.arg("bench-part").args(args).stdin(Stdio::null());
    Ok(command)
}

/// Lets a process of its own play a part to its end, and gives back the figures that it says.
pub(in crate::bench) fn figures<const N: usize>(args: &[&str]) -> Result<[f64; N]> {
    let done = start(args)?.output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "the peer failed: {said}");
    let text = String::from_utf8_lossy(&done.stdout);
    let figures: Vec<f64> = text
        .split_whitespace()
        .map_while(|figure| figure.parse().ok())
        .collect();
    <[f64; N]>::try_from(figures).map_err(|_| anyhow::anyhow!("the peer says: {text}"))
}

/// Plays a part.
pub(in crate::bench) fn play(args: &[String]) -> Result<bool> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["copy", folder, reshape, new_table] => {
            let reshape = match *reshape {
                "group" => Reshape::Group,
                _ => Reshape::Rename,
            };
            play_copy(&PathBuf::from(folder), reshape, new_table)?;
        }
        ["topic-bare", servers, from, to, records] => {
            topic::bare::play(servers, from, to, records.parse()?)?;
        }
        ["writer", folder, seed] => writer::play(&PathBuf::from(folder), seed.parse()?)?,
        _ => bail!("there is no such part"),
    }
    Ok(true)
}

/// Lets the peer copy, in a process of its own. Its file stays.
pub(super) fn copy(stage: &Stage) -> Result<Done> {
    let reshape = match stage.reshape {
        Reshape::Rename => "rename",
        Reshape::Group => "group",
    };
    let folder = stage
        .folder()
        .to_str()
        .context("the folder has a name of text")?;
    let [time, cpu, memory_mib] = figures(&["copy", folder, reshape, &stage.new_table])?;
    Ok(Done {
        time: Duration::from_secs_f64(time),
        cpu: Duration::from_secs_f64(cpu),
        memory_mib,
    })
}

/// As durable as ours, with as large a page cache; the commit and its checkpoint count.
fn play_copy(folder: &Path, reshape: Reshape, new_table: &str) -> Result<()> {
    let new = folder.join(PEER_FILE);
    let db = open(&new)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.execute_batch(new_table)?;
    drop(db);
    let db = open(&folder.join(OLD_FILE))?;
    let path = new.to_str().context("the folder has a name of text")?;
    db.execute("attach ?1 as new", [path])?;
    db.execute_batch(
        "pragma main.cache_size = -16384; pragma new.cache_size = -16384;
         pragma new.synchronous = full;",
    )?;
    let watch = Stopwatch::start();
    db.execute(reshape.statement(), [])?;
    let time = watch.read().as_secs_f64();
    let usage = Usage::of("self")?;
    let (cpu, memory) = (usage.cpu.as_secs_f64(), usage.memory_mib);
    shell::say(&format!("{time} {cpu} {memory}"));
    Ok(())
}
