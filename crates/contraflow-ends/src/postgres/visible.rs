//! The visibility barrier: what the log has shown is visible to what is read next.
//!
//! PostgreSQL writes a commit to its log before other sessions can see it. A feed can therefore
//! hand out a transaction that a later `select` does not show yet: read then, the old row would be
//! carried after the new one and stay. Every transaction that was received is *unproven* until a
//! snapshot shows it; a reader waits for those it must see. Visibility only grows, so a later
//! snapshot shows them too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use postgres::Client;

use super::connection;

/// The first and the longest pause between two looks.
const PAUSE_FIRST: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// A synchronous standby that is gone keeps commits invisible for as long as it is gone.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Transactions that were received and not yet seen by a snapshot, by the place of their commit.
#[derive(Debug, Default)]
pub(super) struct Unproven(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    commits: BTreeMap<u64, u32>,
    /// Some that were handed out before a restart have not been received again yet.
    missing: bool,
}

impl Unproven {
    /// A transaction was received. Called before anything of it is handed out.
    pub(super) fn receive(&self, commit_lsn: u64, xid: u32) {
        self.lock().commits.insert(commit_lsn, xid);
    }

    /// What was handed out before is received again from here on: until then nobody knows all that
    /// must be waited for.
    pub(super) fn forget(&self) {
        self.lock().missing = true;
    }

    /// Everything that was handed out before has been received again.
    pub(super) fn complete(&self) {
        self.lock().missing = false;
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.lock().missing
    }

    /// Where the oldest unproven commit lies: a restart must receive it again.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lock().commits.first_key_value().map(|(lsn, _)| *lsn)
    }

    /// Forgets what a snapshot shows.
    pub(super) fn prune(&self, snapshot: &Snapshot) {
        self.lock().commits.retain(|_, xid| !snapshot.shows(*xid));
    }

    /// What must be seen; `None` while that is not known.
    fn pending(&self) -> Option<Vec<u32>> {
        let known = self.lock();
        (!known.missing).then(|| known.commits.values().copied().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session sees: `xmin:xmax:xip,..` of `pg_current_snapshot()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) xmin: u64,
    pub(super) xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    pub(super) fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        let (xmin, xmax) = (number()?, number()?);
        let running = parts.next()?.split(',').filter(|part| !part.is_empty());
        let running: Option<Vec<u64>> = running.map(|part| part.parse().ok()).collect();
        Some(Snapshot {
            xmin,
            xmax,
            running: running?,
        })
    }

    /// Whether a committed transaction is visible. The log has 32 bits of its number; the newest
    /// number that the snapshot knows says which of the two halves of the circle it lies in.
    pub(super) fn shows(&self, xid: u32) -> bool {
        let xid = widened(xid, self.xmax);
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

/// The full number of a transaction that is less than 2^31 away from `near`.
fn widened(xid: u32, near: u64) -> u64 {
    const ROUND: u64 = 1 << 32;
    let candidate = near / ROUND * ROUND + u64::from(xid);
    if candidate > near + ROUND / 2 {
        candidate.saturating_sub(ROUND)
    } else if candidate + ROUND / 2 < near {
        candidate + ROUND
    } else {
        candidate
    }
}

/// The snapshot of the next statement of this session, or of its transaction.
pub(super) fn snapshot(client: &mut impl postgres::GenericClient) -> Result<Snapshot> {
    let text = connection::asked(client, "select pg_current_snapshot()")?;
    Snapshot::parse(&text).ok_or_else(|| {
        Error::new(
            Kind::Internal,
            Code::INTERNAL,
            "a snapshot has an unexpected form",
        )
    })
}

/// Waits until everything received so far, and everything that ran when the slot was made
/// (numbers below `slot_from`), is visible to this session.
pub(super) fn barrier(
    client: &mut Client,
    unproven: &Unproven,
    slot_from: u64,
    clock: &dyn Clock,
) -> Result<()> {
    let mut wanted = unproven.pending();
    let deadline = clock.elapsed() + WAIT_MAX;
    let mut pause = PAUSE_FIRST;
    loop {
        let seen = snapshot(client)?;
        unproven.prune(&seen);
        let shown = |wanted: &Vec<u32>| wanted.iter().all(|xid| seen.shows(*xid));
        if seen.xmin >= slot_from && wanted.as_ref().is_some_and(shown) {
            return Ok(());
        }
        wanted = wanted.or_else(|| unproven.pending());
        if clock.elapsed() >= deadline {
            let message = "transactions are committed in the log but not visible yet";
            return Err(Error::new(Kind::Transient, Code::END_BUSY, message)
                .detail(
                    "A synchronous standby may be gone, or a transaction from before the \
                     change is still open.",
                )
                .hint("Look at `pg_stat_replication` and `pg_stat_activity`."));
        }
        clock.sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests;
