//! Taking the run of a change.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::ledger::RunnerMark;

use super::{BEAT_LASTS_MS, IsAlive, SharedLedger, lock};
use crate::context::Context;

/// A sign of life from further in the future was given under a clock that was wrong: it says
/// nothing about a run of now.
const AHEAD_MAX_MS: u64 = 5_000;

/// Takes the run, unless another living process has it.
pub(super) fn take_run(
    context: &Context,
    ledger: &SharedLedger,
    mark: &RunnerMark,
    is_alive: IsAlive,
) -> Result<()> {
    let now = context.clock.unix_ms();
    let holder = lock(ledger).runner()?;
    let ahead = now.saturating_add(AHEAD_MAX_MS);
    let gone = holder.filter(|holder| !is_alive(holder) || holder.beat_ms > ahead);
    let holder = lock(ledger).beat(
        &RunnerMark {
            beat_ms: now,
            ..mark.clone()
        },
        now.saturating_sub(BEAT_LASTS_MS),
        gone.as_ref().map(|holder| holder.run.as_str()),
    )?;
    if holder.run == mark.run {
        return Ok(());
    }
    let ago = now.saturating_sub(holder.beat_ms) / 1_000;
    let message = format!("process {} runs this change", holder.pid);
    Err(
        Error::new(Kind::Precondition, Code::ALREADY_RUNNING, message)
            .detail(format!("Its last sign of life is {ago} s old."))
            .hint(
                "Verbs in this terminal reach it as they are; it is taken over when it is silent.",
            ),
    )
}
