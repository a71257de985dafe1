//! Both ends through the mapping: order-free digests, narrowed to keys, safe against changes in
//! flight.
//!
//! A full pass scans both sides and adds each row's digest to a bucket chosen by its key at the
//! mirror. A bucket whose digests agree holds the same rows as they were read: those are proven
//! equal that nobody touched since the pass began, as far as the flow had received when the scans
//! were over. What differs is narrowed: the keys of those buckets are read again one set at a
//! time, the mirror only after the flow has passed what the source showed. What is touched
//! meanwhile is looked at in the same way, all along, so that it never becomes too much. "Could
//! not compare" is neither equal nor different.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use contraflow_core::change::history::Reach;
use contraflow_core::end::{Lookup, Scan};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId, Row};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use crate::context::Context;
use crate::turn;

pub use audit::{Audit, Stillness};
pub use beside::Beside;
pub use finding::{Comparison, Finding, Kind};
pub use sample::{Sample, sample};

use walk::nowhere;

mod audit;
mod beside;
mod finding;
mod look;
mod portion;
mod sample;
mod spans;
mod walk;

/// Keys looked at in one go, before the size of rows is known.
const KEYS_FIRST: usize = 200;
/// Passes over a pair before rows that nobody explains are unproven.
const PASSES: u32 = 3;
/// The pause between looks while a letter is about to be tried again.
const LETTER_PAUSE: Duration = Duration::from_millis(10);
/// How long one look waits for the flow.
const LOOK_WAIT: Duration = Duration::from_secs(10);

/// The two sides of a compare in one direction.
pub struct Comparer<'c> {
    context: &'c Context,
    direction: Direction,
    source: Box<dyn Lookup>,
    mirror: Box<dyn Lookup>,
    source_scan: Box<dyn Scan>,
    mirror_scan: Box<dyn Scan>,
    /// A key that a letter of this direction names is given up.
    accept_loss: bool,
    /// A key that never stands still is left to whoever compares behind a fence.
    before_fence: bool,
    /// Keys looked at in one go: found by measuring.
    at_once: usize,
    /// Pairs of which a key was touched while they were compared.
    moved: HashSet<PairId>,
    /// How often everything was begun anew.
    anew: u32,
}

impl<'c> Comparer<'c> {
    /// Opens both sides.
    ///
    /// # Errors
    /// When a face is missing.
    pub fn open(context: &'c Context, direction: Direction) -> Result<Comparer<'c>> {
        let (source, mirror) = (
            context.side(direction.source()),
            context.side(direction.target()),
        );
        Ok(Comparer {
            context,
            direction,
            source: source.lookup()?,
            mirror: mirror.lookup()?,
            source_scan: source.scan()?,
            mirror_scan: mirror.scan()?,
            accept_loss: false,
            before_fence: false,
            at_once: KEYS_FIRST,
            moved: HashSet::new(),
            anew: 0,
        })
    }

    /// A key that is written all the time is compared behind a fence, if it waits until then.
    #[must_use]
    pub fn before_fence(mut self) -> Comparer<'c> {
        self.before_fence = true;
        self
    }

