//! `contraflow wait`: for deploy pipelines.

use std::path::PathBuf;
use std::time::Duration;

use contraflow_core::change::quantity;
use contraflow_core::side::Side;
use contraflow_engine::tasks::Stop;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;
use crate::surroundings::stop_on_signals;

/// How often the change is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Wait until a change is where a pipeline needs it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// What to wait for: a phase (`follow`, `reverse`, `done`, `aborted`), `lag` (the flow has
    /// caught up), `held`, or `gate=producer-may-switch` (the new end is open to writers).
    #[arg(long = "for", value_name = "WHAT")]
    pub what: String,
    /// For how long: `30s`, `10m`.
    #[arg(long, default_value = "10m")]
    pub timeout: String,
}

#[derive(Serialize)]
struct Waited<'w> {
    schema: &'static str,
    reached: bool,
    what: &'w str,
    phase: &'w str,
}

const MAY_SWITCH: &str = "gate=producer-may-switch";
const WHATS: [&str; 7] = [
    "follow", "reverse", "done", "aborted", "lag", "held", MAY_SWITCH,
];

/// Waits. Exit 0 when it is reached, 1 when the time ran out or the change is over without it.
///
/// # Errors
/// When the change cannot be looked at.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    if !WHATS.contains(&args.what.as_str()) {
        let near = contraflow_core::change::node::nearest(&args.what, &WHATS);
        let hint = near.map_or_else(
            || format!("Known: {}.", WHATS.join(", ")),
            |near| format!("Did you mean `{near}`?"),
        );
        return Ok(out.refuse(
            &format!("there is nothing called `{}` to wait for", args.what),
            &hint,
        )?);
    }
    let Some(timeout) = quantity::duration(&args.timeout) else {
        return Ok(out.refuse("the timeout is not a duration", "Write `30s` or `10m`.")?);
    };
    let file = ChangeFile::find(args.change.as_deref())?;
    let session = match Session::declared(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let clock = &session.context.clock;
    let deadline = clock.elapsed() + timeout;
    loop {
        let status = super::status::gather(&session)?;
        let phase = status.state.phase.name();
        let reached = match args.what.as_str() {
            "held" => status.state.held.is_some(),
            // The end itself says so, whatever the ledger has noted by now.
            MAY_SWITCH => status.is_open_to_writers(Side::New),
            "lag" => status.progress.as_ref().is_some_and(|progress| {
                progress
                    .lag_events
                    .is_some_and(|lag| lag <= session.context.limits.lag_events_max)
            }),
            wanted => phase == wanted,
        };
        let stopped = stop.asked();
        if reached || stopped || status.state.phase.is_over() || clock.elapsed() >= deadline {
            let waited = Waited {
                schema: "contraflow.wait/1",
                reached,
                what: &args.what,
                phase,
            };
            out.document(&waited)?;
            let what = &args.what;
            let text = if reached {
                format!("reached: {what}")
            } else {
                format!("not reached: {what}; the change is in phase {phase}")
            };
            out.human(&text)?;
            return Ok(match (reached, stopped) {
                (true, _) => Exit::Yes,
                (false, true) => Exit::Interrupted,
                (false, false) => Exit::No,
            });
        }
        if stop.wait(LOOK) {}
    }
}
