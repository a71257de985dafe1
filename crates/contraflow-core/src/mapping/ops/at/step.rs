//! Walks into a value, runs the inner program there, and keeps its notes per item.

use crate::mapping::memory::{Notes, align, seal};
use crate::mapping::program::{Program, Step, Work};
use crate::mapping::{MapError, index};
use crate::side::Direction;
use crate::value::{Record, Value};

/// The inner notes of the place itself: those of its program, by number, come beside it.
const ITEMS: u32 = u32::MAX;
/// Undeclared fields whose names the target's record gives to something else.
const CLASHES: u32 = u32::MAX - 1;

/// One step of the way into a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Segment {
    /// Every item of a list.
    Items,
    /// A field of a record, by its place.
    Member(usize),
}

/// What stands at the end of the way.
pub(super) struct Content {
    /// The names of a record's fields on each side.
    pub(super) names: [Vec<String>; 2],
    /// Whether it is a bare value instead of a record.
    pub(super) bare: bool,
    /// What happens to it.
    pub(super) program: Program,
}

/// A program inside a register.
pub(super) struct Inside {
    register: usize,
    segments: Vec<Segment>,
    content: Content,
    path: String,
}

impl Inside {
    pub(super) fn new(
        register: usize,
        segments: Vec<Segment>,
        content: Content,
        path: String,
    ) -> Inside {
        Inside {
            register,
            segments,
            content,
            path,
        }
    }

    fn walk(
        &self,
        segments: &[Segment],
        value: Value,
        direction: Direction,
        recalled: Notes,
    ) -> Result<(Value, Notes), MapError> {
        match (segments.split_first(), value) {
            (None, value) if self.content.bare => self.bare(value, direction, recalled),
            (_, nothing @ (Value::Absent | Value::Null)) => Ok((nothing, Notes::default())),
            (None, Value::Record(record)) => self.record(*record, direction, recalled),
            (Some((Segment::Items, rest)), Value::List(items)) => {
                self.items(rest, items, direction, recalled)
            }
            (Some((Segment::Member(at), rest)), Value::Record(mut record)) => {
                let Some(field) = record.fields.get_mut(*at) else {
                    return Ok((Value::Record(record), Notes::default()));
                };
                let (value, kept) = self.walk(rest, field.take(), direction, recalled)?;
                *field = value;
                Ok((Value::Record(record), kept))
            }
            _ => Err(MapError::unmappable(
                &self.path,
                "expected a list or record",
            )),
        }
    }

    fn bare(
        &self,
        value: Value,
        direction: Direction,
        mut recalled: Notes,
    ) -> Result<(Value, Notes), MapError> {
        let mut kept = Notes::default();
        let program = &self.content.program;
        let mut fields = program.run(direction, vec![value], &mut recalled, &mut kept)?;
        Ok((fields.pop().unwrap_or(Value::Null), kept))
    }

    fn record(
        &self,
        mut record: Record,
        direction: Direction,
        mut recalled: Notes,
    ) -> Result<(Value, Notes), MapError> {
        let [from, to] = [direction.source(), direction.target()]
            .map(|side| self.content.names[index(side)].as_slice());
        if record.fields.len() > from.len() {
            return Err(MapError::unmappable(
                &self.path,
                "a record has too many fields",
            ));
        }
        record.fields.resize(from.len(), Value::Absent);
        let mut kept = Notes::default();
        let program = &self.content.program;
        let fields = program.run(direction, record.fields, &mut recalled, &mut kept)?;
        let mut extras = record.extras;
        if extras.iter().any(|(name, _)| to.contains(name)) {
            let clashes = extras.extract_if(.., |(name, _)| to.contains(name));
            let pair = |(name, value)| [Value::Text(name), value];
            kept.keep(CLASHES, clashes.flat_map(pair).collect());
        }
        let mut restored = recalled.recall(CLASHES).unwrap_or_default().into_iter();
        while let (Some(Value::Text(name)), Some(value)) = (restored.next(), restored.next()) {
            extras.push((name, value));
        }
        Ok((Value::Record(Box::new(Record { fields, extras })), kept))
    }

    /// Runs over a list. The note is, for every item, its seal and its own notes; there is none
    /// while no item has any.
    fn items(
        &self,
        rest: &[Segment],
        items: Vec<Value>,
        direction: Direction,
        mut recalled: Notes,
    ) -> Result<(Value, Notes), MapError> {
        let mut was = remembered(&mut recalled, &items);
        let mut targets = Vec::with_capacity(items.len());
        let mut notes = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            let recalled = was.get_mut(i).map(std::mem::take).unwrap_or_default();
            let (target, kept) = self.walk(rest, item, direction, recalled)?;
            if !kept.is_empty() {
                notes.resize_with(i, Notes::default);
                notes.push(kept);
            }
            targets.push(target);
        }
        let mut kept = Notes::default();
        if !notes.is_empty() {
            notes.resize_with(targets.len(), Notes::default);
            let sealed = targets.iter().zip(notes).map(|(target, notes)| {
                let seal = seal(std::slice::from_ref(target));
                Value::List(vec![seal, Value::List(notes.into_values())])
            });
            kept.keep(ITEMS, sealed.collect());
        }
        Ok((Value::List(targets), kept))
    }
}

/// The notes of each item, found again by its seal.
fn remembered(recalled: &mut Notes, items: &[Value]) -> Vec<Notes> {
    let Some(entries) = recalled.recall(ITEMS) else {
        return Vec::new();
    };
    let mut seals = Vec::with_capacity(entries.len());
    let mut notes = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::List(entry) = entry else { continue };
        let Ok([seal, Value::List(noted)]) = <[Value; 2]>::try_from(entry) else {
            continue;
        };
        seals.push(seal);
        notes.push(Notes::from_values(noted).unwrap_or_default());
    }
    let seals: Vec<(usize, &Value)> = seals.iter().enumerate().collect();
    let shown: Vec<Value> = items
        .iter()
        .map(|item| seal(std::slice::from_ref(item)))
        .collect();
    let found = align(&seals, &shown).into_iter();
    let taken = found.map(|found| found.map(|i| std::mem::take(&mut notes[i])));
    taken.map(Option::unwrap_or_default).collect()
}

impl Step for Inside {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        let recalled = work
            .recall()
            .and_then(Notes::from_values)
            .unwrap_or_default();
        let value = work.registers[self.register].take();
        let (value, kept) = self.walk(&self.segments, value, direction, recalled)?;
        work.registers[self.register] = value;
        if !kept.is_empty() {
            work.keep(kept.into_values());
        }
        Ok(())
    }
}
