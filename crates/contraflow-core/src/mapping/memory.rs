//! Notes: what lies in a complement, and how a note finds the image it explains again.

use crate::codec::binary;
use crate::digest;
use crate::mapping::MapError;
use crate::record::Complement;
use crate::value::Value;

/// What steps noted, by the number of the step.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<(u32, Vec<Value>)>);

impl Notes {
    /// Reads a complement that an earlier flow of the same mapping wrote.
    pub(super) fn decode(complement: &Complement) -> Result<Notes, MapError> {
        if complement.is_empty() {
            return Ok(Notes::default());
        }
        binary::decode_values(&complement.0)
            .ok()
            .and_then(Notes::from_values)
            .ok_or_else(|| MapError::unmappable("complement", "it was not written by this mapping"))
    }

    /// The bytes to store; none when nothing was noted.
    pub(super) fn encode(self) -> Complement {
        let mut bytes = Vec::new();
        binary::encode_values(&self.into_values(), &mut bytes);
        Complement(bytes)
    }

    pub(super) fn from_values(values: Vec<Value>) -> Option<Notes> {
        if !values.len().is_multiple_of(2) {
            return None;
        }
        let mut notes = Vec::with_capacity(values.len() / 2);
        let mut values = values.into_iter();
        while let (Some(step), Some(note)) = (values.next(), values.next()) {
            let (Value::Int(step), Value::List(note)) = (step, note) else {
                return None;
            };
            notes.push((u32::try_from(step).ok()?, note));
        }
        Some(Notes(notes))
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        let pair = |(step, note)| [Value::Int(i64::from(step)), Value::List(note)];
        self.0.into_iter().flat_map(pair).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the note of a step out.
    pub(super) fn recall(&mut self, step: u32) -> Option<Vec<Value>> {
        let at = self.0.iter().position(|(noted, _)| *noted == step)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Writes the note of a step.
    pub(super) fn keep(&mut self, step: u32, note: Vec<Value>) {
        self.0.push((step, note));
    }
}

/// The seal of an image: a note is believed only while its image still has this seal.
pub(super) fn seal(image: &[Value]) -> Value {
    Value::Bytes(digest::row_digest(image).to_be_bytes().to_vec())
}

/// Finds for each shown item the remembered one it was, by the places and seals of both.
///
/// An item that did not change is found wherever it moved to; one that changed is found where it
/// stood, unless what stood there has been seen elsewhere.
pub(super) fn align(remembered: &[(usize, &Value)], shown: &[Value]) -> Vec<Option<usize>> {
    let mut found = vec![None; shown.len()];
    let mut free = vec![true; remembered.len()];
    for (i, (place, seal)) in remembered.iter().enumerate() {
        if shown.get(*place) == Some(*seal) && found[*place].is_none() {
            found[*place] = Some(i);
            free[i] = false;
        }
    }
    let mut moved: Vec<(&[u8], usize)> = (0..remembered.len())
        .filter(|&i| free[i])
        .map(|i| (bytes(remembered[i].1), i))
        .collect();
    moved.sort_unstable();
    for (j, seal) in shown.iter().enumerate().filter(|_| !moved.is_empty()) {
        if found[j].is_some() {
            continue;
        }
        let start = moved.partition_point(|(candidate, _)| *candidate < bytes(seal));
        let same = moved[start..].iter();
        let mut same = same.take_while(|(candidate, _)| *candidate == bytes(seal));
        if let Some(&(_, i)) = same.find(|(_, i)| free[*i]) {
            found[j] = Some(i);
            free[i] = false;
        }
    }
    for (i, (place, _)) in remembered.iter().enumerate() {
        if free[i] && found.get(*place) == Some(&None) {
            found[*place] = Some(i);
        }
    }
    found
}

fn bytes(seal: &Value) -> &[u8] {
    match seal {
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}
