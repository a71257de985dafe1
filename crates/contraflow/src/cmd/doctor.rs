//! `contraflow doctor`: what was looked at, at both ends, and what to do where it is not right.

use std::path::PathBuf;

use contraflow_core::error::{Problem, Severity};
use contraflow_core::preflight::Looked;
use contraflow_core::side::Side;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::{Examined, Session};

/// Examine both ends: settings, privileges and tables, each with the statement that mends it.
///
/// Touches nothing, and can be asked before a change and while one runs.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

#[derive(Serialize)]
struct Diagnosis<'d> {
    schema: &'static str,
    ends: Vec<End<'d>>,
    problems: &'d [Problem],
}

#[derive(Serialize)]
struct End<'d> {
    side: Side,
    looked: &'d [Looked],
}

/// Examines. Exit 0 when nothing is in the way, 2 for problems.
///
/// # Errors
/// When there is no change file, or a stream is closed.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let Examined { looked, problems } = Session::examine(&file);
    for (side, looked) in &looked {
        out.human(&format!("{side} end"))?;
        for one in looked {
            out.human(&format!("  {:<5} {}", verdict(one), one.what))?;
        }
    }
    out.warnings(&file, &problems)?;
    let ends = looked.iter().map(|(side, looked)| End {
        side: *side,
        looked,
    });
    out.document(&Diagnosis {
        schema: "contraflow.doctor/1",
        ends: ends.collect(),
        problems: &problems,
    })?;
    let refused = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    if refused {
        return Ok(Exit::Error);
    }
    out.human("nothing is in the way")?;
    Ok(Exit::Yes)
}

fn verdict(looked: &Looked) -> &'static str {
    let worst = looked.problems.iter().map(|problem| problem.severity).max();
    match worst {
        None => "ok",
        Some(Severity::Warning) => "warn",
        Some(Severity::Error) => "WRONG",
    }
}
