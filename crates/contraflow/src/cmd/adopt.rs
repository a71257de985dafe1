//! `contraflow adopt`: takes a change over whose ledger was lost or lies elsewhere.

use std::path::PathBuf;

use contraflow_core::side::Side;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::lock;
use crate::session::Session;

/// Take over a change that the ends carry under another ledger.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

#[derive(Serialize)]
struct Adopted {
    schema: &'static str,
    ends: Vec<&'static str>,
}

/// Tells both ends the name of this ledger. Whoever ran the change before is fenced by the next
/// run.
///
/// # Errors
/// When an end cannot be written.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let ends = match Session::ends(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let ends = if ends.is_carried()? {
        // With its tables, so that their triggers are put back; without, for what is left.
        take_over(&Session::open(&file).unwrap_or(ends))?
    } else {
        Vec::new()
    };
    let text = if ends.is_empty() {
        "neither end carries this change; there is nothing to adopt".to_owned()
    } else {
        format!(
            "adopted at the {} end; `contraflow run` goes on",
            ends.join(" and the ")
        )
    };
    out.human(&text)?;
    let exit = if ends.is_empty() { Exit::No } else { Exit::Yes };
    out.document(&Adopted {
        schema: "contraflow.adopt/1",
        ends,
    })?;
    Ok(exit)
}

fn take_over(session: &Session) -> anyhow::Result<Vec<&'static str>> {
    let ledger = session.ledger()?;
    let name = lock(&ledger).id().to_owned();
    let mut ends = Vec::new();
    for side in Side::BOTH {
        let mut switch = session.context.side(side).switch()?;
        if switch.standing()?.is_some() {
            switch.adopt(&name)?;
            ends.push(side.name());
        }
    }
    Ok(ends)
}
