//! Both ends through the mapping: order-free digests, narrowed to keys, safe against changes in
//! flight.
//!
//! A full pass scans both sides and adds each row's digest to a bucket chosen by its key at the
//! mirror. A bucket in which no key was touched since the pass began, as far as the flow had
//! received when the scans were over, and whose digests agree, is proven equal. What is left is
//! narrowed: the keys of all other buckets are read again one set at a time, the mirror only after
//! the flow has passed what the source showed. "Could not compare" is neither equal nor different.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::history::Reach;
use contraflow_core::digest::{Digest, row_digest};
use contraflow_core::end::{Lookup, Scan, Span};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId, Row};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use crate::context::Context;
use crate::flow;
use crate::tasks::Stop;
use crate::turn;
use crate::windows::{Window, Windows};
use crate::worker::Worker;

pub use finding::{Comparison, Finding, Kind};

use spans::Spans;
use walk::{nowhere, walk};

mod finding;
mod look;
mod spans;
mod walk;

/// Buckets of a pass: 6 MiB of digests for both sides, about 100 rows each at 5 million rows.
const BUCKETS: usize = 1 << 16;
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
    /// Keys looked at in one go: found by measuring.
    at_once: usize,
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
            at_once: KEYS_FIRST,
        })
    }

    /// Whether keys that letters of this direction name are given up instead of diverged.
    #[must_use]
    pub fn accepting_loss(mut self, accept_loss: bool) -> Comparer<'c> {
        self.accept_loss = accept_loss;
        self
    }

    /// A full pass beside a running worker. `window` must be open since before the call; touches
    /// after it are looked at again.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub fn full(
        &mut self,
        worker: &Worker,
        windows: &Arc<Windows>,
        window: &Window,
        stop: &Stop,
    ) -> Result<Comparison> {
        let mut result = Comparison::default();
        for pair in self.context.pair_ids() {
            let before = result.compared;
            let mut explained = false;
            for _ in 0..PASSES {
                result.compared = before;
                explained = self.pass(pair, worker, (windows, window), &mut result, stop)?;
                if explained {
                    break;
                }
            }
            result.unproven += u64::from(!explained);
        }
        if !worker.carries_with(windows) {
            // Another flow took over: what it was handed was not seen through this window.
            result.unproven += 1;
        }
        Ok(result)
    }

    /// One pass over a pair. False when the sides have different numbers of rows, no key was
    /// found that explains it, and nothing was touched meanwhile: a row that is scanned and cannot
    /// be looked up is not equal to anything.
    fn pass(
        &mut self,
        pair: PairId,
        worker: &Worker,
        (windows, window): (&Arc<Windows>, &Window),
        result: &mut Comparison,
        stop: &Stop,
    ) -> Result<bool> {
        let mut ours = vec![Digest::default(); BUCKETS];
        let mut theirs = vec![Digest::default(); BUCKETS];
        let mut suspects = vec![false; BUCKETS];
        let mut spans = Spans::whole(pair);
        if windows.knows_keys(window) {
            spans = self.differing(pair, &windows.received(), result, stop)?;
        }
        for [span, _] in &spans.differ {
            let received = windows.received();
            let read_to =
                self.digest_source(span, &received, &mut ours, &mut suspects, result, stop)?;
            spans.read_to = read_to.or(spans.read_to);
        }
        for [_, span] in &spans.differ {
            self.digest_mirror(span, &mut theirs, stop)?;
        }
        if let Some(read_to) = &spans.read_to
            && !worker.wait_applied(self.context, read_to, LOOK_WAIT)
        {
            result.unproven += 1;
            return Ok(true);
        }
        for (bucket, suspect) in suspects.iter_mut().enumerate() {
            *suspect |= ours[bucket] != theirs[bucket];
        }
        let rows = |buckets: &[Digest]| buckets.iter().map(|digest| digest.count).sum::<u64>();
        // Rows from before a bound may be at the mirror or not: then numbers explain nothing.
        let bounded = matches!(self.context.pair(pair).history, Reach::Since { .. });
        let mut explained = bounded || rows(&ours) == rows(&theirs);
        drop((ours, theirs));
        match windows.touched_since(window) {
            // Too many to be known one by one: every key is looked at.
            None => {
                explained = true;
                suspects.fill(true);
                spans = Spans::whole(pair);
            }
            Some(touched) => {
                let mine = touched.into_iter().filter(|(touched, _)| *touched == pair);
                let mine: Vec<Key> = mine.map(|(_, key)| key).collect();
                explained |= !mine.is_empty();
                self.suspect(pair, &mine, &mut suspects);
                if !spans.is_whole() {
                    // Those in spans that agree are found nowhere else.
                    self.keys(pair, &mine, worker, result)?;
                }
            }
        }
        if suspects.contains(&true) {
            let found = |result: &Comparison| result.diverged + result.unproven + result.given_up;
            let before = found(result);
            for span in &spans.differ {
                self.narrow(span, &suspects, worker, (windows, window), result, stop)?;
            }
            explained |= found(result) > before;
        }
        Ok(explained)
    }

    /// The buckets of keys in the authority's form are not proven equal by their digests.
    fn suspect(&self, pair: PairId, keys: &[Key], suspects: &mut [bool]) {
        for key in keys {
            match self.target_key(pair, key) {
                Some(key) => suspects[bucket_of(&key)] = true,
                None => suspects.fill(true),
            }
        }
    }

    /// Compares single keys, in the authority's form.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub fn keys(
        &mut self,
        pair: PairId,
        keys: &[Key],
        worker: &Worker,
        result: &mut Comparison,
    ) -> Result<()> {
        let mut rest = keys;
        while let Some(keys) = self.set_of(&mut rest) {
            self.look_often(pair, keys, worker, |_| false, result)?;
        }
        Ok(())
    }

    /// Takes the keys for one look.
    fn set_of<'k>(&self, rest: &mut &'k [Key]) -> Option<&'k [Key]> {
        let (set, later) = rest.split_at(self.at_once.min(rest.len()));
        *rest = later;
        (!set.is_empty()).then_some(set)
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
    pub fn settled(&mut self, keys: &[(PairId, Key)], result: &mut Comparison) -> Result<()> {
        for pair in self.context.pair_ids() {
            let mine: Vec<Key> = keys
                .iter()
                .filter(|(p, _)| *p == pair)
                .map(|(_, key)| key.clone())
                .collect();
            let mut rest = mine.as_slice();
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

    fn digest_source(
        &mut self,
        span: &Span,
        received: &Position,
        buckets: &mut [Digest],
        suspects: &mut [bool],
        result: &mut Comparison,
        stop: &Stop,
    ) -> Result<Option<Position>> {
        let (context, direction) = (self.context, self.direction);
        let mut read_to = None;
        let mut out = Vec::with_capacity(1);
        let pair = span.pair;
        let history = &context.pair(pair).history;
        let forward = direction.source() == Side::Old;
        walk(self.source_scan.as_mut(), span, received, stop, |chunk| {
            for (key, image) in chunk.rows {
                // The few that the mirror has all the same make their bucket differ.
                if forward && history.may_lack(&image.row) {
                    continue;
                }
                result.compared += 1;
                out.clear();
                if flow::expected(context, direction, pair, image, &mut out).is_err() {
                    let key = context.pair(pair).mapping.key(direction, &key);
                    match key {
                        Ok(key) => suspects[bucket_of(&key)] = true,
                        Err(_) => suspects.fill(true),
                    }
                }
                for (key, row) in &out {
                    buckets[bucket_of(key)].add(row_digest(&row.0));
                }
            }
            read_to = Some(chunk.until);
            Ok(())
        })?;
        Ok(read_to)
    }

    fn digest_mirror(&mut self, span: &Span, buckets: &mut [Digest], stop: &Stop) -> Result<()> {
        let history = &self.context.pair(span.pair).history;
        let backward = self.direction.target() == Side::Old;
        walk(self.mirror_scan.as_mut(), span, &nowhere(), stop, |chunk| {
            for (key, image) in chunk.rows {
                if backward && history.may_lack(&image.row) {
                    continue;
                }
                buckets[bucket_of(&key)].add(row_digest(&image.row.0));
            }
            Ok(())
        })
    }

    /// Looks at the keys of suspect buckets one set at a time, from both sides.
    fn narrow(
        &mut self,
        [ours, theirs]: &[Span; 2],
        suspects: &[bool],
        worker: &Worker,
        (windows, window): (&Arc<Windows>, &Window),
        result: &mut Comparison,
        stop: &Stop,
    ) -> Result<()> {
        let pair = ours.pair;
        let mapping = &self.context.pair(pair).mapping;
        let direction = self.direction;
        let suspect = |key: &Key| suspects[bucket_of(key)];
        let mut scan = self.context.side(direction.source()).scan()?;
        walk(scan.as_mut(), ours, &windows.received(), stop, |chunk| {
            let mut keys: Vec<Key> = chunk.rows.into_iter().map(|(key, _)| key).collect();
            keys.retain(|key| {
                mapping
                    .key(direction, key)
                    .ok()
                    .as_ref()
                    .is_none_or(suspect)
            });
            // It was scanned: it is found, or somebody deleted it meanwhile.
            let must_be = |key: &Key| !windows.touched(window, pair, key);
            let mut rest = keys.as_slice();
            while let Some(keys) = self.set_of(&mut rest) {
                self.look_often(pair, keys, worker, must_be, result)?;
            }
            Ok(())
        })?;
        let mut scan = self.context.side(direction.target()).scan()?;
        walk(scan.as_mut(), theirs, &nowhere(), stop, |chunk| {
            let mut keys = Vec::new();
            for (theirs, _) in chunk.rows {
                if !suspect(&theirs) {
                    continue;
                }
                let back = mapping.key(direction.opposite(), &theirs).ok();
                match back
                    .filter(|back| mapping.key(direction, back).ok().as_ref() == Some(&theirs))
                {
                    Some(key) => keys.push(key),
                    // No row of the authority can have become this one.
                    None => {
                        let (key, kind) = (theirs, Kind::Extra);
                        result.find(Finding { pair, key, kind });
                    }
                }
            }
            let mut rest = keys.as_slice();
            while let Some(keys) = self.set_of(&mut rest) {
                // Keys that the source has were looked at above.
                let there = self.source.get(pair, keys, &windows.received())?;
                let there: HashSet<Key> = there.rows.into_iter().map(|(key, _)| key).collect();
                let gone: Vec<Key> = keys
                    .iter()
                    .filter(|key| !there.contains(key))
                    .cloned()
                    .collect();
                self.keys(pair, &gone, worker, result)?;
            }
            Ok(())
        })
    }
}

fn bucket_of(key: &Key) -> usize {
    (row_digest(&key.0) % BUCKETS as u128) as usize
}
