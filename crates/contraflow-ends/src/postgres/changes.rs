//! Changes of rows as the stream has them, and their rows and keys as the table has them.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;

use super::Context;
use super::catalog::Layout;
use super::pgoutput::{Cell, Tuple};

/// A change of a row, as the stream has it.
pub(super) enum Change<'b> {
    Insert(Tuple<'b>),
    Update(Option<Tuple<'b>>, Tuple<'b>),
    Delete(Tuple<'b>),
}

impl Change<'_> {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let (Change::Insert(tuple) | Change::Update(_, tuple) | Change::Delete(tuple)) = self;
        let size = |cell: &Cell<'_>| match cell {
            Cell::Text(text) => text.len() + 24,
            Cell::Binary(bytes) => bytes.len() + 24,
            Cell::Null | Cell::Unchanged => 24,
        };
        tuple.iter().map(size).sum()
    }

    /// Whose checkpoint it is, when it is one of this change.
    pub(super) fn lane(
        &self,
        (change, direction): (usize, usize),
        name: &str,
    ) -> Option<Direction> {
        let (Change::Insert(tuple) | Change::Update(_, tuple)) = self else {
            return None;
        };
        let text = |place: usize| match tuple.get(place) {
            Some(Cell::Text(text)) => Some(*text),
            Some(Cell::Binary(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        if text(change) != Some(name) {
            return None;
        }
        let mut directions = Direction::BOTH.into_iter();
        directions.find(|found| Some(found.name()) == text(direction))
    }
}

/// The fields of a row in the order of the shape; `None` is a value that is not in the log.
pub(super) fn row_of(
    layout: &Layout,
    places: &[Option<usize>],
    tuple: &Tuple<'_>,
) -> Result<Vec<Option<Value>>> {
    if tuple.len() != places.len() {
        return Err(unreadable());
    }
    let mut row = vec![Some(Value::Null); layout.columns.len()];
    for (cell, place) in tuple.iter().zip(places) {
        let Some(place) = *place else { continue };
        row[place] = match cell {
            Cell::Null => Some(Value::Null),
            Cell::Unchanged => None,
            Cell::Text(text) => Some(layout.value(place, text)),
            Cell::Binary(_) => return Err(unreadable()),
        };
    }
    Ok(row)
}

/// The key of a change that we made ourselves: nothing else of it is looked at, which matters when
/// a copy of many rows comes back through the log.
pub(super) fn own_key(
    context: &Context,
    pair: PairId,
    layout: &Layout,
    places: &[Option<usize>],
    change: &Change<'_>,
) -> Result<Key> {
    let (new, old) = match change {
        Change::Insert(new) => (new, None),
        Change::Update(old, new) => (new, old.as_ref()),
        Change::Delete(old) => (old, None),
    };
    let mut row = vec![None; layout.columns.len()];
    for &field in &layout.key {
        let at = places.iter().position(|place| *place == Some(field));
        let cells = [Some(new), old].into_iter().flatten();
        row[field] = cells
            .filter_map(|tuple| tuple.get(at?))
            .find_map(|cell| match cell {
                Cell::Text(text) => Some(layout.value(field, text)),
                Cell::Null | Cell::Unchanged | Cell::Binary(_) => None,
            });
    }
    key_of(context, pair, layout, &row)
}

pub(super) fn key_of(
    context: &Context,
    pair: PairId,
    layout: &Layout,
    row: &[Option<Value>],
) -> Result<Key> {
    let values = layout.key.iter().map(|&place| row[place].clone());
    let key: Option<Vec<Value>> = values
        .map(|value| value.filter(|value| !value.is_nothing()))
        .collect();
    key.map(Key).ok_or_else(|| {
        let table = &context.role.table(pair).name;
        let message = format!("the log of `{table}` has a change without its key");
        Error::new(Kind::Hold, Code::KEY_VALUES, message)
            .at(context.role.side)
            .detail("Its replica identity does not cover the key, or a key is null.")
            .hint("`alter table ... replica identity` with the declared key, then run anew.")
    })
}

/// Something in the stream that cannot be skipped.
pub(super) fn unreadable() -> Error {
    let message = "the log stream has something that this version cannot read";
    Error::new(Kind::Hold, Code::END_FAILED, message)
        .hint("Nothing was skipped. Report the server's version; `contraflow abort` gives up.")
}
