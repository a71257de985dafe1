//! What is touched while a compare goes on.
//!
//! Every key that is touched since a pass began waits until it is looked at: all along, so that
//! what waits depends on how fast keys are written and not on how long the pass takes. When more
//! are touched at once than may wait, nothing is known of what was proven before, and everything
//! is read anew. Writers that outrun every pass keep the compare from being proven.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::record::{Key, PairId};

use super::Comparer;
use super::finding::{self, Comparison, Finding};
use super::walk::stopped;
use crate::tasks::Stop;
use crate::windows::Touched;
use crate::worker::Worker;

/// How often everything is read anew: a bulk load outruns a pass or two, and then it is over.
const ANEW_MAX: u32 = 4;
/// Rounds of looking at what was touched, to leave little.
const ROUNDS: u32 = 8;

/// What a compare goes on beside.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Who carries meanwhile.
    pub worker: &'a Worker,
    /// The keys that its flow touches meanwhile.
    pub touched: &'a Touched,
    /// Whether the compare is still wanted.
    pub stop: &'a Stop,
}

impl Comparer<'_> {
    /// A full pass beside a running worker. Whatever was touched up to its end is compared too,
    /// or waits.
    ///
    /// # Errors
    /// When a side cannot be read, or keys are touched faster than they can be compared.
    pub fn full(&mut self, beside: Beside<'_>) -> Result<Comparison> {
        loop {
            let read = self.everything(beside);
            match read {
                Err(error) if self.begins_anew(beside, &error) => {}
                read => return read,
            }
        }
    }

    /// Compares what was touched since a full pass, round by round, until so few keys are left.
    ///
    /// # Errors
    /// As for [`Comparer::full`].
    pub fn shrink(
        &mut self,
        left_max: usize,
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<()> {
        match self.rounds(left_max, beside, result) {
            Err(error) if self.begins_anew(beside, &error) => {
                *result = self.full(beside)?;
                self.shrink(left_max, beside, result)
            }
            done => done,
        }
    }

    fn rounds(
        &mut self,
        left_max: usize,
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<()> {
        let mut before = usize::MAX;
        for _ in 0..ROUNDS {
            let left = beside.touched.waiting().ok_or_else(outrun)?;
            // What a round takes is written again meanwhile: another will not leave less.
            let shrinks = left < before / 4 * 3;
            if left <= left_max || !shrinks || !result.is_clean() {
                break;
            }
            before = left;
            self.catch_up(beside, result)?;
        }
        Ok(())
    }

    /// Looks at what waits once it is as much as one look takes.
    pub(super) fn keep_up(&mut self, beside: Beside<'_>, result: &mut Comparison) -> Result<()> {
        let waiting = beside.touched.waiting();
        if waiting.is_some_and(|waiting| waiting < self.at_once) {
            return Ok(());
        }
        self.catch_up(beside, result)
    }

    /// Looks at everything that waits.
    pub(super) fn catch_up(&mut self, beside: Beside<'_>, result: &mut Comparison) -> Result<()> {
        let touched = beside.touched.take().ok_or_else(outrun)?;
        for (pair, keys) in touched {
            self.moved.insert(pair);
            self.keys(pair, &keys, beside, result)?;
        }
        Ok(())
    }

    /// Compares single keys, in the authority's form.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub fn keys(
        &mut self,
        pair: PairId,
        keys: &[Key],
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<()> {
        self.looks(pair, keys, beside, |_| false, result)
    }

    /// The same; a key that was not found at the authority and `must_be` there is unproven.
    pub(super) fn looks(
        &mut self,
        pair: PairId,
        keys: &[Key],
        beside: Beside<'_>,
        must_be: impl Fn(&Key) -> bool,
        result: &mut Comparison,
    ) -> Result<()> {
        let mut rest = keys;
        while let Some(keys) = self.set_of(&mut rest) {
            stopped(beside.stop)?;
            for key in self.look_often(pair, keys, beside.worker, &must_be, result)? {
                // What waits is looked at again, behind the fence at the latest.
                if !(self.before_fence && beside.touched.waits(pair, &key)) {
                    let kind = finding::Kind::Unproven;
                    result.find(Finding { pair, key, kind });
                }
            }
        }
        Ok(())
    }

    /// Takes the keys for one look.
    pub(super) fn set_of<'k>(&self, rest: &mut &'k [Key]) -> Option<&'k [Key]> {
        let (set, later) = rest.split_at(self.at_once.min(rest.len()));
        *rest = later;
        (!set.is_empty()).then_some(set)
    }

    /// Whether it failed because more keys were touched than may wait, and may try once more.
    fn begins_anew(&mut self, beside: Beside<'_>, error: &Error) -> bool {
        let is_outrun = error.code == Code::COMPARE_UNPROVEN && beside.touched.waiting().is_none();
        let again = is_outrun && self.anew < ANEW_MAX;
        self.anew += u32::from(again);
        again
    }
}

fn outrun() -> Error {
    let message = "keys change faster than they can be compared";
    Error::new(Kind::Transient, Code::COMPARE_UNPROVEN, message)
        .detail(format!(
            "Everything was read {} times; each time more keys were written than could wait to \
             be compared. Authority stayed where it was; writers go on there.",
            ANEW_MAX + 1
        ))
        .hint("Ask again when fewer keys are written at a time: when a bulk load is over, say.")
}