    /// Whether keys that letters of this direction name are given up instead of diverged.
    #[must_use]
    pub fn accepting_loss(mut self, accept_loss: bool) -> Comparer<'c> {
        self.accept_loss = accept_loss;
        self
    }

    /// Everything once, while the worker carries. Fails when more keys were touched than may wait.
    fn everything(&mut self, beside: Beside<'_>) -> Result<Comparison> {
        beside.touched.begin();
        let mut result = Comparison::default();
        for pair in self.context.pair_ids() {
            let before = result.compared;
            let mut explained = false;
            for _ in 0..PASSES {
                result.compared = before;
                explained = self.pass(pair, beside, &mut result)?;
                if explained {
                    break;
                }
            }
            result.unproven += u64::from(!explained);
        }
        if !beside.worker.carries_with(beside.touched.windows()) {
            // Another flow took over: what it was handed nobody has kept.
            result.unproven += 1;
        }
        Ok(result)
    }

    /// One pass over a pair. False when the sides have different numbers of rows, no key was
    /// found that explains it, and nothing was touched meanwhile: a row that is scanned and cannot
    /// be looked up is not equal to anything.
    fn pass(&mut self, pair: PairId, beside: Beside<'_>, result: &mut Comparison) -> Result<bool> {
        let found = |result: &Comparison| result.diverged + result.unproven + result.given_up;
        let before = found(result);
        self.moved.remove(&pair);
        let spans = self.differing(pair, beside, result)?;
        if !self.reaches(spans.read_to.as_ref(), beside, result) {
            return Ok(true);
        }
        let mut rows = [0, 0];
        for span in spans.differ {
            let mut rest = Some(span);
            while let Some(span) = rest {
                rest = self.portion(span, beside, &mut rows, result)?;
            }
        }
        // Everything that the digests may have shown was received by now.
        self.catch_up(beside, result)?;
        // Rows from before a bound may be at the mirror or not: then numbers explain nothing.
        let bounded = matches!(self.context.pair(pair).history, Reach::Since { .. });
        let explained = bounded || rows[0] == rows[1] || found(result) > before;
        Ok(explained || self.moved.contains(&pair))
    }

    /// Waits until the flow has applied what was read of the source. False when it did not get
    /// there in time, which proves nothing.
    fn reaches(
        &self,
        read_to: Option<&Position>,
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> bool {
        let wait = |to| beside.worker.wait_applied(self.context, to, LOOK_WAIT);
        let reached = read_to.is_none_or(wait);
        result.unproven += u64::from(!reached);
        reached
    }

    /// Puts what differs into the result, except for rows that were given up knowingly: exactly
    /// those that a letter names.
    fn report(&self, pair: PairId, found: Vec<(Key, Kind)>, result: &mut Comparison) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let given_up = turn::given_up(self.context, self.direction, self.accept_loss)?;
        for (key, kind) in found {
            let is_given_up = given_up.names(pair, &key)
                || kind == Kind::Extra
                    && self
                        .target_key(pair, &key)
                        .is_some_and(|mirror| given_up.names_at_mirror(pair, &mirror));
            if is_given_up {
                result.given_up += 1;
            } else {
                result.find(Finding { pair, key, kind });
            }
        }
        Ok(())
    }

    /// Keys whose letter the flow tries again by itself: they only wait for another row. Gives the
    /// flow a moment when there are some.
    fn waiting(&self, pair: PairId, differ: &[(Key, Kind)]) -> Result<HashSet<Key>> {
        if differ.is_empty() {
            return Ok(HashSet::new());
        }
        let letters = turn::retried(self.context, self.direction)?;
        if !letters.is_empty() {
            self.context.clock.sleep(LETTER_PAUSE);
        }
        Ok(letters
            .into_iter()
            .filter(|letter| letter.pair == pair)
            .map(|letter| letter.source_key)
            .collect())
    }

    /// Compares keys while nothing can change: the source is fenced and the flow has drained.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub fn settled(
        &mut self,
        keys: &BTreeMap<PairId, Vec<Key>>,
        result: &mut Comparison,
    ) -> Result<()> {
        for (&pair, keys) in keys {
            let mut rest = keys.as_slice();
            while let Some(keys) = self.set_of(&mut rest) {
                let (seen, expected, unmappable) = self.read_source(pair, keys, &nowhere())?.0;
                let differ = self.against_mirror(pair, keys, &seen, &expected, unmappable)?;
                result.narrowed += keys.len() as u64;
                self.report(pair, differ, result)?;
            }
        }
        Ok(())
    }

    /// Names of the fields that differ. A field that the mapping leaves to the storage is not
    /// compared: its value is the storage's.
    fn fields(&self, pair: PairId, ours: &Row, theirs: &Row) -> Vec<String> {
        let shape = &self
            .context
            .side(self.direction.target())
            .role
            .table(pair)
            .shape;
        let differs =
            |i: &usize| !matches!(ours.0[*i], Value::Absent) && ours.0[*i] != theirs.0[*i];
        (0..shape.fields.len())
            .filter(differs)
            .map(|i| shape.fields[i].name.clone())
            .collect()
    }

    /// Whether this row of a side is one of the old table that the new one may lack.
    fn may_lack(&self, pair: PairId, side: Side, row: Option<&Row>) -> bool {
        let history = &self.context.pair(pair).history;
        side == Side::Old && row.is_some_and(|row| history.may_lack(row))
    }

    fn target_key(&self, pair: PairId, key: &Key) -> Option<Key> {
        self.context
            .pair(pair)
            .mapping
            .key(self.direction, key)
            .ok()
    }
}
