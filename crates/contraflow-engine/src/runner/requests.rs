//! Requests from other terminals, and how each is answered.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::ledger::Request;
use contraflow_core::phase::{Ask, Decision, Input, State, decide};
use contraflow_core::record::{Key, PairId};
use contraflow_core::shape::Type;
use contraflow_core::value::Value;
use serde::{Deserialize, Serialize};

use super::answers::{granted, refused};
use super::{Runner, Until, lock, no_turn};
use crate::compare::{self, Comparison};
use crate::context::Context;
use crate::late::{self, Settled};
use crate::turn;
use crate::worker::Worker;

/// How long keys that are carried again may take.
const RECARRY_WAIT: Duration = Duration::from_secs(30);

/// The outcome of a verify, for every display.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// Rows of the authority that were compared.
    pub compared: u64,
    /// Keys proven to differ.
    pub diverged: u64,
    /// Keys that could not be compared.
    pub unproven: u64,
    /// Keys that were looked at one by one.
    pub narrowed: u64,
    /// Whether everything was compared and nothing differs.
    pub clean: bool,
    /// The first keys that differ.
    pub findings: Vec<Named>,
}

/// One key that differs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// The pair's old table.
    pub table: String,
    /// How it differs.
    pub kind: String,
    /// Fields that differ, or why it cannot be mapped.
    pub fields: Vec<String>,
    /// The key in the authority's form, for those who asked for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
}

