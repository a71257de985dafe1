//! The two notes of a group, and their place in a complement.

use crate::value::Value;

/// What lies beside the slots: what they cannot hold of the list.
#[derive(Default)]
pub(super) struct Beyond {
    /// What the list was when it was no list.
    pub(super) nothing: Option<Value>,
    /// Items behind the last slot.
    pub(super) overflow: Vec<Value>,
    /// Items that their slots show incompletely: slot, seal of its fields, item.
    pub(super) whole: Vec<(usize, Value, Value)>,
}

/// What lies beside the list: what it cannot hold of the slots.
#[derive(Default)]
pub(super) struct Gaps {
    /// For each item the slot it came from; one past the last for overflow.
    pub(super) places: Vec<usize>,
    /// The seal of each item.
    pub(super) seals: Vec<Value>,
    /// Fields of slots that are empty in an unusual way.
    pub(super) residues: Vec<(usize, Vec<Value>)>,
}

impl Beyond {
    pub(super) fn is_empty(&self) -> bool {
        self.nothing.is_none() && self.overflow.is_empty() && self.whole.is_empty()
    }

    pub(super) fn read(note: Vec<Value>) -> Option<Beyond> {
        let [nothing, overflow, whole] = lists(note)?;
        let whole = whole.into_iter().map(|entry| {
            let [slot, seal, item] = list(entry)?.try_into().ok()?;
            Some((place(&slot)?, seal, item))
        });
        Some(Beyond {
            nothing: nothing.into_iter().next(),
            overflow,
            whole: whole.collect::<Option<_>>()?,
        })
    }

    pub(super) fn write(self) -> Vec<Value> {
        let whole = self
            .whole
            .into_iter()
            .map(|(slot, seal, item)| Value::List(vec![Value::Int(slot as i64), seal, item]));
        vec![
            Value::List(self.nothing.into_iter().collect()),
            Value::List(self.overflow),
            Value::List(whole.collect()),
        ]
    }
}

impl Gaps {
    pub(super) fn read(note: Vec<Value>) -> Option<Gaps> {
        let [places, seals, residues] = lists(note)?;
        let residues = residues.into_iter().map(|entry| {
            let mut fields = list(entry)?;
            let slot = place(&fields.pop()?)?;
            Some((slot, fields))
        });
        let gaps = Gaps {
            places: places.iter().map(place).collect::<Option<_>>()?,
            seals,
            residues: residues.collect::<Option<_>>()?,
        };
        (gaps.places.len() == gaps.seals.len()).then_some(gaps)
    }

    pub(super) fn write(self) -> Vec<Value> {
        let places = self
            .places
            .into_iter()
            .map(|place| Value::Int(place as i64));
        let residues = self.residues.into_iter().map(|(slot, mut fields)| {
            fields.push(Value::Int(slot as i64));
            Value::List(fields)
        });
        vec![
            Value::List(places.collect()),
            Value::List(self.seals),
            Value::List(residues.collect()),
        ]
    }
}

fn lists(note: Vec<Value>) -> Option<[Vec<Value>; 3]> {
    let lists: Option<Vec<Vec<Value>>> = note.into_iter().map(list).collect();
    lists?.try_into().ok()
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) => Some(items),
        _ => None,
    }
}

fn place(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}
