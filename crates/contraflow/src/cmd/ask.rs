//! Verbs that ask something of a change: `cutover`, `rollback`, `contract`, `abort`, `hold`,
//! `resume`, `repair`.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind};
use contraflow_core::ledger::Answer;
use contraflow_core::phase::{Ask, Phase};
use contraflow_engine::runner::refused;
use contraflow_engine::tasks::Stop;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::Request;
use crate::session::{self, Refusal, Session};
use crate::surroundings::stop_on_signals;

/// Arguments of a verb that needs none but the change.
#[derive(clap::Args, Debug)]
pub struct Plain {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

/// Arguments of a turn.
#[derive(clap::Args, Debug)]
pub struct Turn {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// Go on although letters stand: the rows they name are given up on the gaining side.
    #[arg(long)]
    pub accept_loss: bool,
}

/// Arguments of a verb that cannot be undone.
#[derive(clap::Args, Debug)]
pub struct Final {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `hold`.
#[derive(clap::Args, Debug)]
pub struct Hold {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// Why; shown by `status`.
    #[arg(long, default_value = "held by request")]
    pub reason: String,
}

/// Arguments of `repair`.
#[derive(clap::Args, Debug)]
pub struct Repair {
    /// Keys to carry again; the fields of a composite key are separated by commas.
    #[arg(value_name = "KEY", required_unless_present = "late")]
    pub keys: Vec<String>,
    /// Instead: carry what producers wrote to the old topic after the flip, once.
    #[arg(long, conflicts_with_all = ["keys", "table"])]
    pub late: bool,
    /// Give a late record up, by its name (`TOPIC:PARTITION:OFFSET`), or `all` that stand.
    #[arg(long, value_name = "NAME", requires = "late")]
    pub give_up: Vec<String>,
    /// The table, when the change has several pairs.
    #[arg(long)]
    pub table: Option<String>,
    /// The change file, or its name.
    #[arg(long, value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answered<'a> {
    schema: String,
    granted: bool,
    code: Option<Code>,
    text: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    data: Option<Box<RawValue>>,
}

/// Asks, waits, and tells the answer.
///
/// # Errors
/// When the change cannot be opened or the answer cannot be had.
pub fn run(
    verb: &str,
    change: Option<&PathBuf>,
    ask: &Ask,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    run_showing(verb, change, ask, out, |_, _| Ok(()))
}

/// As [`run`]; `show` says more of an answer for people, before its verdict.
///
/// # Errors
/// As for [`run`].
pub fn run_showing(
    verb: &str,
    change: Option<&PathBuf>,
    ask: &Ask,
    out: &mut Output,
    show: impl FnOnce(&Answer, &mut Output) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(change.map(PathBuf::as_path))?;
    let stop = stopped_by_signals()?;
    let answer = match request(&file, ask).and_then(|request| request.answer(&stop, out)) {
        Ok(answer) => answer,
        Err(refusal) => return refuse(verb, refusal, &file, out),
    };
    show(&answer, out)?;
    tell(verb, &answer, out)
}

fn stopped_by_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    Ok(stop)
}

fn request<'r>(file: &'r ChangeFile, ask: &'r Ask) -> Result<Request<'r>, Refusal> {
    let declared = match Session::declared(file) {
        Ok(declared) => declared,
        // The mapping may have problems too: all of them are told at once.
        Err(refusal) => return Err(Session::open(file).err().unwrap_or(refusal)),
    };
    Request::new(ask, declared, || bind(file, ask))
}

/// What this process needs to run the change for a request. Nothing is begun for one: `run` begins
/// a change.
fn bind(file: &ChangeFile, ask: &Ask) -> Result<Session, Refusal> {
    let ends = Session::ends(file)?;
    let state = ends.state().map_err(Refusal::Failed)?;
    if state.phase.is_over() {
        return Err(Refusal::Phase(session::over(&state)));
    }
    let begun = state.phase != Phase::Declared || ends.is_carried().map_err(Refusal::Failed)?;
    if !begun {
        let message = "the change was not started";
        let error = Error::new(Kind::Precondition, Code::CHANGE_UNKNOWN, message);
        return Err(Refusal::Phase(error.hint("`contraflow run` starts it.")));
    }
    match ask {
        // Whatever became of the tables and of the change file: giving up is always possible.
        Ask::Abort => Ok(ends),
        Ask::Cutover { .. }
        | Ask::Rollback { .. }
        | Ask::Contract
        | Ask::Hold { .. }
        | Ask::Resume
        | Ask::Verify { .. }
        | Ask::Repair { .. }
        | Ask::Replay { .. }
        | Ask::Late { .. }
        | Ask::Stopped => Session::to_run(file),
    }
}

/// A phase that refuses is an answer like any other.
fn refuse(
    verb: &str,
    refusal: Refusal,
    file: &ChangeFile,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    match refusal {
        Refusal::Phase(error) => tell(verb, &refused(&error), out),
        Refusal::Problems(_) | Refusal::Failed(_) => refusal.tell(file, out),
    }
}

/// Tells an answer in the form asked for.
///
/// # Errors
/// When the stream is closed.
pub fn tell(verb: &str, answer: &Answer, out: &mut Output) -> anyhow::Result<Exit> {
    out.document(&Answered {
        schema: format!("contraflow.{verb}/1"),
        granted: answer.granted,
        code: answer.code.map(Code),
        text: &answer.text,
        detail: answer.detail.as_deref(),
        hint: answer.hint.as_deref(),
        data: answer
            .data
            .clone()
            .and_then(|data| RawValue::from_string(data).ok()),
    })?;
    if answer.granted {
        out.human(&answer.text)?;
        return Ok(Exit::Yes);
    }
    out.refusal(answer)?;
    Ok(Exit::No)
}

/// Asks for something that cannot be undone, after showing what stands and asking the person.
///
/// # Errors
/// When nobody confirmed, or as for [`run`].
pub fn run_final(verb: &str, args: &Final, ask: &Ask, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let request = match request(&file, ask) {
        Ok(request) => request,
        Err(refusal) => return refuse(verb, refusal, &file, out),
    };
    if !args.yes {
        confirm(verb, request.session(), out)?;
    }
    match request.answer(&stopped_by_signals()?, out) {
        Ok(answer) => tell(verb, &answer, out),
        Err(refusal) => refuse(verb, refusal, &file, out),
    }
}

fn confirm(verb: &str, session: &Session, out: &mut Output) -> anyhow::Result<()> {
    let change = &session.context.change;
    super::status::show(session, out)?;
    let refused = |why: &str| {
        Error::new(
            Kind::Precondition,
            Code::NOT_CONFIRMED,
            format!("{verb} was not confirmed: {why}"),
        )
        .hint(format!("`contraflow {verb} --yes` does not ask."))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask on").into());
    }
    out.say(&format!(
        "This cannot be undone. Type the name of the change ({change}) to go on:"
    ))?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == change {
        Ok(())
    } else {
        Err(refused("another name was typed").into())
    }
}

impl Repair {
    /// The request.
    #[must_use]
    pub fn ask(&self) -> Ask {
        if self.late {
            let give_up = self.give_up.clone();
            return Ask::Late { give_up };
        }
        let split = |key: &String| key.split(',').map(str::to_owned).collect();
        Ask::Repair {
            table: self.table.clone().unwrap_or_default(),
            keys: self.keys.iter().map(split).collect(),
        }
    }
}
