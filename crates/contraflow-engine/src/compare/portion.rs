//! A portion of a pair: the digests of both sides, then the keys of what differs.
//!
//! The sides are read right after each other, so that little is written in between: where keys
//! have the same order on both, a table is compared portion by portion. What was written in between
//! makes its bucket differ, and the rows of that bucket are looked at.

use std::collections::HashSet;

use contraflow_core::digest::{Digest, row_digest};
use contraflow_core::end::{Chunk, Span};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::Side;

use super::finding::{Comparison, Finding, Kind};
use super::walk::{Walk, nowhere};
use super::{Beside, Comparer};
use crate::flow;
use crate::windows::Window;

/// Buckets of a portion: 6 MiB of digests for both sides. One has a row or none; about 100 at 5
/// million rows that are read as a whole.
const BUCKETS: usize = 1 << 16;
/// Rows of a portion, about: read in a second or so, and what differs is looked at in one go.
const ROWS: u64 = 40_000;

/// What one portion of the source came to.
struct Read {
    /// Up to where the feed must have been applied.
    read_to: Option<Position>,
    /// The last key, here and at the mirror, when others follow.
    cut: Option<[Key; 2]>,
}

impl Comparer<'_> {
    /// Compares the first portion of a span and counts the rows of both sides; the rest of it.
    pub(super) fn portion(
        &mut self,
        [mut here, mut there]: [Span; 2],
        beside: Beside<'_>,
        rows: &mut [u64; 2],
        result: &mut Comparison,
    ) -> Result<Option<[Span; 2]>> {
        let mut ours = vec![Digest::default(); BUCKETS];
        let mut theirs = vec![Digest::default(); BUCKETS];
        let mut suspects = vec![false; BUCKETS];
        let Read { read_to, cut } =
            self.digest_source(&here, beside, &mut ours, &mut suspects, result)?;
        let rest = cut.map(|[ours, theirs]| [split(&mut here, ours), split(&mut there, theirs)]);
        self.digest_mirror(&there, beside, &mut theirs, result)?;
        if !self.reaches(read_to.as_ref(), beside, result) {
            return Ok(None);
        }
        for (bucket, suspect) in suspects.iter_mut().enumerate() {
            *suspect |= ours[bucket] != theirs[bucket];
        }
        for (rows, digests) in rows.iter_mut().zip([ours, theirs]) {
            *rows += digests.iter().map(|digest| digest.count).sum::<u64>();
        }
        if suspects.contains(&true) {
            self.narrow(&[here, there], &suspects, beside, result)?;
        }
        Ok(rest)
    }

    fn digest_source(
        &mut self,
        span: &Span,
        beside: Beside<'_>,
        buckets: &mut [Digest],
        suspects: &mut [bool],
        result: &mut Comparison,
    ) -> Result<Read> {
        let (context, direction, pair) = (self.context, self.direction, span.pair);
        let mut left = match self.in_order(pair) {
            true => ROWS,
            false => u64::MAX,
        };
        let (mut read_to, mut cut) = (None, None);
        let mut out = Vec::with_capacity(1);
        let history = &context.pair(pair).history;
        let forward = direction.source() == Side::Old;
        let received = beside.touched.windows().received();
        let mut walk = Walk::over(span);
        while let Some(chunk) = walk.next(self.source_scan.as_mut(), &received, beside.stop)? {
            left = left.saturating_sub(chunk.rows.len() as u64);
            for (key, image) in chunk.rows {
                // The few that the mirror has all the same make their bucket differ.
                if forward && history.may_lack(&image.row) {
                    continue;
                }
                result.compared += 1;
                out.clear();
                if flow::expected(context, direction, pair, image, &mut out).is_err() {
                    match self.target_key(pair, &key) {
                        Some(key) => suspects[bucket_of(&key)] = true,
                        None => suspects.fill(true),
                    }
                }
                for (key, row) in &out {
                    buckets[bucket_of(key)].add(row_digest(&row.0));
                }
            }
            read_to = Some(chunk.until);
            self.keep_up(beside, result)?;
            let last = walk.cut().filter(|_| left == 0);
            cut = last.and_then(|key| Some([key.clone(), self.target_key(pair, key)?]));
            if cut.is_some() {
                break;
            }
        }
        Ok(Read { read_to, cut })
    }

    fn digest_mirror(
        &mut self,
        span: &Span,
        beside: Beside<'_>,
        buckets: &mut [Digest],
        result: &mut Comparison,
    ) -> Result<()> {
        let history = &self.context.pair(span.pair).history;
        let backward = self.direction.target() == Side::Old;
        let mut walk = Walk::over(span);
        while let Some(chunk) = walk.next(self.mirror_scan.as_mut(), &nowhere(), beside.stop)? {
            for (key, image) in chunk.rows {
                if backward && history.may_lack(&image.row) {
                    continue;
                }
                buckets[bucket_of(&key)].add(row_digest(&image.row.0));
            }
            self.keep_up(beside, result)?;
        }
        Ok(())
    }

    /// Looks at the keys of suspect buckets one set at a time, from both sides.
    fn narrow(
        &mut self,
        [ours, theirs]: &[Span; 2],
        suspects: &[bool],
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<()> {
        let windows = beside.touched.windows();
        let mut walk = Walk::over(ours);
        loop {
            let window = windows.open();
            let narrowed = self.narrow_source(&mut walk, &window, suspects, beside, result);
            windows.close(&window);
            if !narrowed? {
                break;
            }
            self.keep_up(beside, result)?;
        }
        let pair = theirs.pair;
        let mut walk = Walk::over(theirs);
        while let Some(chunk) = walk.next(self.mirror_scan.as_mut(), &nowhere(), beside.stop)? {
            let keys = self.came_from(pair, chunk, suspects, result);
            let mut rest = keys.as_slice();
            while let Some(keys) = self.set_of(&mut rest) {
                // Keys that the source has were looked at above.
                let there = self.source.get(pair, keys, &windows.received())?;
                let there: HashSet<Key> = there.rows.into_iter().map(|(key, _)| key).collect();
                let gone = keys.iter().filter(|key| !there.contains(key));
                let gone: Vec<Key> = gone.cloned().collect();
                self.keys(pair, &gone, beside, result)?;
            }
            self.keep_up(beside, result)?;
        }
        Ok(())
    }

    /// Looks at the next suspects of the source, which is read under a window. False when there
    /// were none any more.
    fn narrow_source(
        &mut self,
        walk: &mut Walk,
        window: &Window,
        suspects: &[bool],
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<bool> {
        let (pair, mut keys) = (walk.pair, Vec::new());
        while keys.len() < self.at_once {
            let (scan, received) = (self.source_scan.as_mut(), &window.received);
            let Some(chunk) = walk.next(scan, received, beside.stop)? else {
                break;
            };
            keys.extend(chunk.rows.into_iter().map(|(key, _)| key).filter(|key| {
                let there = self.target_key(pair, key);
                there.is_none_or(|key| suspects[bucket_of(&key)])
            }));
        }
        // It was scanned: it is found, or somebody deleted it meanwhile.
        let windows = beside.touched.windows();
        let must_be = |key: &Key| !windows.touched(window, pair, key);
        self.looks(pair, &keys, beside, must_be, result)?;
        Ok(!keys.is_empty())
    }

    /// The keys of the authority that suspect rows of the mirror came from. A row that none can
    /// have become is found to be one too many.
    fn came_from(
        &self,
        pair: PairId,
        chunk: Chunk,
        suspects: &[bool],
        result: &mut Comparison,
    ) -> Vec<Key> {
        let mapping = &self.context.pair(pair).mapping;
        let mut keys = Vec::new();
        for (theirs, _) in chunk.rows {
            if !suspects[bucket_of(&theirs)] {
                continue;
            }
            let back = mapping.key(self.direction.opposite(), &theirs).ok();
            match back.filter(|key| self.target_key(pair, key).as_ref() == Some(&theirs)) {
                Some(key) => keys.push(key),
                None => {
                    let (key, kind) = (theirs, Kind::Extra);
                    result.find(Finding { pair, key, kind });
                }
            }
        }
        keys
    }
}

/// Cuts a span behind a key, and hands back what follows.
fn split(span: &mut Span, cut: Key) -> Span {
    Span {
        pair: span.pair,
        after: Some(cut.clone()),
        through: span.through.replace(cut),
    }
}

fn bucket_of(key: &Key) -> usize {
    (row_digest(&key.0) % BUCKETS as u128) as usize
}
