//! Gates: rules that must hold before a change advances, judged on recorded evidence.

use serde::{Deserialize, Serialize};

use crate::end::User;
use crate::lease::Epoch;
use crate::phase::Compared;
use crate::side::Direction;

/// Who is named when a gate is closed, at most: all are in its evidence.
const NAMED_MAX: usize = 5;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A full compare found no divergence.
    Compare,
    /// No letter stands, and no partition of a log has stopped.
    Letters,
    /// The flow is close behind.
    Lag,
    /// The mapping's laws hold on real rows.
    Laws,
    /// No key goes to another partition in the new log.
    Keys,
    /// No row of the mirror points at nothing.
    ForeignKeys,
    /// Nobody was seen using the old end.
    Users,
    /// The writers of the losing end have stopped, where the end cannot stop them.
    Writers,
}

impl Rule {
    /// The name shown to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Compare => "compare",
            Rule::Letters => "letters",
            Rule::Lag => "lag",
            Rule::Laws => "laws",
            Rule::Keys => "keys",
            Rule::ForeignKeys => "foreign_keys",
            Rule::Users => "users",
            Rule::Writers => "writers",
        }
    }

    /// How to open it, for ends that are compared so.
    #[must_use]
    pub fn advice(self, compared: Compared) -> &'static str {
        match (self, compared) {
            (Rule::Compare, Compared::ByKey) => {
                "`contraflow verify` shows what differs, `contraflow repair` carries it"
            }
            (Rule::Compare, Compared::InOrder) => {
                "`contraflow verify` shows what differs; `contraflow repair --late` carries what \
                 was late, for all else `contraflow abort` and begin anew"
            }
            (Rule::Letters, Compared::ByKey) => {
                "`contraflow letters list`, correct the rows, `contraflow letters replay`"
            }
            (Rule::Letters, Compared::InOrder) => {
                "`contraflow status` names partitions that have stopped: mend what is wrong, \
                 `contraflow resume`; `contraflow letters replay` carries what was parked"
            }
            (Rule::Lag, _) => "wait until the flow has caught up: `contraflow wait --for lag`",
            (Rule::Laws, _) => {
                "`contraflow check --laws` shows a row that does not survive the mapping"
            }
            (Rule::Keys, _) => "`contraflow check` says how many go elsewhere, and what to do",
            (Rule::ForeignKeys, _) => {
                "rows of the mirror point at nothing: carry the tables together"
            }
            (Rule::Users, _) => {
                "stop or move what still uses the old end; `contraflow status` names it"
            }
            (Rule::Writers, _) => "stop the producers, then say so: `contraflow producer stopped`",
        }
    }
}

/// What was found out about a rule, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The rule.
    pub rule: Rule,
    /// The epoch in which it was found out.
    pub epoch: Epoch,
    /// The direction of the flow at that time.
    pub direction: Direction,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many of the things that must not be.
    pub count: u64,
    /// Out of how many looked at.
    pub sample: u64,
    /// False when it could not be found out: neither good nor bad.
    pub proven: bool,
    /// Who it is, where the things that must not be are somebody.
    #[serde(default)]
    pub who: Vec<User>,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// Whether the change may advance as far as this rule goes.
    pub open: bool,
    /// How many of the things that must not be; `None` when nobody knows.
    pub count: Option<u64>,
    /// Out of how many looked at.
    pub sample: u64,
    /// How many are allowed.
    pub allowed: u64,
    /// Why it is closed.
    pub why: Option<String>,
    /// Who keeps it closed, where that is somebody.
    pub who: Vec<User>,
}

/// Judges rules on evidence of this epoch and direction. Missing, unproven or older evidence
/// keeps a gate closed: the absence of an alarm is not a proof.
#[must_use]
pub fn judge(
    rules: &[Rule],
    evidence: &[Evidence],
    epoch: Epoch,
    direction: Direction,
    allowed: impl Fn(Rule) -> u64,
) -> Vec<Verdict> {
    let verdict = |&rule: &Rule| {
        let allowed = allowed(rule);
        let found = evidence
            .iter()
            .filter(|e| e.rule == rule && e.epoch == epoch && e.direction == direction)
            .max_by_key(|e| e.at_ms);
        let (open, count, why) = match found {
            None => (
                false,
                None,
                Some("nothing was found out in this epoch".to_owned()),
            ),
            Some(e) if !e.proven => (false, None, Some("it could not be found out".to_owned())),
            Some(e) if e.count > allowed => (false, Some(e.count), Some(too_many(e, allowed))),
            Some(e) => (true, Some(e.count), None),
        };
        let sample = found.map_or(0, |e| e.sample);
        let who = found.map_or_else(Vec::new, |e| e.who.clone());
        Verdict {
            rule,
            open,
            count,
            sample,
            allowed,
            why,
            who,
        }
    };
    rules.iter().map(verdict).collect()
}

fn too_many(evidence: &Evidence, allowed: u64) -> String {
    let count = evidence.count;
    let mut text = format!("{count} where {allowed} are allowed");
    let named = evidence.who.iter().take(NAMED_MAX);
    for (number, user) in named.enumerate() {
        let before = if number == 0 { ": " } else { ", " };
        text.push_str(&format!("{before}{} ({})", user.who, user.seen));
    }
    if evidence.who.len() > NAMED_MAX {
        text.push_str(", and others");
    }
    text
}

#[cfg(test)]
mod tests;