impl Runner<'_> {
    /// Answers an abort and nothing else: it needs neither mapping nor flow, so it is possible
    /// whatever became of the tables and of the change file.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    pub fn abort(mut self, id: u64) -> Result<State> {
        let requests = lock(&self.ledger).requests()?;
        if let Some(request) = requests.into_iter().find(|request| request.id == id) {
            // What the ends asked for at the start is either undone by the abort or refused here.
            self.effects.clear();
            match self.take(&request) {
                Ok(()) => return self.run(Until::Answered(id)),
                Err(error) => lock(&self.ledger).answer(&self.mark.run, id, &refused(&error))?,
            }
        }
        lock(&self.ledger).leave(&self.mark.run)?;
        Ok(self.state)
    }

    /// Takes the oldest request and answers it, or begins what will answer it.
    pub(super) fn take_requests(&mut self) -> Result<()> {
        if self.state.asked.is_some() || self.state.phase.is_over() {
            return self.refuse_when_over();
        }
        let Some(request) = lock(&self.ledger).requests()?.into_iter().next() else {
            return Ok(());
        };
        if self.is_too_early(&request.ask) {
            return Ok(());
        }
        let irreversible = matches!(request.ask, Ask::Contract | Ask::Abort);
        let waits = request.asker.as_ref().is_none_or(self.is_alive);
        if irreversible && !waits {
            // What cannot be undone happens while somebody looks on, or not at all.
            return lock(&self.ledger).withdraw(request.id).map(|_| ());
        }
        match self.take(&request) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind, Kind::Fenced | Kind::Ambiguous | Kind::Internal) => {
                Err(error)
            }
            Err(error) => lock(&self.ledger).answer(&self.mark.run, request.id, &refused(&error)),
        }
    }

    /// True while the flow, which this request needs, has only just been started: a moment later
    /// it can be granted. A flow that cannot start is no reason to wait.
    fn is_too_early(&self, ask: &Ask) -> bool {
        let needs_flow = match ask {
            Ask::Cutover { .. }
            | Ask::Rollback { .. }
            | Ask::Contract
            | Ask::Verify { .. }
            | Ask::Repair { .. }
            | Ask::Replay { .. } => true,
            Ask::Abort | Ask::Hold { .. } | Ask::Resume | Ask::Stopped | Ask::Late { .. } => false,
        };
        needs_flow && self.worker.as_ref().is_some_and(is_starting)
    }

    fn refuse_when_over(&mut self) -> Result<()> {
        if !self.state.phase.is_over() {
            return Ok(());
        }
        let requests = lock(&self.ledger).requests()?;
        for request in requests {
            if let Err(error) = decide(
                self.context.mode,
                &self.state,
                &Input::Asked(request.ask.clone()),
            ) {
                lock(&self.ledger).answer(&self.mark.run, request.id, &refused(&error))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, request: &Request) -> Result<()> {
        let input = Input::Asked(request.ask.clone());
        let mut decision = decide(self.context.mode, &self.state, &input)?;
        match &request.ask {
            Ask::Hold { .. } => {
                self.keep(decision, "held", "held by request")?;
                self.align_worker()?;
                lock(&self.ledger).answer(
                    &self.mark.run,
                    request.id,
                    &granted("the change is held"),
                )
            }
            Ask::Resume => {
                self.keep(decision, "asked", "resumed by request")?;
                let stopped = |worker: &Worker| !worker.status().stopped.is_empty();
                if self.worker.as_ref().is_some_and(stopped) {
                    // It reads them again from where they stopped.
                    self.worker = None;
                    self.align_worker()?;
                }
                lock(&self.ledger).answer(
                    &self.mark.run,
                    request.id,
                    &granted("the change goes on"),
                )
            }
            Ask::Stopped => {
                self.context.old.switch()?.writers_stopped()?;
                let answer = granted("the writers of the old end are taken for stopped");
                lock(&self.ledger).answer(&self.mark.run, request.id, &answer)?;
                self.note(
                    "asked",
                    "the writers of the old end have stopped, somebody says",
                )
            }
            Ask::Verify { keys } => self.verify(request.id, *keys),
            Ask::Repair { table, keys } => self.repair(request.id, table, keys),
            Ask::Replay { ids } => self.replay(request.id, ids),
            Ask::Late { give_up } => self.settle_late(request.id, give_up, decision),
            Ask::Contract | Ask::Cutover { .. } | Ask::Rollback { .. } | Ask::Abort => {
                let asked = match &request.ask {
                    Ask::Cutover { .. } => "cutover",
                    Ask::Rollback { .. } => "rollback",
                    Ask::Contract => "contract",
                    _ => "abort",
                };
                if request.ask == Ask::Contract {
                    self.judge_contract()?;
                }
                decision.state.asked = Some(request.id);
                self.last_failure = None;
                self.keep(
                    decision,
                    "asked",
                    &format!("{} is asked for (request {})", asked, request.id),
                )
            }
        }
    }

    fn verify(&mut self, id: u64, keys: bool) -> Result<()> {
        let worker = self.worker.as_ref().ok_or_else(no_turn)?;
        let direction = worker.direction;
        let result = turn::whole(&self.context, worker, &mut self.kept, &self.stop)?;
        let evidence = turn::evidence_of(&self.context, self.state.epoch, direction, &result);
        lock(&self.ledger).prove(&evidence)?;
        let parked = match result.parked {
            0 => String::new(),
            parked => format!(", {parked} are letters"),
        };
        let mut answer = granted(&format!("{} rows compared{parked}", result.compared));
        if !result.is_clean() {
            answer.granted = false;
            answer.code = Some(Code::DIVERGED.0);
            answer.text = format!(
                "{} keys differ, {} could not be compared, of {} rows",
                result.diverged, result.unproven, result.compared
            );
            answer.hint = Some(
                "`contraflow verify --keys` names them, `diff --key K` shows one, `repair K` \
                 carries it again."
                    .into(),
            );
        }
        answer.data = serde_json::to_string(&self.verified(&result, keys)).ok();
        let text = answer.text.clone();
        lock(&self.ledger).answer(&self.mark.run, id, &answer)?;
        self.note("verified", &text)
    }

    fn verified(&self, result: &Comparison, keys: bool) -> Verified {
        let named = |finding: &compare::Finding| {
            let (kind, fields) = match &finding.kind {
                compare::Kind::Missing => ("missing".to_owned(), Vec::new()),
                compare::Kind::Extra => ("extra".to_owned(), Vec::new()),
                compare::Kind::Different(fields) => ("different".to_owned(), fields.clone()),
                compare::Kind::Unmappable(why) => ("unmappable".to_owned(), vec![why.clone()]),
                compare::Kind::Unproven => ("unproven".to_owned(), Vec::new()),
            };
            Named {
                table: self.context.pair(finding.pair).old.clone(),
                kind,
                fields,
                key: keys.then(|| finding.key.0.iter().map(shown).collect()),
            }
        };
        Verified {
            compared: result.compared,
            diverged: result.diverged,
            unproven: result.unproven,
            narrowed: result.narrowed,
            clean: result.is_clean(),
            findings: result.findings.iter().map(named).collect(),
        }
    }

    fn repair(&mut self, id: u64, table: &str, keys: &[Vec<String>]) -> Result<()> {
        let worker = self.worker.as_ref().ok_or_else(no_turn)?;
        let (pair, keys) = typed_keys(&self.context, worker, table, keys)?;
        let count = keys.len();
        let carried = worker.recarry(pair, keys, RECARRY_WAIT);
        let answer = if carried {
            granted(&format!("{} carried again", counted(count, "key")))
        } else {
            refused(&too_late())
        };
        lock(&self.ledger).answer(&self.mark.run, id, &answer)?;
        self.note("repaired", &answer.text)
    }

    /// Settles late writes. Whoever looks at them begins anew behind what is settled.
    fn settle_late(&mut self, id: u64, give_up: &[String], decision: Decision) -> Result<()> {
        self.worker = None;
        let Settled { carried, given_up } = late::settle(&self.context, give_up, &self.stop)?;
        let carried = usize::try_from(carried).unwrap_or(usize::MAX);
        let carried = counted(carried, "late record");
        let text = format!("{carried} carried, {given_up} given up");
        self.keep(decision, "repaired", &text)?;
        lock(&self.ledger).answer(&self.mark.run, id, &granted(&text))
    }

    fn replay(&mut self, id: u64, ids: &[u64]) -> Result<()> {
        let worker = self.worker.as_ref().ok_or_else(no_turn)?;
        let direction = worker.direction;
        let mut mirror = self.context.side(direction.target()).apply()?;
        let before = mirror.letters()?;
        let mine: Vec<_> = before
            .into_iter()
            .filter(|letter| letter.direction == direction)
            .filter(|letter| ids.is_empty() || ids.contains(&letter.id))
            .collect();
        let mut carried = true;
        for pair in self.context.pair_ids() {
            let keys: Vec<Key> = mine
                .iter()
                .filter(|letter| letter.letter.pair == pair)
                .map(|letter| letter.letter.source_key.clone())
                .collect();
            if !keys.is_empty() {
                carried &= worker.recarry(pair, keys, RECARRY_WAIT);
            }
        }
        let left = turn::letters(&self.context, direction)?;
        let answer = if carried {
            granted(&format!(
                "{} tried again, {left} stand",
                counted(mine.len(), "letter")
            ))
        } else {
            refused(&too_late())
        };
        lock(&self.ledger).answer(&self.mark.run, id, &answer)?;
        self.note("replayed", &answer.text)
    }
}

/// Whether nobody knows yet how far a flow is.
pub(super) fn is_starting(worker: &Worker) -> bool {
    let status = worker.status();
    status.lag_events.is_none() && status.trying_again.is_none() && !status.failed
}

/// Keys as typed, in the form of the authority.
fn typed_keys(
    context: &Context,
    worker: &Worker,
    table: &str,
    keys: &[Vec<String>],
) -> Result<(PairId, Vec<Key>)> {
    let role = &context.side(worker.direction.source()).role;
    let found = context.pair_ids().find(|pair| {
        let names = context.pair(*pair);
        table.is_empty() && context.pairs.len() == 1 || names.old == table || names.new == table
    });
    let Some(pair) = found else {
        let message = format!("no pair of this change has a table `{table}`");
        let tables: Vec<&str> = context.pairs.iter().map(|pair| pair.old.as_str()).collect();
        let hint = format!("`--table` takes one of: {}.", tables.join(", "));
        return Err(Error::new(Kind::Config, Code::LETTER_UNKNOWN, message).hint(hint));
    };
    let shape = &role.table(pair).shape;
    let mut typed = Vec::new();
    for key in keys {
        typed.push(typed_key(
            shape.key.iter().map(|&i| &shape.fields[i].ty),
            key,
        )?);
    }
    Ok((pair, typed))
}

/// A key from its texts, by the types of its fields.
///
/// # Errors
/// When the number of texts or the form of one does not fit.
pub fn typed_key<'t>(types: impl Iterator<Item = &'t Type>, texts: &[String]) -> Result<Key> {
    let types: Vec<&Type> = types.collect();
    let bad = |what: String| {
        Error::new(Kind::Config, Code::VALUE_INVALID, what)
            .hint("Write the key as the table holds it; commas separate its fields.")
    };
    if types.len() != texts.len() {
        let message = format!(
            "the key has {} fields, {} were given",
            types.len(),
            texts.len()
        );
        return Err(bad(message));
    }
    let mut key = Vec::with_capacity(types.len());
    for (ty, text) in types.iter().zip(texts) {
        let value = match ty {
            // A column of any class: numbers are numbers.
            Type::Any => text
                .parse()
                .map_or_else(|_| Value::Text(text.clone()), Value::Int),
            Type::Text => Value::Text(text.clone()),
            other => contraflow_core::codec::text::from_text(text, other)
                .map_err(|_| bad(format!("a field of the key must be `{}`", other.name())))?,
        };
        key.push(value);
    }
    Ok(Key(key))
}

/// A value of a key as `diff` and `repair` take it.
#[must_use]
pub fn shown(value: &Value) -> String {
    contraflow_core::codec::text::to_text(value).unwrap_or_else(|| value.kind().to_owned())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn too_late() -> Error {
    Error::new(
        Kind::Transient,
        Code::WAIT_TIMED_OUT,
        "the flow did not carry the keys in time",
    )
    .hint("`contraflow status` says how far it is.")
}
