//! `contraflow run`: expands, copies, follows, and stays at it until the change is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contraflow_core::code::Code;
use contraflow_core::error::Severity;
use contraflow_core::ledger::Entry;
use contraflow_core::phase::{Phase, State};
use contraflow_engine::runner::{Runner, SharedLedger, Until};
use contraflow_engine::tasks::Stop;
use serde::Serialize;

use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::mark;
use crate::session::{Refusal, Session};
use crate::surroundings::{is_alive, stop_on_signals};
use crate::watch::Display;
use crate::{Exit, request};

/// Run a change: expand, copy history, follow, and answer requests from other terminals.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

const SCHEMA: &str = "contraflow.run/1";

#[derive(Serialize)]
struct Ran<'s> {
    schema: &'static str,
    state: &'s State,
}

/// Runs until the change is over or somebody stops it. SIGTERM ends it cleanly with 0; the next
/// run goes on where this one stopped.
///
/// # Errors
/// When the change cannot run.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let ends = match Session::ends(&file) {
        Ok(ends) => ends,
        Err(refusal) => return all_problems(&file, refusal).tell(&file, out),
    };
    let state = ends.state()?;
    if state.phase == Phase::Done {
        out.document(&Ran {
            schema: SCHEMA,
            state: &state,
        })?;
        out.say("the change is done; nothing is left to run")?;
        out.say("next: a new change, under another name")?;
        return Ok(Exit::Yes);
    }
    let session = match Session::to_run(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    if !session.warnings.is_empty() {
        out.warnings(&file, &session.warnings)?;
    }
    if matches!(state.phase, Phase::Declared | Phase::Aborted) {
        let placed = session.placed()?.problems;
        if placed
            .iter()
            .any(|problem| problem.severity == Severity::Error)
        {
            out.problems(&file, &placed)?;
            return Ok(Exit::Error);
        }
        if !placed.is_empty() {
            out.warnings(&file, &placed)?;
        }
    }
    if state.phase == Phase::Aborted {
        begin_again(&session, out)?;
    }
    carry(&session, out)
}

/// What stops the ends from being opened is one part of what may be wrong.
fn all_problems(file: &ChangeFile, refusal: Refusal) -> Refusal {
    Session::open(file).err().unwrap_or(refusal)
}

/// An aborted change has left nothing at the ends: it starts from the beginning.
fn begin_again(session: &Session, out: &mut Output) -> anyhow::Result<()> {
    let text = "started again after an abort";
    let ledger = session.ledger()?;
    let mut ledger = request::lock(&ledger);
    if let Some(saved) = ledger.load()? {
        let entry = Entry {
            at_ms: session.context.clock.unix_ms(),
            kind: "asked".to_owned(),
            text: text.to_owned(),
        };
        let mapping = &session.context.mapping;
        ledger.commit(saved.version, &State::declared(), mapping, &entry)?;
        out.say(&format!("the change is {text}"))?;
    }
    Ok(())
}

fn until_over(
    session: &Session,
    ledger: &SharedLedger,
    stop: &Stop,
    out: &mut Output,
) -> contraflow_core::error::Result<State> {
    let mut display = Display::new(out, false);
    let runner = Runner::start(
        Arc::clone(&session.context),
        Arc::clone(ledger),
        mark(session),
        is_alive,
        stop.clone(),
        &mut display,
    )?;
    runner.run(Until::Over)
}

/// A verb that runs the change by itself ends soon: it is waited for.
fn carry(session: &Session, out: &mut Output) -> anyhow::Result<Exit> {
    let stop = Stop::default();
    let signal = stop_on_signals(&stop)?;
    let ledger = session.ledger()?;
    let state = loop {
        let error = match until_over(session, &ledger, &stop, out) {
            Ok(state) => break state,
            Err(error) => error,
        };
        let holder = match error.code {
            Code::ALREADY_RUNNING => request::holder(session, &ledger)?,
            _ => return Err(error.into()),
        };
        match &holder {
            None => {}
            Some(verb) if verb.brief => out.say(&format!(
                "process {} runs the change until it has its answer; waiting for that",
                verb.pid
            ))?,
            Some(_) => return Err(error.into()),
        }
        if !request::outlast(holder.as_ref(), session, &ledger, &stop)? {
            break session.state()?;
        }
    };
    out.document(&Ran {
        schema: SCHEMA,
        state: &state,
    })?;
    if let Some(hold) = &state.held {
        out.say(&format!("held: {}", hold.reason))?;
    }
    if !state.phase.is_over() {
        let name = state.phase.name();
        out.say(&format!(
            "stopped in phase {name}; `contraflow run` goes on from there"
        ))?;
    }
    drop(request::lock(&ledger));
    Ok(match signal.load(Ordering::SeqCst) {
        signal_hook::consts::SIGINT => Exit::Interrupted,
        _ => Exit::Yes,
    })
}
