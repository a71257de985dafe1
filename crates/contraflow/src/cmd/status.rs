//! `contraflow status`: where a change is, what blocks it, and the next command.

mod readers;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::StoredLetter;
use contraflow_core::error::Result;
use contraflow_core::gate::{Evidence, Rule, Verdict, judge};
use contraflow_core::lease::{Gate, Ownership, Standing, ownership};
use contraflow_core::ledger::{Entry, RunnerMark, Saved};
use contraflow_core::phase::{Phase, Rules, State};
use contraflow_core::side::Side;
use contraflow_engine::progress::Progress;
use indicatif::HumanDuration;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::lock;
use crate::session::Session;
use crate::surroundings::is_alive;
use crate::watch;

use readers::Readers;

/// Show where a change is, what blocks it, and the next command.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

/// Everything there is to know about a change without touching it.
#[derive(Serialize)]
pub struct Status {
    schema: &'static str,
    change: String,
    /// The phase and what holds it.
    pub state: State,
    phase: &'static str,
    authority: Option<Side>,
    ambiguous: bool,
    old: Option<Standing>,
    new: Option<Standing>,
    running: Option<RunnerMark>,
    /// The last report of the running process.
    pub progress: Option<Progress>,
    gates: Vec<Verdict>,
    letters: usize,
    readers: Readers,
    history: Vec<Entry>,
    /// When this was gathered.
    at_ms: u64,
    next: String,
}

impl Status {
    fn has_stopped(&self) -> bool {
        let progress = self.progress.as_ref();
        progress.is_some_and(|progress| !progress.stopped.is_empty())
    }

    /// Whether writers may write to a side.
    #[must_use]
    pub fn is_open_to_writers(&self, side: Side) -> bool {
        let standing = match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        };
        let open = standing.as_ref().map(|standing| standing.gate) == Some(Gate::Open);
        open && !self.ambiguous
    }
}

/// Shows the status. Exit 0 when nothing blocks, 1 when held, 3 when ambiguous.
///
/// # Errors
/// When an end or the ledger cannot be read.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let session = match Session::declared(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let status = show(&session, out)?;
    out.document(&status)?;
    Ok(match (&status.state.held, status.ambiguous) {
        (_, true) => Exit::Ambiguous,
        (Some(_), false) => Exit::No,
        (None, false) if status.has_stopped() => Exit::No,
        (None, false) => Exit::Yes,
    })
}

/// Shows the status to a person, and gives it back.
///
/// # Errors
/// When an end or the ledger cannot be read.
pub fn show(session: &Session, out: &mut Output) -> anyhow::Result<Status> {
    let status = gather(session)?;
    out.human(text(session, &status).trim_end())?;
    Ok(status)
}

/// Gathers the status.
///
/// # Errors
/// When an end or the ledger cannot be read.
pub fn gather(session: &Session) -> Result<Status> {
    let context = &session.context;
    let standing = |side: Side| {
        let found = context.side(side).switch()?.standing();
        found.map_err(|error| error.at(side))
    };
    let (old, new) = (standing(Side::Old)?, standing(Side::New)?);
    let owner = ownership(old.as_ref(), new.as_ref());
    let mut saved: Option<Saved> = None;
    let (mut running, mut progress, mut evidence, mut history) =
        (None, None::<Progress>, Vec::new(), Vec::new());
    let mut readers = Readers::default();
    if session.ledger_path.exists() {
        let ledger = session.ledger()?;
        let mut ledger = lock(&ledger);
        saved = ledger.load()?;
        running = ledger.runner()?.filter(is_alive);
        progress = ledger
            .reported()?
            .and_then(|text| serde_json::from_str(&text).ok());
        evidence = ledger.evidence()?;
        history = ledger.history(5)?;
        readers = Readers::remembered(context, ledger.as_mut())?;
    }
    let state = saved.map_or_else(State::declared, |saved| saved.state);
    if state.phase.is_over() {
        readers = Readers::default();
    }
    let letters = standing_letters(session, old.is_some(), new.is_some())?;
    let gates = verdicts(session, &state, owner, &evidence);
    let ambiguous = owner == Ownership::Ambiguous;
    let authority = match owner {
        Ownership::Held { by, .. } => Some(by),
        Ownership::Unclaimed | Ownership::Sealed { .. } | Ownership::Ambiguous => None,
    };
    let rules = context.mode.rules();
    let progress: Option<Progress> = progress.filter(|_| running.is_some());
    let mut next = next(&state, running.is_some(), ambiguous, letters.len(), rules);
    if let Some(stopped) = progress
        .as_ref()
        .and_then(|progress| progress.stopped.first())
    {
        let code = Code(stopped.code);
        next = format!("`contraflow explain {code}`, mend it, then `contraflow resume`");
    }
    Ok(Status {
        schema: "contraflow.status/1",
        change: context.change.clone(),
        phase: state.phase.name(),
        state,
        authority,
        ambiguous,
        old,
        new,
        progress,
        running,
        gates,
        letters: letters.len(),
        readers,
        history,
        at_ms: context.clock.unix_ms(),
        next,
    })
}

