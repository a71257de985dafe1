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
use crate::session::{Refusal, Session};
use crate::surroundings::{is_alive, random_name, started};
use crate::watch::Display;

/// How often the ledger is asked for the answer.
const POLL: Duration = Duration::from_millis(25);
/// A runner that gave no sign of life for this long is silent: the verb does the work itself.
const SILENT_MS: u64 = 6_000;

/// This process as a runner.
#[must_use]
pub fn mark(session: &Session) -> RunnerMark {
    RunnerMark {
        file: session.file,
        run: random_name(),
        pid: std::process::id(),
        started: started(std::process::id()).unwrap_or(0),
        brief: false,
        beat_ms: 0,
    }
}

/// Something to be asked of a change.
pub struct Request<'r> {
    ask: &'r Ask,
    /// Enough while somebody runs the change.
    declared: Session,
    /// What this process runs the change with, when nobody else does.
    bound: Option<Session>,
    bind: Box<Bind<'r>>,
}

/// How a change is bound for a request.
type Bind<'r> = dyn Fn() -> std::result::Result<Session, Refusal> + 'r;

impl<'r> Request<'r> {
    /// A request of a change that somebody runs, or that can be bound. Nothing is asked yet.
    ///
    /// # Errors
    /// When nobody runs the change, as binding it fails; and when the ledger cannot be read.
    pub fn new(
        ask: &'r Ask,
        declared: Session,
        bind: impl Fn() -> std::result::Result<Session, Refusal> + 'r,
    ) -> std::result::Result<Request<'r>, Refusal> {
        let answered = is_answered_as_it_is(&declared).map_err(Refusal::Failed)?;
        let bound = if answered { None } else { Some(bind()?) };
        Ok(Request {
            ask,
            declared,
            bound,
            bind: Box::new(bind),
        })
    }

    /// The change as far as it is known.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.bound.as_ref().unwrap_or(&self.declared)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the ledger or an end fails, or `stop` was asked; and when the process that ran the
    /// change has gone, as binding it fails: nothing was done then.
    pub fn answer(mut self, stop: &Stop, out: &mut Output) -> std::result::Result<Answer, Refusal> {
        let ledger = self.session().ledger().map_err(Refusal::Failed)?;
        let asked = lock(&ledger).ask(self.ask, &mark(self.session()));
        let id = asked.map_err(Refusal::Failed)?;
        loop {
            if let Some(answer) = self.step(&ledger, id, stop, out)? {
                return Ok(answer);
            }
            if stop.wait(POLL) {
                return Err(Refusal::Failed(interrupted(&ledger, id)));
            }
        }
    }

    /// Looks for the answer, and runs the change when nobody else does.
    fn step(
        &mut self,
        ledger: &SharedLedger,
        id: u64,
        stop: &Stop,
        out: &mut Output,
    ) -> std::result::Result<Option<Answer>, Refusal> {
        let answered = lock(ledger).answered(id).map_err(Refusal::Failed)?;
        if answered.is_some() || somebody_runs(&self.declared, ledger).map_err(Refusal::Failed)? {
            return Ok(answered);
        }
        let bound = match self.bound.take().map_or_else(&self.bind, Ok) {
            Ok(bound) => self.bound.insert(bound),
            Err(refusal) => {
                lock(ledger).withdraw(id).map_err(Refusal::Failed)?;
                return Err(refusal);
            }
        };
        match by_ourselves(bound, ledger, (id, self.ask), stop, out) {
            // Somebody took the run a moment earlier, and will answer.
            Err(error) if error.code == Code::ALREADY_RUNNING => Ok(None),
            Err(error) => Err(Refusal::Failed(error)),
            Ok(answer) => Ok(Some(answer)),
        }
    }
}

/// Takes a request back if it was not taken yet, and says what becomes of it.
fn interrupted(ledger: &SharedLedger, id: u64) -> Error {
    let error = |text| Error::new(Kind::Transient, Code::WAIT_TIMED_OUT, text);
    match lock(ledger).withdraw(id) {
        Err(error) => error,
        Ok(true) => error(format!(
            "interrupted; request {id} is withdrawn, nothing was done"
        )),
        Ok(false) => error(format!(
            "interrupted; request {id} stands and will be answered"
        ))
        .hint("`contraflow status` shows what became of it."),
    }
}

/// Whether somebody runs the change by the same file and is not held: whoever does has bound it,
/// and looks at its ends all the time.
fn is_answered_as_it_is(session: &Session) -> Result<bool> {
    if !session.ledger_path.exists() {
        return Ok(false);
    }
    let ledger = session.ledger()?;
    let runner = lock(&ledger).runner()?;
    let saved = lock(&ledger).load()?;
    let same = runner.is_some_and(|runner| runner.file == session.file);
    let held = saved.is_none_or(|saved| saved.state.held.is_some());
    Ok(same && !held && somebody_runs(session, &ledger)?)
}

fn somebody_runs(session: &Session, ledger: &SharedLedger) -> Result<bool> {
    Ok(holder(session, ledger)?.is_some())
}

fn is_silent(session: &Session, runner: &RunnerMark) -> bool {
    let now = session.context.clock.unix_ms();
    now.saturating_sub(runner.beat_ms) > SILENT_MS
}

/// Who runs the change at this moment.
///
/// # Errors
/// When the ledger cannot be read.
pub fn holder(session: &Session, ledger: &SharedLedger) -> Result<Option<RunnerMark>> {
    let runner = lock(ledger).runner()?;
    Ok(runner.filter(|runner| is_alive(runner) && !is_silent(session, runner)))
}

/// Waits until somebody else runs the change, or nobody. Says whether it is so: `stop` may be asked
/// before.
///
/// # Errors
/// When the ledger cannot be read.
pub fn outlast(
    run: Option<&RunnerMark>,
    session: &Session,
    ledger: &SharedLedger,
    stop: &Stop,
) -> Result<bool> {
    let name = |mark: &RunnerMark| mark.run.clone();
    while !stop.wait(POLL) {
        let now = holder(session, ledger)?;
        if now.is_none() || now.as_ref().map(name) != run.map(name) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn by_ourselves(
    session: &Session,
    ledger: &SharedLedger,
    (id, ask): (u64, &Ask),
    stop: &Stop,
    out: &mut Output,
) -> Result<Answer> {
    let mut display = Display::new(out, true);
    let mark = RunnerMark {
        brief: true,
        ..mark(session)
    };
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
