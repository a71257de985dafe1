//! Our program as a process: started, watched through its ledger, and measured from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};

use super::LEDGER_FOLDER;
use crate::shell::{self, Stopwatch};

/// Longer than any copy of a benchmark takes.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How often a process is looked at: rare enough to cost it nothing.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the ledger's history between which history was copied.
const EXPANDED: &str = "done: expand both ends";
const COPIED: &str = "history is copied";
/// Clock ticks per second in `/proc`: fixed for programs, whatever the kernel uses inside.
const TICKS_PER_S: u64 = 100;

/// Builds the program that ships and says where it lies: beside this one.
pub(in crate::bench) fn build() -> Result<PathBuf> {
    let args = ["build", "--quiet", "--release", "--locked", "--package"];
    let mut command = shell::cargo(&args)?;
    command.arg("contraflow");
    ensure!(shell::succeeds(&mut command)?, "contraflow does not build");
    let here = std::env::current_exe().context("cannot find this program's own file")?;
    let program = here.with_file_name("contraflow");
    ensure!(program.is_file(), "{} is not there", program.display());
    Ok(program)
}

/// Runs a verb to its end and gives back what it wrote.
pub(in crate::bench) fn verb(program: &Path, folder: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let done = command.current_dir(folder).args(args).output()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let verb = args.join(" ");
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`contraflow {verb}` says: {text}{said}");
    }
    Ok(text)
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Usage {
    pub(in crate::bench) cpu: Duration,
    pub(in crate::bench) memory_mib: f64,
}

impl Usage {
    /// Of a process that lives: by number, or `self`.
    pub(in crate::bench) fn of(process: &str) -> Result<Usage> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
        let status = read("status").context("the process is gone")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|line| line.split_whitespace().next());
        let kib: u32 = kib.context("no peak in /proc")?.parse()?;
        let stat = read("stat").context("the process is gone")?;
        // Behind the name in parentheses; user and system time are fields 14 and 15 of all.
        let (_, fields) = stat.rsplit_once(')').context("no name in /proc")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse().unwrap_or(0)).sum();
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1_000 / TICKS_PER_S),
            memory_mib: f64::from(kib) / 1_024.0,
        })
    }
}

/// `contraflow run` while it runs.
pub(in crate::bench) struct Run {
    child: Child,
    folder: PathBuf,
    ledger: PathBuf,
}

impl Run {
    /// Starts the program in the folder of a change of this name.
    pub(in crate::bench) fn start(program: &Path, folder: &Path, change: &str) -> Result<Run> {
        Run::start_on(None, program, folder, change)
    }

    /// The same on these cores.
    pub(in crate::bench) fn start_on(
        cores: Option<&str>,
        program: &Path,
        folder: &Path,
        change: &str,
    ) -> Result<Run> {
        let said = fs::File::create(folder.join("run.log"))?;
        let child = shell::on(cores, program)
            .arg("run")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .context("cannot start contraflow")?;
        Ok(Run {
            child,
            folder: folder.to_owned(),
            ledger: folder.join(LEDGER_FOLDER).join(format!("{change}.db")),
        })
    }

    /// Waits until history is copied and says how long that took, by the ledger: from the moment
    /// both ends were expanded, so that neither the start of the process nor its DDL counts.
    pub(in crate::bench) fn wait_copied(&self) -> Result<Duration> {
        let watch = Stopwatch::start();
        loop {
            if let Some(took) = self.took()? {
                return Ok(took);
            }
            let usage = Usage::of(&self.child.id().to_string());
            if usage.is_err() || watch.read() > PATIENCE {
                let said = fs::read_to_string(self.folder.join("run.log"))?;
                bail!("contraflow did not copy its history: {said}");
            }
            shell::pause(LOOK);
        }
    }

    fn took(&self) -> Result<Option<Duration>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let Ok(db) = Connection::open_with_flags(&self.ledger, flags) else {
            return Ok(None);
        };
        db.busy_timeout(super::BUSY_WAIT)?;
        let at = |text: &str| -> rusqlite::Result<Option<u64>> {
            let sql = "select max(at_ms) from history where text = ?1";
            db.query_row(sql, [text], |row| row.get(0))
        };
        // Right after the start there may be no tables yet.
        let (Ok(Some(began)), Ok(Some(ended))) = (at(EXPANDED), at(COPIED)) else {
            return Ok(None);
        };
        // Not less than the ledger can tell.
        let took = ended.saturating_sub(began).max(1);
        Ok(Some(Duration::from_millis(took)))
    }

    pub(in crate::bench) fn usage(&self) -> Result<Usage> {
        Usage::of(&self.child.id().to_string())
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub(in crate::bench) fn stop(self) -> Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status()?;
        ensure!(sent.success(), "contraflow has ended before its time");
        self.wait_end()
    }

    /// Waits for the end of a change that is over.
    pub(in crate::bench) fn wait_end(mut self) -> Result<()> {
        self.child.wait().context("cannot wait for contraflow")?;
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Without effect on one that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
