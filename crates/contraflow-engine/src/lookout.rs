//! Looks again and again who reads the old logs, and keeps what it has seen in the ledger: whether
//! nobody does for long enough is not known at one moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contraflow_core::end::User;
use contraflow_core::error::Result;
use contraflow_core::sighting::Said;

use crate::context::Context;
use crate::runner::SharedLedger;
use crate::tasks::{Stop, TaskSet};

/// How often it looks: whoever comes and goes between two looks without a commit is not seen.
const EVERY: Duration = Duration::from_secs(10);

/// Somebody who looks, in a thread of its own, until this is dropped.
pub(crate) struct Lookout {
    eyes: Arc<Eyes>,
    _looker: TaskSet,
}

struct Eyes {
    context: Arc<Context>,
    ledger: SharedLedger,
    /// One look at a time: each goes on from what the one before has kept.
    looking: Mutex<()>,
}

impl Lookout {
    /// Begins, where the old end knows its readers.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(context: &Arc<Context>, ledger: &SharedLedger) -> Result<Option<Lookout>> {
        if context.old.end.readers(&context.old.role).is_none() {
            return Ok(None);
        }
        let eyes = Arc::new(Eyes {
            context: Arc::clone(context),
            ledger: Arc::clone(ledger),
            looking: Mutex::default(),
        });
        let mut looker = TaskSet::new(Stop::default());
        let these = Arc::clone(&eyes);
        looker.spawn("lookout", move |stop| {
            loop {
                // A look that fails proves nothing: the time until the next one does not count.
                drop(these.look());
                if stop.wait(EVERY) {
                    return;
                }
            }
        })?;
        Ok(Some(Lookout {
            eyes,
            _looker: looker,
        }))
    }

    /// Looks now, and says who stands in the way of taking the old logs down.
    ///
    /// # Errors
    /// When an end or the ledger cannot be read.
    pub(crate) fn in_the_way(&self) -> Result<Vec<User>> {
        self.eyes.look()?;
        let Eyes {
            context, ledger, ..
        } = &*self.eyes;
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = ledger.marks()?;
        let said = Said {
            marks: &marks,
            declared: &context.consumers,
            gone: context.limits.readers_gone,
        };
        Ok(ledger.sighted()?.in_the_way(context.clock.unix_ms(), said))
    }
}

impl Eyes {
    fn look(&self) -> Result<()> {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        // What is seen was so at this moment or later.
        let now_ms = self.context.clock.unix_ms();
        let old = self.context.old.readers()?.groups()?;
        let new = self.context.new.readers()?.groups()?;
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sightings = ledger.sighted()?;
        sightings.look(now_ms, &old, &new);
        ledger.sight(&sightings)
    }
}
