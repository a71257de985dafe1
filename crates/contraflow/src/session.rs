//! A change file bound to its ends: what every verb but the first few starts from.

mod bind;
mod payloads;
mod placed;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use contraflow_core::change::node::Node;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Problem, Severity};
use contraflow_core::ledger::{Ledger, Saved};
use contraflow_core::mapping::{OpSpec, parse};
use contraflow_core::phase::{Phase, State};
use contraflow_core::preflight::Looked;
use contraflow_core::side::Side;
use contraflow_ends::ledger::SqliteLedger;
use contraflow_engine::context::Context;
use contraflow_engine::runner::SharedLedger;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::surroundings::random_name;

/// A change and its ends.
pub struct Session {
    /// The change at run time.
    pub context: Arc<Context>,
    /// Where the ledger lies.
    pub ledger_path: PathBuf,
    /// The digest of the change file.
    pub file: u64,
    /// Things worth knowing that refuse nothing.
    pub warnings: Vec<Problem>,
}

/// What was looked at, at each end that could be reached, and every problem of the change.
pub struct Examined {
    /// By end.
    pub looked: Vec<(Side, Vec<Looked>)>,
    /// Those of what was looked at, and those of the file and the mapping.
    pub problems: Vec<Problem>,
}

/// Why a verb cannot have the session that it needs.
pub enum Refusal {
    /// Problems of the file, the mapping or the ends.
    Problems(Vec<Problem>),
    /// The phase of the change leaves nothing to do for the verb.
    Phase(Error),
    /// The ledger or an end cannot be asked.
    Failed(Error),
}

impl Refusal {
    /// Tells it, and what the shell is told.
    ///
    /// # Errors
    /// When the stream is closed.
    pub fn tell(self, file: &ChangeFile, out: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Refusal::Problems(problems) => {
                out.problems(file, &problems)?;
                Ok(Exit::Error)
            }
            Refusal::Phase(error) => {
                out.failed(&error.into());
                Ok(Exit::No)
            }
            Refusal::Failed(error) => Err(error.into()),
        }
    }
}

impl Session {
    /// Binds a change file to its ends. All problems of the file, the mapping and the ends are
    /// reported at once.
    ///
    /// # Errors
    /// The problems, when at least one of them is an error; and when the change is over, because
    /// then its tables need not be there.
    pub fn open(file: &ChangeFile) -> Result<Session, Refusal> {
        let ends = match Session::ends(file) {
            Ok(ends) => ends,
            // The mapping may have problems too: all of them are told at once.
            Err(Refusal::Problems(_)) => return Session::bind(file),
            Err(refusal) => return Err(refusal),
        };
        let state = ends.state().map_err(Refusal::Failed)?;
        match state.phase {
            Phase::Done | Phase::Contract | Phase::Abort => Err(Refusal::Phase(over(&state))),
            Phase::Declared
            | Phase::Expand
            | Phase::Backfill
            | Phase::Follow
            | Phase::Turn { .. }
            | Phase::Reverse
            | Phase::Aborted => Session::bind(file),
        }
    }

