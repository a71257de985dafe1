//! This program, as the stories start it: in a folder with a change file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use contraflow_core::clock::Clock;

use crate::surroundings::SystemClock;

/// The change file of a story.
pub(super) const CHANGE_FILE: &str = "contraflow.yaml";
/// How long any act may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program and the folder.
pub(super) struct Program {
    folder: PathBuf,
    program: PathBuf,
    clock: SystemClock,
}

impl Program {
    /// This program in a folder.
    pub(super) fn in_folder(folder: &Path) -> anyhow::Result<Program> {
        Ok(Program {
            folder: folder.to_owned(),
            program: std::env::current_exe().context("cannot find this program's own file")?,
            clock: SystemClock::default(),
        })
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts the change.
    pub(super) fn run(&self) -> anyhow::Result<Child> {
        self.command()
            .arg("run")
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the change")
    }

    /// Runs a verb to its end.
    pub(super) fn verb(&self, args: &[&str]) -> anyhow::Result<()> {
        let done = self.command().args(args).stderr(Stdio::piped()).output()?;
        if !done.status.success() {
            bail!(
                "`{}` failed: {}",
                args.join(" "),
                String::from_utf8_lossy(&done.stderr).trim()
            );
        }
        Ok(())
    }

    /// Looks so often whether something has happened, until it has.
    pub(super) fn wait(
        &self,
        what: &str,
        every: Duration,
        mut there: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = self.clock.elapsed() + PATIENCE;
        while !there()? {
            if self.clock.elapsed() > deadline {
                bail!("waited {} s for {what}", PATIENCE.as_secs());
            }
            self.clock.sleep(every);
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn clock(&self) -> &SystemClock {
        &self.clock
    }
}
