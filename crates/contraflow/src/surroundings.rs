//! What the libraries do not do themselves: time, chance, signals, other processes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use contraflow_core::clock::Clock;
use contraflow_core::ledger::RunnerMark;
use contraflow_core::probe::Probe;
use contraflow_engine::tasks::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn default() -> SystemClock {
        SystemClock {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn sleep(&self, time: Duration) {
        // Justified: this is what `Clock::sleep` means on a real machine, and the only place of the
        // program that sleeps. Everybody else waits through `Clock`, which tests replace.
        std::thread::sleep(time);
    }
}

/// A name that nobody else has: 128 random bits.
#[must_use]
pub fn random_name() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

/// Whether a process of this machine lives. A stopped one does; another one that was given its
/// number does not count.
#[must_use]
pub fn is_alive(process: &RunnerMark) -> bool {
    if !cfg!(target_os = "linux") {
        // Without a process table to read, its silence has to be waited for.
        return true;
    }
    match started(process.pid) {
        None => false,
        Some(_) if process.started == 0 => process.pid != std::process::id(),
        Some(started) => started == process.started,
    }
}

/// When a living process was started, in ticks since the system was.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the state, field 3, follows the last of them.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    if fields.next()? == "Z" {
        // A zombie has a place in the table and no life.
        return None;
    }
    fields.nth(22 - 3 - 1)?.parse().ok()
}

/// A file that meets the size limit of this process is a failed write, not the end of it: the
/// write is reported, and the change is held with its reason.
///
/// # Errors
/// When the system refuses.
pub fn survive_file_limits() -> anyhow::Result<()> {
    let noticed = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, noticed)
        .context("cannot listen to signals")?;
    Ok(())
}

/// Asks `stop` on the first interrupt or termination; a second one ends the process at once.
/// Says which signal came.
///
/// # Errors
/// When the system refuses the handler.
pub fn stop_on_signals(stop: &Stop) -> anyhow::Result<Arc<std::sync::atomic::AtomicI32>> {
    use std::sync::atomic::{AtomicI32, Ordering};
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen to signals")?;
    let came = Arc::new(AtomicI32::new(0));
    let (told, stop) = (Arc::clone(&came), stop.clone());
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if told.swap(signal, Ordering::SeqCst) != 0 {
                    std::process::exit(128 + signal);
                }
                stop.ask();
            }
        })
        .context("cannot start the thread that listens to signals")?;
    Ok(came)
}

/// What looks on at named points: nothing, or in a build for crash tests the executioner.
#[must_use]
pub fn probe() -> Arc<dyn Probe> {
    #[cfg(feature = "crash-points")]
    if let Some(executioner) = executioner::Executioner::from_environment() {
        return Arc::new(executioner);
    }
    Arc::new(contraflow_core::probe::Silent)
}

#[cfg(test)]
mod tests;

#[cfg(feature = "crash-points")]
mod executioner {
    //! Kills this process with SIGKILL, or stops it with SIGSTOP, at the n-th hit of a point, and
    //! counts hits on the way.

    use std::collections::HashMap;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    use contraflow_core::error::Result;
    use contraflow_core::probe::{Point, Probe};

    /// Stops a process; with a lock on a file that another thread of it is about to give back, it
    /// goes on until that thread has. Whoever is at the point waits meanwhile.
    const STAND_STILL: &str = r#"
        for try in $(seq 50); do
            kill -STOP "$1"
            until grep -q '^State:.T' "/proc/$1/status"; do :; done
            grep -q "WRITE $1 " /proc/locks || exit 0
            kill -CONT "$1"
            sleep 0.02
        done
        kill -STOP "$1""#;

    pub(super) struct Executioner {
        /// Where it ends, from `CONTRAFLOW_CRASH_AT=point:hit`.
        crash: Option<(String, u64)>,
        /// Where it stands still until somebody continues it, from `CONTRAFLOW_STOP_AT=point:hit`.
        stop: Option<(String, u64)>,
        /// Where every hit is written, a line each.
        log: Option<PathBuf>,
        hits: Mutex<HashMap<&'static str, u64>>,
    }

    impl Executioner {
        pub(super) fn from_environment() -> Option<Executioner> {
            let place = |name: &str| {
                let at = std::env::var(name).ok()?;
                let (point, hit) = at.split_once(':')?;
                Some((point.to_owned(), hit.parse().ok()?))
            };
            let (crash, stop) = (place("CONTRAFLOW_CRASH_AT"), place("CONTRAFLOW_STOP_AT"));
            let log = std::env::var_os("CONTRAFLOW_CRASH_LOG").map(PathBuf::from);
            (crash.is_some() || stop.is_some() || log.is_some()).then(|| Executioner {
                crash,
                stop,
                log,
                hits: Mutex::default(),
            })
        }

        fn signal(script: &str) {
            let pid = std::process::id().to_string();
            drop(
                std::process::Command::new("sh")
                    .args(["-c", script, "executioner", &pid])
                    .status(),
            );
        }
    }

    impl Probe for Executioner {
        fn at(&self, point: Point) -> Result<()> {
            let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
            let hit = hits.entry(point.0).or_insert(0);
            *hit += 1;
            if let Some(log) = &self.log {
                let file = std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(log);
                if let Ok(mut file) = file {
                    // A log that cannot be written makes the sweep fail by itself.
                    drop(writeln!(file, "{}", point.0));
                }
            }
            let here = |at: &Option<(String, u64)>| {
                at.as_ref()
                    .is_some_and(|(name, at)| name == point.0 && *at == *hit)
            };
            if here(&self.stop) {
                Executioner::signal(STAND_STILL);
            }
            if here(&self.crash) {
                Executioner::signal("kill -KILL $1");
                loop {
                    std::thread::park();
                }
            }
            Ok(())
        }
    }
}
