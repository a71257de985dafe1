//! What an end is to a change.

use crate::log::Room;
use crate::record::PairId;
use crate::shape::Shape;
use crate::side::Side;

/// What an end must know of the change it serves.
#[derive(Clone, Debug)]
pub struct Role {
    /// The name of the change.
    pub change: String,
    /// Which side this end is.
    pub side: Side,
    /// Its table of each pair, in the order of the pairs.
    pub tables: Vec<Table>,
}

/// One table of a role.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table's name, as the end spells it.
    pub name: String,
    /// Rows are positional by this shape. The mapping decides the types; the end encodes them.
    pub shape: Shape,
    /// Fields that the mapping passes through untouched between two ends of one engine: the end
    /// carries them in its native form, neither decoded nor encoded again.
    pub native: Vec<bool>,
    /// How the other end's engine declares each field, for those that an end of the same engine
    /// can declare alike; used only for a table that the change creates.
    pub declared: Vec<Option<String>>,
    /// Whether the change creates this table at expand.
    pub created: bool,
}

impl Role {
    /// The table of a pair.
    #[must_use]
    pub fn table(&self, pair: PairId) -> &Table {
        &self.tables[usize::from(pair.0)]
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (PairId, &Table)> {
        self.tables.iter().enumerate().map(|(i, table)| {
            (
                PairId(u16::try_from(i).expect("a change has fewer than 65 536 pairs")),
                table,
            )
        })
    }
}

/// What [`super::End::inspect`] found.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The declared shape. Names in `key` that are not there are left out of its key.
    pub shape: Shape,
    /// Names of the primary key's fields, in order.
    pub primary_key: Vec<String>,
    /// An estimate of the number of rows, for progress.
    pub rows_estimated: u64,
    /// How the engine declares each field of the shape, without its name.
    pub declared: Vec<String>,
    /// What it holds as a log, if it is one.
    pub log: Option<Room>,
}
