//! Where the keys of topics lie, and where they would go.

use contraflow_core::error::{Problem, Result};
use contraflow_core::lease::Gate;
use contraflow_core::log::Probed;
use contraflow_engine::keying;

use super::Session;

/// What keys of the old topics show.
#[derive(Debug, Default)]
pub struct Placed {
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// By new topic: what keys show, and how its producers must choose partitions, in words.
    pub topics: Vec<(String, Probed, String)>,
}

impl Session {
    /// Looks at keys of the old topics, as long as producers write there.
    ///
    /// # Errors
    /// When a topic cannot be read.
    pub fn placed(&self) -> Result<Placed> {
        let context = &self.context;
        let mut placed = Placed::default();
        let standing = context.old.switch()?.standing()?;
        if standing.is_some_and(|standing| standing.gate == Gate::Closed) {
            return Ok(placed);
        }
        for pair in context.pair_ids() {
            let bound = context.pair(pair);
            let Some(keying) = &bound.keying else {
                continue;
            };
            let Some(probed) = keying::probe(context, pair)? else {
                placed.problems.push(keying::unjudged(bound));
                continue;
            };
            placed.problems.extend(keying::problem(bound, &probed));
            let advice = keying::advice(keying, &probed);
            placed.topics.push((bound.new.clone(), probed, advice));
        }
        Ok(placed)
    }
}
