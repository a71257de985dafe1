//! What a compare found.

use contraflow_core::record::{Key, PairId};

/// Keys that a result names; more are only counted.
const NAMED_MAX: usize = 100;

/// What differs about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The authority has it, the mirror does not.
    Missing,
    /// The mirror has it, the authority does not.
    Extra,
    /// Both have it; these fields differ.
    Different(Vec<String>),
    /// The authority's row does not map; there is a letter for it.
    Unmappable(String),
    /// It changed at every look, or the flow did not get there in time.
    Unproven,
}

/// One key that is not proven equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The pair.
    pub pair: PairId,
    /// The key in the authority's form.
    pub key: Key,
    /// What differs.
    pub kind: Kind,
}

/// The result of a compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Rows of the authority that were compared.
    pub compared: u64,
    /// Keys proven to differ.
    pub diverged: u64,
    /// Keys that could not be compared.
    pub unproven: u64,
    /// Keys that were looked at one by one.
    pub narrowed: u64,
    /// Keys that differ because a row was given up knowingly: the letter that names it stands.
    pub given_up: u64,
    /// Records of logs that are letters: neither missing nor compared.
    pub parked: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

impl Comparison {
    /// Whether everything was compared and nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.diverged == 0 && self.unproven == 0
    }

    /// Counts what was found, once: a key that was touched may be looked at more than once.
    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.contains(&finding) {
            return;
        }
        match finding.kind {
            Kind::Unproven => self.unproven += 1,
            Kind::Missing | Kind::Extra | Kind::Different(_) | Kind::Unmappable(_) => {
                self.diverged += 1;
            }
        }
        if self.findings.len() < NAMED_MAX {
            self.findings.push(finding);
        }
    }
}