    /// The session of a verb that runs the change: as [`Session::open`], but what is left of a
    /// contract or an abort is finished without tables and mapping.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub fn to_run(file: &ChangeFile) -> Result<Session, Refusal> {
        let Ok(ends) = Session::ends(file) else {
            return Session::open(file);
        };
        let state = ends.state().map_err(Refusal::Failed)?;
        match state.phase {
            Phase::Contract | Phase::Abort => Ok(ends),
            _ => Session::open(file),
        }
    }

    /// The ends of a change, without looking at tables and mapping: enough to take down what
    /// expand made, whatever became of the tables.
    ///
    /// # Errors
    /// The problems of the file.
    pub fn ends(file: &ChangeFile) -> Result<Session, Refusal> {
        Session::of_file(file, begun_with)
    }

    /// A change as its file has it; nothing was asked of its ends. Enough to ask who has authority,
    /// and to ask something of the process that runs the change.
    ///
    /// # Errors
    /// The problems of the file.
    pub fn declared(file: &ChangeFile) -> Result<Session, Refusal> {
        Session::of_file(file, |_, _| Ok(String::new()))
    }

    /// A change without its tables; `mapping` says by which digest its mapping is known.
    fn of_file(
        file: &ChangeFile,
        mapping: impl FnOnce(&Context, &Path) -> contraflow_core::error::Result<String>,
    ) -> Result<Session, Refusal> {
        let (change, warnings) = file.check().map_err(Refusal::Problems)?;
        let mut problems = Vec::new();
        bind::ledger_apart(&change, &mut problems);
        if !problems.is_empty() {
            return Err(Refusal::Problems(problems));
        }
        let mut context = bind::ends(&change);
        let ledger_path = change.ledger().to_owned();
        context.mapping = mapping(&context, &ledger_path).map_err(Refusal::Failed)?;
        Ok(Session {
            context: Arc::new(context),
            ledger_path,
            file: file.digest(),
            warnings,
        })
    }

    /// Looks at everything that could stand in the way of a change, whatever is found on the way.
    #[must_use]
    pub fn examine(file: &ChangeFile) -> Examined {
        let mut looked = Vec::new();
        let problems = match Session::bind_and(file, &mut looked) {
            Ok(session) => {
                let mut problems = session.warnings.clone();
                match session.placed() {
                    Ok(placed) => problems.extend(placed.problems),
                    Err(error) => problems.push(bind::of(&error)),
                }
                problems
            }
            Err(Refusal::Problems(problems)) => problems,
            Err(Refusal::Phase(error) | Refusal::Failed(error)) => vec![bind::of(&error)],
        };
        Examined { looked, problems }
    }

    fn bind(file: &ChangeFile) -> Result<Session, Refusal> {
        Session::bind_and(file, &mut Vec::new())
    }

    /// Binds, and says what was looked at whether or not that succeeds.
    fn bind_and(
        file: &ChangeFile,
        looked: &mut Vec<(Side, Vec<Looked>)>,
    ) -> Result<Session, Refusal> {
        let spec = file.spec();
        let mut problems = Vec::new();
        let mut ops = |node: Option<&Node>| -> Vec<OpSpec> {
            node.map_or_else(Vec::new, |node| parse(node, &mut problems))
        };
        let parsed = spec.pairs.iter().map(|pair| bind::Ops {
            row: ops(pair.mapping.as_ref()),
            key: ops(pair
                .record_key
                .as_ref()
                .and_then(|key| key.mapping.as_ref())),
        });
        let parsed: Vec<bind::Ops> = parsed.collect();
        let refuse = |problems| Err(Refusal::Problems(sorted(problems)));
        let (change, mut warnings) = match spec.check(&file.base()) {
            Ok(checked) => checked,
            Err(more) => {
                problems.extend(more);
                return refuse(problems);
            }
        };
        bind::ledger_apart(&change, &mut problems);
        if !problems.is_empty() {
            problems.extend(warnings);
            return refuse(problems);
        }
        let mut found = bind::Found::default();
        let bound = bind::bind(&change, &parsed, &mut found);
        *looked = found.looked;
        let (errors, more): (Vec<_>, Vec<_>) = found
            .problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        warnings.extend(more);
        match bound {
            Some(context) if errors.is_empty() => Ok(Session {
                context: Arc::new(context),
                ledger_path: change.ledger().to_owned(),
                file: file.digest(),
                warnings: sorted(warnings),
            }),
            _ => refuse(errors.into_iter().chain(warnings).collect()),
        }
    }

    /// What the ledger remembers, when there is one. It is not made for the question.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn saved(&self) -> contraflow_core::error::Result<Option<Saved>> {
        saved(&self.ledger_path)
    }

    /// The state of the change as far as it is known without running it. The ends outrank the
    /// ledger: a change that an end carries is not over.
    ///
    /// # Errors
    /// When the ledger or an end cannot be read.
    pub fn state(&self) -> contraflow_core::error::Result<State> {
        let saved = self
            .saved()?
            .map_or_else(State::declared, |saved| saved.state);
        if saved.phase.is_over() && self.is_carried()? {
            return Ok(State::declared());
        }
        Ok(saved)
    }

    /// Whether an end carries the change.
    ///
    /// # Errors
    /// When an end cannot be read.
    pub fn is_carried(&self) -> contraflow_core::error::Result<bool> {
        for side in Side::BOTH {
            if self.context.side(side).switch()?.standing()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens the ledger and makes it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn ledger(&self) -> contraflow_core::error::Result<SharedLedger> {
        let ledger = SqliteLedger::open(&self.ledger_path, &random_name())?;
        Ok(Arc::new(Mutex::new(Box::new(ledger))))
    }
}

/// The refusal of a verb that comes too late.
#[must_use]
pub fn over(state: &State) -> Error {
    let (message, hint) = match state.phase {
        Phase::Done => (
            "the change is over: the old tables are gone",
            "`contraflow status` says what happened. A next change needs another name.",
        ),
        Phase::Aborted => (
            "the change is over: it was aborted",
            "`contraflow run` starts it again from the beginning.",
        ),
        Phase::Contract | Phase::Abort => (
            "the change is being taken down",
            "`contraflow run` finishes it; `contraflow status` says how far it is.",
        ),
        Phase::Declared
        | Phase::Expand
        | Phase::Backfill
        | Phase::Follow
        | Phase::Turn { .. }
        | Phase::Reverse => (
            "not in this phase",
            "`contraflow status` names the next command.",
        ),
    };
    Error::new(Kind::Precondition, Code::PHASE_REFUSES, message)
        .detail(format!("The change is in phase {}.", state.phase.name()))
        .hint(hint)
}

fn saved(path: &Path) -> contraflow_core::error::Result<Option<Saved>> {
    if !path.exists() {
        return Ok(None);
    }
    SqliteLedger::open(path, &random_name())?.load()
}

/// The digest of the mapping that the change was started with: whoever uses no mapping cannot
/// disagree about it.
fn begun_with(context: &Context, ledger: &Path) -> contraflow_core::error::Result<String> {
    for side in Side::BOTH {
        // Whoever needs an end that cannot be read reports it then.
        if let Ok(Some(standing)) = context.side(side).switch()?.standing() {
            return Ok(standing.mapping);
        }
    }
    Ok(saved(ledger)?.map_or_else(String::new, |saved| saved.mapping))
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.place, problem.code));
    problems
}
