//! A writer that knows nothing of any change.

use std::collections::{BTreeMap, BTreeSet};

use contraflow_core::lease::Gate;
use contraflow_core::record::{Image, Key, Origin, Row};

use super::order::Order;
use super::state::{Rows, State, Table, difference};
use super::{Memory, Style};

/// One statement of an application.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a row.
    Insert(Row),
    /// The row under the key becomes this one, whose key may be another.
    Update(Key, Row),
    /// Deletes a row, if it is there.
    Delete(Key),
    /// Adds a row and deletes every row that it would conflict with.
    Replace(Row),
}

/// Why an application's transaction was refused; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// By the guard of a change.
    Guard,
    /// By a key or a unique value.
    Conflict,
}

/// A writer that knows nothing of any change.
pub struct Application {
    memory: Memory,
}

/// A transaction under way: the tables it has touched as it sees them, and the keys that it
/// deleted on the way.
#[derive(Default)]
struct Draft {
    tables: BTreeMap<String, (Rows, BTreeSet<Order>)>,
}

impl Application {
    pub(super) fn new(memory: Memory) -> Application {
        Application { memory }
    }

    /// Runs one transaction on a table.
    ///
    /// # Errors
    /// When the guard or a constraint refuses; nothing was written then.
    pub fn transact(&self, table: &str, writes: &[Write]) -> Result<(), Refused> {
        let mut state = self.memory.lock();
        self.admitted(&state, table)?;
        let mut draft = Draft::default();
        for write in writes {
            draft.write(&state, table, write)?;
        }
        let mut changes = Vec::new();
        for (name, (rows, deleted)) in &draft.tables {
            let table = &state.tables[name];
            let found = difference(name, &table.shape, &table.durable, rows, deleted);
            changes.extend(found);
        }
        let lags = self.memory.style == Style::Log;
        state.commit(changes, Origin::Application, lags);
        Ok(())
    }

    fn admitted(&self, state: &State, table: &str) -> Result<(), Refused> {
        let Some(book) = &state.book else {
            return Ok(());
        };
        if !book.tables.iter().any(|name| name == table) {
            return Ok(());
        }
        match book.standing.gate {
            Gate::Open => Ok(()),
            Gate::Fenced if self.memory.clock.elapsed() >= book.fenced_until => Ok(()),
            Gate::Fenced | Gate::Closed => Err(Refused::Guard),
        }
    }
}

impl Draft {
    fn write(&mut self, state: &State, name: &str, write: &Write) -> Result<(), Refused> {
        let table = &state.tables[name];
        let (rows, deleted) = self
            .tables
            .entry(name.to_owned())
            .or_insert_with(|| (table.durable.clone(), BTreeSet::new()));
        let order = |row: &Row| Order::of(&table.shape.key_of(&row.0));
        match write {
            Write::Insert(row) => {
                let at = order(row);
                if rows.contains_key(&at) {
                    return Err(Refused::Conflict);
                }
                insert(table, rows, at, image(row))
            }
            Write::Update(key, row) => {
                let (from, to) = (Order::of(&key.0), order(row));
                let Some(was) = rows.remove(&from) else {
                    return Ok(());
                };
                if rows.contains_key(&to) {
                    return Err(Refused::Conflict);
                }
                // What lies beside the row goes where the row goes.
                let image = Image {
                    row: row.clone(),
                    complement: was.complement,
                };
                if from != to {
                    deleted.insert(from);
                }
                insert(table, rows, to, image)
            }
            Write::Delete(key) => {
                let at = Order::of(&key.0);
                if rows.remove(&at).is_some() {
                    deleted.insert(at);
                }
                Ok(())
            }
            Write::Replace(row) => {
                let at = order(row);
                for victim in table.victims(rows, &at, &row.0) {
                    rows.remove(&victim);
                    deleted.insert(victim);
                }
                if rows.remove(&at).is_some() {
                    deleted.insert(at.clone());
                }
                insert(table, rows, at, image(row))
            }
        }
    }
}

fn insert(table: &Table, rows: &mut Rows, at: Order, image: Image) -> Result<(), Refused> {
    if !table.victims(rows, &at, &image.row.0).is_empty() {
        return Err(Refused::Conflict);
    }
    rows.insert(at, image);
    Ok(())
}

fn image(row: &Row) -> Image {
    Image {
        row: row.clone(),
        ..Image::default()
    }
}
