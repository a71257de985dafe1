//! What the chores need of the machine: output, commands and a stopwatch.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Writes a line of data to stdout.
pub(crate) fn say(line: &str) {
    // A reader that has gone away wants no more lines.
    writeln!(io::stdout().lock(), "{line}").ok();
}

/// Writes a line about what is going on to stderr.
pub(crate) fn note(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// The root of the repository.
pub(crate) fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask lies in the repository")?;
    Ok(root.to_owned())
}

/// The cargo that runs us, at the root of the repository.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root()?);
    Ok(command)
}

/// A program that keeps to some of the machine's cores, where that is wanted.
#[cfg(feature = "bench")]
pub(crate) fn on(cores: Option<&str>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let Some(cores) = cores else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Runs a command to its end, showing what it writes. Says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().context("cannot start cargo")?;
    Ok(status.success())
}

/// As [`succeeds`], and hands over every line that goes to stdout.
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.context("cannot start cargo")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    for read in BufReader::new(stdout).split(b'\n') {
        let bytes = read.context("cannot read what cargo writes")?;
        let text = String::from_utf8_lossy(&bytes);
        say(&text);
        line(&text);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(status.success())
}

/// Lets other processes work for a while.
#[expect(clippy::disallowed_methods, reason = "the one clock of the chores")]
pub(crate) fn pause(time: Duration) {
    // The chores see programs from outside: they pace writers as an application does, let a window
    // of time pass, and look again at processes that have no way to call back.
    std::thread::sleep(time);
}

/// A running stopwatch.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one clock of the chores")]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(crate) fn read(&self) -> Duration {
        self.0.elapsed()
    }
}
