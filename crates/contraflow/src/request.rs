//! Asks something of a change: of the process that runs it, or, when none does, by running it
//! until the answer is there.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::ledger::{Answer, RunnerMark};
use contraflow_core::phase::Ask;
use contraflow_engine::runner::{Runner, SharedLedger, Until, refused};
use contraflow_engine::tasks::Stop;

use crate::output::Output;
use crate::session::Session;
use crate::surroundings::{is_alive, random_name, started};
use crate::watch::Display;

/// How often the ledger is asked for the answer.
const POLL: Duration = Duration::from_millis(25);
/// A runner that gave no sign of life for this long is silent: the verb does the work itself.
const SILENT_MS: u64 = 6_000;

/// This process as a runner.
#[must_use]
pub fn mark() -> RunnerMark {
    RunnerMark {
        run: random_name(),
        pid: std::process::id(),
        started: started(std::process::id()).unwrap_or(0),
        beat_ms: 0,
    }
}

/// Asks and waits for the answer.
///
/// # Errors
/// When the ledger or an end fails, or `stop` was asked.
pub fn ask(session: &Session, ask: &Ask, stop: &Stop, out: &mut Output) -> Result<Answer> {
    let ledger = session.ledger()?;
    let id = lock(&ledger).ask(ask, &mark())?;
    loop {
        if let Some(answer) = lock(&ledger).answered(id)? {
            return Ok(answer);
        }
        if !somebody_runs(session, &ledger)? {
            match by_ourselves(session, &ledger, (id, ask), stop, out) {
                // Somebody took the run a moment earlier, and will answer.
                Err(error) if error.code == Code::ALREADY_RUNNING => {}
                done => return done,
            }
        }
        if stop.wait(POLL) {
            if lock(&ledger).withdraw(id)? {
                return Err(Error::new(
                    Kind::Transient,
                    Code::WAIT_TIMED_OUT,
                    format!("interrupted; request {id} is withdrawn, nothing was done"),
                ));
            }
            return Err(Error::new(
                Kind::Transient,
                Code::WAIT_TIMED_OUT,
                format!("interrupted; request {id} stands and will be answered"),
            )
            .hint("`contraflow status` shows what became of it."));
        }
    }
}

fn somebody_runs(session: &Session, ledger: &SharedLedger) -> Result<bool> {
    let Some(runner) = lock(ledger).runner()? else {
        return Ok(false);
    };
    let silent = session
        .context
        .clock
        .unix_ms()
        .saturating_sub(runner.beat_ms)
        > SILENT_MS;
    Ok(is_alive(&runner) && !silent)
}

fn by_ourselves(
    session: &Session,
    ledger: &SharedLedger,
    (id, ask): (u64, &Ask),
    stop: &Stop,
    out: &mut Output,
) -> Result<Answer> {
    let mut display = Display::new(out, true);
    let mark = mark();
    let run = mark.run.clone();
    let runner = Runner::start(
        Arc::clone(&session.context),
        Arc::clone(ledger),
        mark,
        is_alive,
        stop.clone(),
        &mut display,
    );
    let runner = runner.or_else(|error| {
        if error.code != Code::ALREADY_RUNNING {
            // Whoever was told no must not get it later, from a run under other circumstances.
            lock(ledger).answer(&run, id, &refused(&error))?;
        }
        Err(error)
    })?;
    match ask {
        Ask::Abort => runner.abort(id)?,
        _ => runner.run(Until::Answered(id))?,
    };
    drop(display);
    if lock(ledger).answered(id)?.is_none() {
        // The run was stopped: what it did not take is not done later, by somebody else.
        lock(ledger).withdraw(id)?;
    }
    lock(ledger).answered(id)?.ok_or_else(|| {
        Error::new(
            Kind::Transient,
            Code::WAIT_TIMED_OUT,
            "stopped before the answer was there",
        )
    })
}

/// The ledger, for one call.
pub fn lock(
    ledger: &SharedLedger,
) -> std::sync::MutexGuard<'_, Box<dyn contraflow_core::ledger::Ledger>> {
    ledger
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
