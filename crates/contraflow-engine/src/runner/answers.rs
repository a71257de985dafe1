//! What a run answers: gates of contract, requests that ended, grants and refusals.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::gate::{Evidence, Rule, Verdict, judge};
use contraflow_core::ledger::Answer;
use contraflow_core::phase::{Ask, Compared, Decision, Phase, State};
use contraflow_core::side::{Direction, Side};

use super::requests::is_starting;
use super::{Runner, lock, no_turn};
use crate::turn::{self, Kept, Turn};

impl Runner<'_> {
    /// Whether the request at hand gives up rows that letters name.
    pub(super) fn accepts_loss(&mut self) -> Result<bool> {
        let Some(id) = self.state.asked else {
            return Ok(false);
        };
        let requests = lock(&self.ledger).requests()?;
        Ok(requests.iter().any(|request| {
            request.id == id
                && matches!(
                    request.ask,
                    Ask::Cutover { accept_loss: true } | Ask::Rollback { accept_loss: true }
                )
        }))
    }

    /// Judges the gates of a turn.
    pub(super) fn judge_turn(&mut self, to: Side) -> Result<()> {
        let accept_loss = self.accepts_loss()?;
        let worker = self.worker.as_ref().ok_or_else(no_turn)?;
        let mut turn = Turn::new(&self.context, to.other(), accept_loss, worker)?;
        let (evidence, verdicts) = turn.judge(
            &self.context,
            self.state.epoch,
            worker,
            &mut self.kept,
            &self.stop,
        )?;
        for evidence in &evidence {
            lock(&self.ledger).prove(evidence)?;
        }
        self.verdicts.clone_from(&verdicts);
        if let Some(closed) = closed(&verdicts, self.context.mode.rules().compared) {
            turn.give_up(&self.context, worker, &mut self.kept);
            return Err(closed);
        }
        self.turn = Some(turn);
        Ok(())
    }

    /// Judges the gates of contract by a fresh compare.
    pub(super) fn judge_contract(&mut self) -> Result<()> {
        let direction = Side::New.direction();
        let worker = self.worker.as_ref().ok_or_else(no_turn)?;
        let mut evidence = turn::gather(&self.context, self.state.epoch, direction, worker)?;
        // What cannot be undone is judged from the oldest record on.
        let fresh = &mut Kept::default();
        let comparison = turn::whole(&self.context, worker, fresh, &self.stop)?;
        evidence.push(turn::evidence_of(
            &self.context,
            self.state.epoch,
            direction,
            &comparison,
        ));
        // Last: a reader may have come while all that was found out.
        evidence.push(self.users(direction)?);
        for evidence in &evidence {
            lock(&self.ledger).prove(evidence)?;
        }
        let verdicts = judge(
            self.context.mode.rules().contract,
            &evidence,
            self.state.epoch,
            direction,
            |rule| self.context.allowed(rule),
        );
        self.verdicts.clone_from(&verdicts);
        let compared = self.context.mode.rules().compared;
        closed(&verdicts, compared).map_or(Ok(()), Err)
    }

    /// Who uses the old end, now or not long enough ago.
    fn users(&self, direction: Direction) -> Result<Evidence> {
        let users = match &self.lookout {
            Some(lookout) => lookout.in_the_way()?,
            None => self.context.old.structure()?.users()?.unwrap_or_default(),
        };
        Ok(Evidence {
            rule: Rule::Users,
            epoch: self.state.epoch,
            direction,
            at_ms: self.context.clock.unix_ms(),
            count: users.len() as u64,
            sample: 0,
            proven: true,
            who: users,
        })
    }

    /// Answers the request of the turn, contract or abort that has just ended.
    pub(super) fn answer_when_rested(&mut self) -> Result<()> {
        let Some(id) = self.state.asked else {
            return Ok(());
        };
        if matches!(self.state.phase, Phase::Contract | Phase::Abort) && self.state.held.is_none() {
            return Ok(());
        }
        // Whoever is told that authority has moved may ask at once how far the way back is.
        if self.worker.as_ref().is_some_and(is_starting) {
            return Ok(());
        }
        self.report()?;
        let request = lock(&self.ledger)
            .requests()?
            .into_iter()
            .find(|r| r.id == id);
        let failure = self.last_failure.take();
        if let Some(request) = request {
            let reached = match request.ask {
                Ask::Cutover { .. } => self.state.phase == Phase::Reverse,
                Ask::Rollback { .. } => self.state.phase == Phase::Follow,
                Ask::Contract => self.state.phase == Phase::Done,
                Ask::Abort => self.state.phase == Phase::Aborted,
                Ask::Hold { .. }
                | Ask::Resume
                | Ask::Verify { .. }
                | Ask::Repair { .. }
                | Ask::Replay { .. }
                | Ask::Stopped
                | Ask::Late { .. } => true,
            };
            let mut answer = match (reached, &failure) {
                (true, _) => granted(&format!(
                    "the change is in phase {}",
                    self.state.phase.name()
                )),
                (false, Some(error)) => refused(error),
                // The run that began it was killed: it is asked again.
                (false, None) => {
                    self.forget_asked()?;
                    return Ok(());
                }
            };
            answer.data = serde_json::to_string(&self.verdicts).ok();
            lock(&self.ledger).answer(&self.mark.run, id, &answer)?;
        }
        self.forget_asked()
    }

    fn forget_asked(&mut self) -> Result<()> {
        let state = State {
            asked: None,
            ..self.state.clone()
        };
        self.keep(
            Decision {
                state,
                effects: Vec::new(),
            },
            "result",
            "the request is answered",
        )
    }
}

/// The error that lists closed gates, if any is closed.
pub(super) fn closed(verdicts: &[Verdict], compared: Compared) -> Option<Error> {
    let closed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.open).collect();
    let first = closed.first()?;
    let said: Vec<String> = closed
        .iter()
        .map(|v| {
            format!(
                "{}: {}",
                v.rule.name(),
                v.why.as_deref().unwrap_or("closed")
            )
        })
        .collect();
    let message = format!("{} of {} gates are closed", closed.len(), verdicts.len());
    Some(
        Error::new(Kind::Precondition, Code::GATE_CLOSED, message)
            .detail(format!("{}.", said.join("; ")))
            .hint(format!("{}.", first.rule.advice(compared))),
    )
}

pub(super) fn granted(text: &str) -> Answer {
    Answer {
        granted: true,
        code: None,
        text: text.to_owned(),
        detail: None,
        hint: None,
        data: None,
    }
}

/// The answer to a request that is not granted.
#[must_use]
pub fn refused(error: &Error) -> Answer {
    Answer {
        granted: false,
        code: Some(error.code.0),
        text: error.to_string(),
        detail: error.detail.clone(),
        hint: error.hint.clone(),
        data: None,
    }
}
