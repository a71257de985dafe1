//! What is looked at before anything is written, and what is wrong with it.

use serde::Serialize;

use crate::error::{Problem, Result};
use crate::side::Side;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// What it is, with the value that was found where that says something.
    pub what: String,
    /// What is wrong with it; mostly nothing.
    pub problems: Vec<Problem>,
}

/// Everything that is looked at, in order.
#[derive(Debug, Default)]
pub struct Preflight(Vec<Looked>);

impl Preflight {
    /// Looks at one thing.
    ///
    /// # Errors
    /// Those of `look`: the thing could not be looked at.
    pub fn look(
        &mut self,
        what: impl Into<String>,
        look: impl FnOnce(&mut Vec<Problem>) -> Result<()>,
    ) -> Result<()> {
        let (what, mut problems) = (what.into(), Vec::new());
        look(&mut problems)?;
        self.0.push(Looked { what, problems });
        Ok(())
    }

    /// Notes one thing that was looked at.
    pub fn note(&mut self, what: impl Into<String>, problem: Option<Problem>) {
        self.0.push(Looked {
            what: what.into(),
            problems: problem.into_iter().collect(),
        });
    }

    /// Everything, as seen at this side.
    #[must_use]
    pub fn at(self, side: Side) -> Vec<Looked> {
        let mut all = self.0;
        for problem in all.iter_mut().flat_map(|looked| &mut looked.problems) {
            problem.side = Some(side);
        }
        all
    }
}

/// What is wrong with anything that was looked at.
#[must_use]
pub fn problems(looked: &[Looked]) -> Vec<Problem> {
    let all = looked.iter().flat_map(|looked| &looked.problems);
    all.cloned().collect()
}
