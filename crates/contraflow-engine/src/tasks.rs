//! Threads with a name and an owner that awaits them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};

/// A request to stop, shared by everybody who should hear it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Debug, Default)]
struct StopState {
    asked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Asks everybody to stop.
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        let _held = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.changed.notify_all();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Waits for the time given, or less when somebody asks to stop. Says whether somebody did.
    #[must_use]
    pub fn wait(&self, time: Duration) -> bool {
        let held = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.asked() {
            let waited = self.0.changed.wait_timeout(held, time);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.asked()
    }
}

/// A set of threads. Dropping it asks them to stop and waits for all of them.
#[derive(Debug, Default)]
pub struct TaskSet {
    stop: Stop,
    running: Vec<JoinHandle<()>>,
}

impl TaskSet {
    /// A set whose threads listen to `stop`.
    #[must_use]
    pub fn new(stop: Stop) -> TaskSet {
        TaskSet {
            stop,
            running: Vec::new(),
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(&mut self, name: &str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<()> {
        let stop = self.stop.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&stop))
            .map_err(|source| {
                let message = format!("cannot start the thread `{name}`");
                Error::new(Kind::Transient, Code::INTERNAL, message).because(source)
            })?;
        self.running.push(thread);
        Ok(())
    }

    /// Asks all to stop and waits for them.
    pub fn join(&mut self) {
        self.stop.ask();
        for thread in self.running.drain(..) {
            // A panic was printed by the thread itself; its owner sees the work undone.
            drop(thread.join());
        }
    }
}

impl Drop for TaskSet {
    fn drop(&mut self) {
        self.join();
    }
}
