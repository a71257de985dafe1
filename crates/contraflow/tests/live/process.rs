//! Processes of a test: none outlives it, and none is waited for without a deadline.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use contraflow::surroundings::SystemClock;
use contraflow_core::clock::Clock;
use contraflow_engine::tasks::Stop;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Longer than anything here takes on two busy cores in a debug build.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The same where tests run whole: millions of rows.
const PATIENCE_WHOLE: Duration = Duration::from_secs(900);

/// Waits for a condition.
pub(crate) fn until(what: &str, reached: impl FnMut() -> bool) {
    assert!(reached_in_time(reached), "waited too long: {what}");
}

/// Waits for a condition; false when it was not reached in time.
pub(crate) fn reached_in_time(mut reached: impl FnMut() -> bool) -> bool {
    let clock = SystemClock::default();
    let patience = match std::env::var_os("CONTRAFLOW_SOAK") {
        Some(_) => PATIENCE_WHOLE,
        None => PATIENCE,
    };
    while !reached() {
        if clock.elapsed() >= patience {
            return false;
        }
        pause(LOOK);
    }
    true
}

/// Lets this much time pass; only for what must *not* happen in it.
pub(crate) fn pause(time: Duration) {
    assert!(!Stop::default().wait(time));
}

/// A process with its output in a file. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts a process; stdout and stderr go to `<log>.out` and `<log>.err`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Process {
        let file = |ending: &str| File::create(log.with_extension(ending)).expect("a log file");
        let child = command
            .stdin(std::process::Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("the process starts");
        Process {
            child,
            log: log.to_owned(),
            exit: None,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there; a stopped process is.
    pub(crate) fn runs(&mut self) -> bool {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("a child of this test");
        }
        self.exit.is_none()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits until it is stopped by a signal.
    pub(crate) fn until_stopped(&mut self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        until("the process stops", || {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            let state = text.rsplit(')').next().unwrap_or("").trim_start();
            assert!(self.runs(), "ended instead of stopping:\n{}", self.err());
            state.starts_with('T')
        });
    }

    /// Stops it at a moment when it holds no lock on a file: whoever needs the file would wait for
    /// it.
    pub(crate) fn stand_still(&mut self) {
        let held = format!("WRITE {} ", self.child.id());
        until("the process holds no lock", || {
            self.signal("-STOP");
            self.until_stopped();
            let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
            let holds = locks.contains(&held);
            if holds {
                self.signal("-CONT");
            }
            !holds
        });
    }

    /// Waits for its end: the exit code, or `None` when a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        until("the process ends", || !self.runs());
        self.exit.and_then(|status| status.code())
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        drop(self.child.kill());
        assert!(self.wait() != Some(101), "a panic:\n{}", self.err());
    }

    /// Asks it to end, and says its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        if self.runs() {
            self.signal("-TERM");
        }
        self.wait()
    }

    /// What it wrote to stdout.
    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("out")).expect("its log")
    }

    /// What it wrote to stderr.
    pub(crate) fn err(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("err")).expect("its log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
