//! The discipline of notes for operations that compute: restore what is sealed, remember what the
//! way back would not give.

use crate::code::Code;
use crate::mapping::MapError;
use crate::mapping::memory::seal;
use crate::mapping::program::{Step, Work};
use crate::side::Direction;
use crate::value::Value;

/// A computation in both directions.
pub(super) trait Lens: Send + Sync {
    /// The target's values for the source's values, or what was expected instead.
    fn carry(&self, direction: Direction, values: &[Value]) -> Result<Vec<Value>, &'static str>;

    /// Whether the way back always gives exactly what was carried in this direction.
    fn faithful(&self, _direction: Direction) -> bool {
        false
    }

    /// The number of the error that a value causes that cannot be carried.
    fn code(&self) -> Code {
        Code::VALUE_UNMAPPABLE
    }

    /// What to make of target values whose source was edited since `was` was remembered.
    fn merge(&self, _direction: Direction, made: Vec<Value>, _was: Vec<Value>) -> Vec<Value> {
        made
    }
}

/// What to do with a value that cannot be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OnFail {
    /// The row becomes a letter.
    Letter,
    /// The target gets this value, and the original is remembered or not.
    Value {
        /// What the target shows.
        value: Value,
        /// Whether the original comes back on the way back.
        remember: bool,
    },
}

/// A lens between registers of the old and the new side.
pub(super) struct LensStep<L> {
    pub(super) lens: L,
    pub(super) old: Vec<usize>,
    pub(super) new: Vec<usize>,
    /// Forward, then reverse.
    pub(super) on_fail: [OnFail; 2],
    pub(super) path: String,
}

impl<L: Lens> Step for LensStep<L> {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        let (from, to, on_fail) = match direction {
            Direction::Forward => (&self.old, &self.new, &self.on_fail[0]),
            Direction::Reverse => (&self.new, &self.old, &self.on_fail[1]),
        };
        let values = work.take(from);
        let note = work
            .recall()
            .and_then(|note| <[Value; 2]>::try_from(note).ok());
        let was = match note {
            Some([Value::List(was), sealed]) if was.len() == to.len() => {
                Some((was, sealed == seal(&values)))
            }
            _ => None,
        };
        let (made, remember) = match was {
            Some((was, true)) => (was, true),
            was => match (self.lens.carry(direction, &values), on_fail) {
                (Ok(made), _) => {
                    let made = match was {
                        Some((was, _)) => self.lens.merge(direction, made, was),
                        None => made,
                    };
                    (made, !self.lens.faithful(direction))
                }
                (Err(_), OnFail::Value { value, remember }) => (vec![value.clone()], *remember),
                (Err(reason), OnFail::Letter) => {
                    return Err(MapError {
                        code: self.lens.code(),
                        path: self.path.clone(),
                        reason: reason.into(),
                    });
                }
            },
        };
        if remember && self.lens.carry(direction.opposite(), &made).as_ref() != Ok(&values) {
            work.keep(vec![Value::List(values), seal(&made)]);
        }
        work.put(to, made);
        Ok(())
    }
}
