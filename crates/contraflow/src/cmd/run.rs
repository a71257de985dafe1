//! `contraflow run`: expands, copies, follows, and stays at it until the change is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contraflow_core::phase::State;
use contraflow_engine::runner::{Runner, Until};
use contraflow_engine::tasks::Stop;
use serde::Serialize;

use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::mark;
use crate::session::Session;
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
    let session = match Session::open(&file) {
        Ok(session) => session,
        Err(problems) => {
            out.problems(&file, &problems)?;
            return Ok(Exit::Error);
        }
    };
    if !session.warnings.is_empty() {
        out.warnings(&file, &session.warnings)?;
    }
    let stop = Stop::default();
    let signal = stop_on_signals(&stop)?;
    let ledger = session.ledger()?;
    let mut display = Display::new(out, false);
    let runner = Runner::start(
        Arc::clone(&session.context),
        Arc::clone(&ledger),
        mark(),
        is_alive,
        stop.clone(),
        &mut display,
    )?;
    let state = runner.run(Until::Over)?;
    drop(display);
    out.document(&Ran {
        schema: "contraflow.run/1",
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
