//! The images of a batch: from the log where it has them whole, read again where not.

use std::collections::HashMap;

use contraflow_core::error::Result;
use contraflow_core::lease::Gate;
use contraflow_core::record::{Event, Image, Key, Op, Origin, PairId, Row};

use super::super::catalog::Layout;
use super::super::folded::{Folded, Latest};
use super::super::place::Place;
use super::super::{bookkeeping, scan, slot, visible};
use super::LogFeed;

impl LogFeed {
    /// The events of a batch, and what their images show.
    pub(super) fn events(&mut self, folded: Folded, through: Place) -> Result<(Vec<Event>, Place)> {
        let again = self.unfinished(&folded)?;
        let (mut images, seen) = if again.is_empty() {
            (HashMap::new(), through)
        } else {
            let images = self.read_again(again)?;
            let now = Place::at(slot::wal_position(self.client()?)?);
            (images, through.max(now))
        };
        let mut events = Vec::with_capacity(folded.touched.len());
        for touched in folded.touched {
            let (pair, key) = (touched.pair, touched.key.clone());
            let newer = images.remove(&(pair, key.clone()));
            let op = touched.op();
            let position = touched.place.position();
            let image = match (touched.latest, newer) {
                (Latest::Gone, _) => None,
                (Latest::Row(_) | Latest::Partial, Some(newer)) => Some(newer),
                (Latest::Row(row), None) => Some(Image {
                    row: Row(row),
                    ..Image::default()
                }),
                // It is gone by now; the log will say so.
                (Latest::Partial, None) => None,
            };
            events.push(Event {
                pair,
                key,
                op: if image.is_some() { op } else { Op::Delete },
                image,
                position,
                origin: touched.ours.map_or(Origin::Application, Origin::Flow),
            });
        }
        Ok((events, seen))
    }

    /// Keys whose row the log does not have whole, or beside whose row something may lie.
    fn unfinished(&mut self, folded: &Folded) -> Result<Vec<(PairId, Vec<Key>)>> {
        let context = self.context.clone();
        let mut again = Vec::new();
        for (pair, _) in context.role.pairs() {
            let mine = folded.touched.iter().filter(|touched| touched.pair == pair);
            let rows: Vec<_> = mine
                .filter(|touched| !matches!(touched.latest, Latest::Gone))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let beside = self.has_complements(pair)?;
            let wanted = rows
                .into_iter()
                .filter(|touched| beside || matches!(touched.latest, Latest::Partial));
            let keys: Vec<Key> = wanted.map(|touched| touched.key.clone()).collect();
            if !keys.is_empty() {
                again.push((pair, keys));
            }
        }
        Ok(again)
    }

    /// Whether something may lie beside rows of a pair. Only who writes a mirror lays it there: at
    /// the end with authority it grows less, and nothing stays nothing.
    fn has_complements(&mut self, pair: PairId) -> Result<bool> {
        if self.bare.contains(&pair) {
            return Ok(false);
        }
        let names = self.context.names.clone();
        let client = self.client()?;
        let gate = bookkeeping::carried(client, &names)?.gate;
        let some = bookkeeping::has_complements(client, &names, pair.0)?;
        if !some && gate == Gate::Open {
            self.bare.insert(pair);
        }
        Ok(some)
    }

    /// The rows of keys as they are now: at least as new as what was received.
    fn read_again(
        &mut self,
        again: Vec<(PairId, Vec<Key>)>,
    ) -> Result<HashMap<(PairId, Key), Image>> {
        let context = self.context.clone();
        let client = self.client()?;
        let row = bookkeeping::carried(client, &context.names)?;
        let from = row.slot.map_or(0, |slot| slot.from);
        visible::barrier(client, &context.shared.unproven, from, &*context.clock)?;
        let mut images = HashMap::new();
        for (pair, keys) in again {
            let layout = Layout::of(client, context.role.table(pair))?;
            let (found, _) = scan::get(client, &context, &layout, pair, &keys)?;
            images.extend(found.into_iter().map(|(key, image)| ((pair, key), image)));
        }
        Ok(images)
    }
}
