//! Slots to list and back, with the notes that make it exact.

use crate::mapping::MapError;
use crate::mapping::memory::{align, seal};
use crate::mapping::ops::fold::Fold;
use crate::mapping::ops::group::notes::{Beyond, Gaps};
use crate::mapping::program::{Step, Work};
use crate::side::Direction;
use crate::value::Value;

/// Moves values between the registers of numbered slots and one list.
pub(super) struct Slots {
    slots: Vec<Vec<usize>>,
    list: usize,
    count: Option<usize>,
    fold: Fold,
    gathers: Direction,
    blank: Vec<Value>,
}

/// An item that lay beside the slots, found again.
#[derive(Clone, Copy)]
struct Found {
    at: usize,
    unchanged: bool,
}

impl Slots {
    pub(super) fn new(
        slots: Vec<Vec<usize>>,
        list: usize,
        count: Option<usize>,
        fold: Fold,
        gathers: Direction,
    ) -> Slots {
        let blank = fold.blanks.iter().flatten().cloned().collect();
        Slots {
            slots,
            list,
            count,
            fold,
            gathers,
            blank,
        }
    }

    /// Slots to list.
    fn gather(&self, work: &mut Work<'_>) {
        let mut beyond = work.recall().and_then(Beyond::read).unwrap_or_default();
        let found = self.found(&beyond, work);
        let mut items = Vec::with_capacity(self.slots.len() + beyond.overflow.len());
        let mut gaps = Gaps::default();
        for (i, slot) in self.slots.iter().enumerate() {
            let empty = slot
                .iter()
                .all(|&register| is_empty(&work.registers[register]));
            let found = found.get(i).copied().flatten();
            if empty && !found.is_some_and(|found| found.unchanged) {
                let mut shown = slot.iter().zip(&self.blank);
                if shown.any(|(register, blank)| work.registers[*register] != *blank) {
                    gaps.residues.push((i, work.take(slot)));
                }
                continue;
            }
            let fields = work.take(slot);
            items.push(match found {
                Some(found) => {
                    let whole = beyond.whole[found.at].2.take();
                    match found.unchanged {
                        true => whole,
                        false => self.fold.edited(fields, whole),
                    }
                }
                None => self.fold.item(fields),
            });
            gaps.places.push(i);
        }
        gaps.places
            .extend(beyond.overflow.iter().map(|_| self.slots.len()));
        items.append(&mut beyond.overflow);
        if let Some(count) = self.count {
            work.registers[count] = Value::Int(items.len() as i64);
        }
        if gaps
            .places
            .iter()
            .enumerate()
            .any(|(i, place)| i.min(self.slots.len()) != *place)
            || !gaps.residues.is_empty()
        {
            gaps.seals = seals_of(&items);
            work.keep(gaps.write());
        }
        work.registers[self.list] = match beyond.nothing {
            Some(nothing) if items.is_empty() => nothing,
            _ => Value::List(items),
        };
    }

    /// For each slot, the item that it showed incompletely.
    fn found(&self, beyond: &Beyond, work: &Work<'_>) -> Vec<Option<Found>> {
        if beyond.whole.is_empty() {
            return Vec::new();
        }
        let shown: Vec<Value> = self
            .slots
            .iter()
            .map(|slot| {
                let fields: Vec<Value> = slot
                    .iter()
                    .map(|&register| work.registers[register].clone())
                    .collect();
                seal(&fields)
            })
            .collect();
        let remembered: Vec<(usize, &Value)> = beyond
            .whole
            .iter()
            .map(|(slot, seal, _)| (*slot, seal))
            .collect();
        let aligned = align(&remembered, &shown);
        let blank = seal(&self.blank);
        let found = aligned.into_iter().enumerate().map(|(slot, at)| {
            let at = at?;
            let (place, sealed) = remembered[at];
            let unchanged = *sealed == shown[slot];
            // An empty slot looks like any other empty slot: only its own item is believed.
            (place == slot || shown[slot] != blank).then_some(Found { at, unchanged })
        });
        found.collect()
    }

    /// List to slots.
    fn spread(&self, work: &mut Work<'_>) -> Result<(), MapError> {
        let gaps = work.recall().and_then(Gaps::read).unwrap_or_default();
        let mut beyond = Beyond::default();
        let items = match work.registers[self.list].take() {
            Value::List(items) => items,
            nothing @ (Value::Null | Value::Absent) => {
                beyond.nothing = Some(nothing);
                Vec::new()
            }
            _ => return Err(MapError::unmappable(&self.fold.path, "expected a list")),
        };
        let mut free = vec![true; self.slots.len()];
        let places = self.places(&gaps, &items);
        for (i, item) in items.into_iter().enumerate() {
            let place = places.as_ref().map_or(i, |places| places[i]);
            let Some(slot) = self.slots.get(place) else {
                beyond.overflow.push(item);
                continue;
            };
            free[place] = false;
            let (fields, mut whole) = self.fold.fields(item)?;
            if whole.is_none() && fields.iter().all(is_empty) {
                whole = Some(self.fold.item(fields.clone()));
            }
            if let Some(whole) = whole {
                beyond.whole.push((place, seal(&fields), whole));
            }
            work.put(slot, fields);
        }
        for (place, _) in free.iter().enumerate().filter(|(_, free)| **free) {
            work.put(&self.slots[place], self.blank.clone());
        }
        for (place, residue) in gaps.residues {
            if free.get(place) == Some(&true) {
                work.put(&self.slots[place], residue);
            }
        }
        if !beyond.is_empty() {
            work.keep(beyond.write());
        }
        Ok(())
    }

    /// The slot of each item as remembered; `None` to fill them from the first on. Memory is
    /// honoured only while the order stays and no item falls off the end because of a gap.
    fn places(&self, gaps: &Gaps, items: &[Value]) -> Option<Vec<usize>> {
        if gaps.places.is_empty() {
            return None;
        }
        let seals: Vec<(usize, &Value)> = gaps.seals.iter().enumerate().collect();
        let was = align(&seals, &seals_of(items));
        let mut next = 0;
        let mut places = Vec::with_capacity(items.len());
        for known in was {
            let wanted = known.map(|known| gaps.places[known]);
            let place = next.max(wanted.unwrap_or(next));
            let overflows = place >= self.slots.len();
            if overflows && wanted.is_none_or(|wanted| wanted < self.slots.len()) {
                return None;
            }
            places.push(place);
            next = if overflows { place } else { place + 1 };
        }
        Some(places)
    }
}

impl Step for Slots {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        if direction == self.gathers {
            self.gather(work);
            return Ok(());
        }
        self.spread(work)
    }
}

fn seals_of(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .map(|item| seal(std::slice::from_ref(item)))
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        other => other.is_nothing(),
    }
}
