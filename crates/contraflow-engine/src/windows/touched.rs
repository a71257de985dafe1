//! Keys that were touched and wait to be compared.
//!
//! A compare proves keys equal while others are written. Every key that is touched meanwhile waits
//! here, once, until somebody takes it to look at it; touched again, it waits again. Writers that
//! are faster than whoever looks do not fill the memory: past a bound in bytes all keys are
//! forgotten, and it says so until it is begun anew. Nothing that was proven before counts then.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use contraflow_core::record::{Event, Key, PairId};
use contraflow_core::value::Value;

use super::Windows;

/// Bytes of keys that may wait: about 300 000 small ones. Whoever takes them holds as many again.
const BYTES_MAX: usize = 32 << 20;
/// What a key takes beside its values: its place in a table that is half full, and its allocation.
const KEY_BYTES: usize = 2 * size_of::<Key>() + 16;

/// Keys touched since it was begun, each until somebody takes it.
#[derive(Debug)]
pub struct Touched {
    windows: Arc<Windows>,
    number: u64,
}

/// What the windows hold of a [`Touched`].
#[derive(Debug, Default)]
pub(super) struct Kept {
    keys: BTreeMap<PairId, HashSet<Key>>,
    count: usize,
    bytes: usize,
    /// More were touched than may wait.
    outrun: bool,
}

impl Touched {
    pub(super) fn new(windows: Arc<Windows>, number: u64) -> Touched {
        Touched { windows, number }
    }

    /// The windows of the flow that touches.
    #[must_use]
    pub fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    /// How many keys wait; `None` when more were touched than may wait.
    #[must_use]
    pub fn waiting(&self) -> Option<usize> {
        self.with(|kept| (!kept.outrun).then_some(kept.count))
    }

    /// Whether a key was touched since it was taken last.
    #[must_use]
    pub fn waits(&self, pair: PairId, key: &Key) -> bool {
        self.with(|kept| kept.keys.get(&pair).is_some_and(|keys| keys.contains(key)))
    }

    /// Takes the keys that wait; `None` when more were touched than may wait.
    #[must_use]
    pub fn take(&self) -> Option<BTreeMap<PairId, Vec<Key>>> {
        let taken = self.with(|kept| (!kept.outrun).then(|| std::mem::take(kept)))?;
        let keys = taken.keys.into_iter();
        Some(
            keys.map(|(pair, keys)| (pair, Vec::from_iter(keys)))
                .collect(),
        )
    }

    /// Forgets what was touched so far.
    pub fn begin(&self) {
        drop(self.with(std::mem::take));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(self.windows.lock().kept.entry(self.number).or_default())
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        drop(self.windows.lock().kept.remove(&self.number));
    }
}

impl Kept {
    pub(super) fn receive(&mut self, events: &[Event]) {
        for Event { pair, key, .. } in events {
            if self.outrun {
                return;
            }
            let keys = self.keys.entry(*pair).or_default();
            if keys.contains(key) {
                continue;
            }
            keys.insert(key.clone());
            self.count += 1;
            self.bytes += KEY_BYTES + key.0.iter().map(bytes_of).sum::<usize>();
            if self.bytes > BYTES_MAX {
                *self = Kept {
                    outrun: true,
                    ..Kept::default()
                };
            }
        }
    }
}

/// About how much memory a value takes.
fn bytes_of(value: &Value) -> usize {
    let beyond = match value {
        Value::Absent
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Uuid(_) => 0,
        Value::Decimal(decimal) => usize::try_from(decimal.0.digits()).unwrap_or(BYTES_MAX),
        Value::Text(text) | Value::Enum(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Native(native) => size_of_val(native.as_ref()) + native.bytes.len(),
        Value::Union(branch) => branch.0.len() + bytes_of(&branch.1),
        Value::List(items) => items.iter().map(bytes_of).sum(),
        Value::Map(entries) => {
            let both = entries
                .iter()
                .map(|(key, value)| bytes_of(key) + bytes_of(value));
            both.sum()
        }
        Value::Record(record) => {
            let extras = record.extras.iter();
            let extras = extras.map(|(name, value)| name.len() + bytes_of(value));
            record.fields.iter().map(bytes_of).sum::<usize>() + extras.sum::<usize>()
        }
    };
    size_of::<Value>() + beyond
}