/// The letters at both ends.
///
/// # Errors
/// When an end cannot be read.
pub fn standing_letters(session: &Session, old: bool, new: bool) -> Result<Vec<StoredLetter>> {
    let mut letters = Vec::new();
    for (side, there) in [(Side::Old, old), (Side::New, new)] {
        if there {
            letters.extend(session.context.side(side).apply()?.letters()?);
        }
    }
    Ok(letters)
}

fn verdicts(
    session: &Session,
    state: &State,
    owner: Ownership,
    evidence: &[Evidence],
) -> Vec<Verdict> {
    let Ownership::Held { by, epoch, .. } = owner else {
        return Vec::new();
    };
    if state.phase.is_over() {
        return Vec::new();
    }
    let direction = by.direction();
    let mut verdicts = judge(
        session.context.mode.rules().turn,
        evidence,
        epoch,
        direction,
        |rule| session.context.allowed(rule),
    );
    // A gate that nobody has tried yet is neither open nor closed.
    verdicts.retain(|verdict| {
        evidence
            .iter()
            .any(|e| e.rule == verdict.rule && e.epoch == epoch && e.direction == direction)
    });
    verdicts
}

fn next(state: &State, running: bool, ambiguous: bool, letters: usize, rules: Rules) -> String {
    if ambiguous {
        return "find out which end the application writes to: `contraflow explain CF0305`".into();
    }
    if let Some(hold) = &state.held {
        return watch::after_hold(hold);
    }
    if letters > 0 {
        return "`contraflow letters list`".into();
    }
    match (state.phase, running) {
        (Phase::Declared, _) => "`contraflow run`".into(),
        (Phase::Done, _) => "nothing: the change is over".into(),
        (Phase::Aborted, _) => "nothing; `contraflow run` starts the change again".into(),
        (_, false) => "`contraflow run`: nobody carries the change now".into(),
        (Phase::Expand | Phase::Backfill, true) => "wait: `contraflow wait --for follow`".into(),
        (Phase::Follow, true) if rules.turn.contains(&Rule::Writers) => {
            "stop the producers, `contraflow producer stopped`, then `contraflow cutover`".into()
        }
        (Phase::Follow, true) => "`contraflow verify`, then `contraflow cutover`".into(),
        (Phase::Reverse, true) if !rules.rolls_back => {
            "move the last readers; then `contraflow contract`".into()
        }
        (Phase::Reverse, true) => {
            "move the last readers; then `contraflow contract`, or `contraflow rollback`".into()
        }
        (Phase::Turn { .. } | Phase::Contract | Phase::Abort, true) => {
            "wait: it ends by itself".into()
        }
    }
}

fn text(session: &Session, status: &Status) -> String {
    let context = &session.context;
    let mut text = String::new();
    let held = status
        .state
        .held
        .as_ref()
        .map_or(String::new(), |h| format!("  HELD: {}", h.reason));
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{}", format!("{label:<11}  {value}").trim_end());
    };
    line(&status.change, &format!("phase {}{held}", status.phase));
    let phase = status.state.phase;
    for (label, bound, standing) in [
        ("  old", &context.old, &status.old),
        ("  new", &context.new, &status.new),
    ] {
        let standing = standing_text(phase, standing.as_ref());
        line(label, &format!("{}  {standing}", bound.end.address()));
    }
    let authority = match (status.ambiguous, status.authority) {
        (true, _) => "AMBIGUOUS: nothing is written until a human decides",
        (_, Some(Side::Old)) => "old",
        (_, Some(Side::New)) => "new",
        (_, None) if phase == Phase::Done => "the application's: new",
        (_, None) if phase == Phase::Aborted => "the application's: old",
        (_, None) => "not claimed",
    };
    line("  authority", authority);
    let running = status
        .running
        .as_ref()
        .map_or("nobody".to_owned(), |r| format!("process {}", r.pid));
    line("  run by", &running);
    if let Some(progress) = &status.progress {
        line("  progress", &watch::line(progress));
        for stopped in &progress.stopped {
            line("  STOPPED", &stopped.line());
        }
        for producers in &progress.producers {
            line("  partitions", producers);
        }
    }
    for gate in &status.gates {
        let mark = if gate.open { "open  " } else { "CLOSED" };
        let why = gate.why.as_deref().unwrap_or("");
        line("  gate", &format!("{mark} {:<13}{why}", gate.rule.name()));
    }
    line("  letters", &status.letters.to_string());
    if phase == Phase::Reverse {
        for user in &status.readers.in_the_way {
            line("  reader", &format!("{}: {}", user.who, user.seen));
        }
    }
    for reminder in &status.readers.reminders {
        line("  deadline", &reminder.line(status.at_ms));
    }
    if phase.is_over() || status.state.held.is_some() {
        for entry in &status.history {
            let ago = status.at_ms.saturating_sub(entry.at_ms);
            let ago = HumanDuration(Duration::from_millis(ago));
            line("  history", &format!("{ago} ago: {}", entry.text));
        }
    }
    line("next", &status.next);
    text
}

fn standing_text(phase: Phase, standing: Option<&Standing>) -> String {
    let Some(standing) = standing else {
        return if phase.is_over() {
            "no longer carries the change".to_owned()
        } else {
            "does not carry the change".to_owned()
        };
    };
    let gate = match standing.gate {
        Gate::Open => "open to writers",
        Gate::Fenced => "fenced for a turn",
        Gate::Closed => "closed to writers",
    };
    format!("{gate}, epoch {}", standing.epoch)
}
