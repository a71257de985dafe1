//! Single keys, read at both ends while writers and the flow go on.
//!
//! The source is read under a window and the mirror after the flow has passed what that read
//! showed. Whatever the mirror has that the source did not show, the flow had received before: a
//! key that differs and was not received in the window differs by itself. One that was says
//! nothing, and is looked at again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId, Row};

use super::finding::{Comparison, Finding, Kind};
use super::walk::nowhere;
use super::{Comparer, LOOK_WAIT};
use crate::flow;
use crate::windows::{Window, Windows};
use crate::worker::Worker;

/// Keys looked at in one go, at most and at least. Each look waits for the flow once: more keys at
/// a time are what keeps up with busy writers.
const KEYS_MAX: usize = 16_000;
const KEYS_MIN: usize = 16;
/// Bytes of rows looked at in one go, so that huge ones do not fill the memory.
const KEYS_BYTES: u64 = 2 << 20;
/// Looks at a key before it counts as one that never stands still.
const LOOKS: u32 = 20;

type Source = (
    HashMap<Key, Row>,
    HashMap<Key, Vec<(Key, Row)>>,
    Vec<(Key, Kind)>,
);

/// What one look has shown.
struct Looked {
    /// Keys that the source does not have.
    absent: Vec<Key>,
    /// Keys that differ although nobody wrote them.
    differ: Vec<(Key, Kind)>,
    /// Keys that differ and were written between the reads of both sides.
    moving: Vec<Key>,
}

impl Comparer<'_> {
    /// Looks at keys until each is equal, or differs in two looks in a row while nobody wrote it. A
    /// key that was not found at the authority and `must_be` there is unproven. Hands back those
    /// that never stood still, and those that the flow did not get to.
    pub(super) fn look_often(
        &mut self,
        pair: PairId,
        keys: &[Key],
        worker: &Worker,
        must_be: impl Fn(&Key) -> bool,
        result: &mut Comparison,
    ) -> Result<Vec<Key>> {
        let mut open: Vec<Key> = keys.to_vec();
        result.narrowed += open.len() as u64;
        let mut differed = HashSet::new();
        for look in 0..LOOKS {
            let Some(Looked {
                absent,
                differ,
                moving,
            }) = self.look(pair, &open, worker)?
            else {
                break;
            };
            if look == 0 {
                for key in absent.into_iter().filter(|key| must_be(key)) {
                    let kind = Kind::Unproven;
                    result.find(Finding { pair, key, kind });
                }
            }
            open = moving;
            let waiting = self.waiting(pair, &differ)?;
            let (mut found, mut once) = (Vec::new(), HashSet::new());
            for (key, kind) in differ {
                if waiting.contains(&key) {
                    open.push(key);
                } else if differed.contains(&key) {
                    found.push((key, kind));
                } else {
                    once.insert(key.clone());
                    open.push(key);
                }
            }
            self.report(pair, found, result)?;
            if open.is_empty() {
                break;
            }
            differed = once;
        }
        Ok(open)
    }

    /// One look at a set of keys under a window. `None` when the flow did not get there in time.
    fn look(&mut self, pair: PairId, keys: &[Key], worker: &Worker) -> Result<Option<Looked>> {
        let Some(windows) = worker.windows() else {
            return Ok(None);
        };
        let window = windows.open();
        let looked = self.look_under(pair, keys, worker, (&windows, &window));
        windows.close(&window);
        looked
    }

    fn look_under(
        &mut self,
        pair: PairId,
        keys: &[Key],
        worker: &Worker,
        (windows, window): (&Arc<Windows>, &Window),
    ) -> Result<Option<Looked>> {
        // What the feed has shown may be at the mirror already: the source must show it too.
        let ((seen, expected, unmappable), until) =
            self.read_source(pair, keys, &window.received)?;
        if !worker.wait_applied(self.context, &until, LOOK_WAIT) {
            return Ok(None);
        }
        let differ = self.against_mirror(pair, keys, &seen, &expected, unmappable)?;
        if !worker.carries_with(windows) {
            return Ok(None);
        }
        let absent = keys.iter().filter(|key| !seen.contains_key(*key)).cloned();
        // Whatever the mirror had that the source did not show, the flow had received before: a
        // key that it did not receive differs by itself.
        let moves = |(key, _): &(Key, Kind)| windows.touched(window, pair, key);
        let (moving, differ): (Vec<_>, Vec<_>) = differ.into_iter().partition(moves);
        Ok(Some(Looked {
            absent: absent.collect(),
            differ,
            moving: moving.into_iter().map(|(key, _)| key).collect(),
        }))
    }

    /// Rows of the source that show everything received, as the mirror should have them.
    pub(super) fn read_source(
        &mut self,
        pair: PairId,
        keys: &[Key],
        received: &Position,
    ) -> Result<(Source, Position)> {
        let chunk = self.source.get(pair, keys, received)?;
        if let Some(each) = chunk.bytes.checked_div(chunk.rows.len() as u64) {
            let fitting = usize::try_from(KEYS_BYTES / each.max(1)).unwrap_or(KEYS_MAX);
            self.at_once = fitting.clamp(KEYS_MIN, KEYS_MAX);
        }
        let (mut seen, mut expected) = (HashMap::new(), HashMap::new());
        let mut unmappable = Vec::new();
        for (key, image) in chunk.rows {
            seen.insert(key.clone(), image.row.clone());
            let may_lack = self.may_lack(pair, self.direction.source(), Some(&image.row));
            let mut out = Vec::with_capacity(1);
            match flow::expected(self.context, self.direction, pair, image, &mut out) {
                Ok(()) => {
                    expected.insert(key, out);
                }
                // Nobody has tried to carry it; once somebody does, there is a letter.
                Err(_) if may_lack => {}
                Err(error) => unmappable.push((key, Kind::Unmappable(error.to_string()))),
            }
        }
        Ok(((seen, expected, unmappable), chunk.until))
    }

    pub(super) fn against_mirror(
        &mut self,
        pair: PairId,
        keys: &[Key],
        seen: &HashMap<Key, Row>,
        expected: &HashMap<Key, Vec<(Key, Row)>>,
        mut differ: Vec<(Key, Kind)>,
    ) -> Result<Vec<(Key, Kind)>> {
        let mut wanted: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            match expected.get(key) {
                Some(rows) => wanted.extend(rows.iter().map(|(key, _)| key.clone())),
                None => wanted.extend(self.target_key(pair, key)),
            }
        }
        let chunk = self.mirror.get(pair, &wanted, &nowhere())?;
        let mut found: HashMap<Key, Row> = chunk
            .rows
            .into_iter()
            .map(|(key, image)| (key, image.row))
            .collect();
        for key in keys {
            match expected.get(key) {
                Some(rows) => {
                    for (target, row) in rows {
                        match found.remove(target) {
                            None if self.may_lack(pair, self.direction.source(), seen.get(key)) => {
                            }
                            None => differ.push((key.clone(), Kind::Missing)),
                            Some(theirs) => {
                                let fields = self.fields(pair, row, &theirs);
                                if !fields.is_empty() {
                                    differ.push((key.clone(), Kind::Different(fields)));
                                }
                            }
                        }
                    }
                }
                None if seen.contains_key(key) => {}
                None => {
                    let extra = self
                        .target_key(pair, key)
                        .and_then(|key| found.remove(&key));
                    if extra.is_some()
                        && !self.may_lack(pair, self.direction.target(), extra.as_ref())
                    {
                        differ.push((key.clone(), Kind::Extra));
                    }
                }
            }
        }
        Ok(differ)
    }
}
