//! Random transactions of an application: few keys and few unique values, so that they meet.

use contraflow_core::record::{Key, Row};
use contraflow_core::shape::{Shape, Type};
use contraflow_core::value::Value;

use super::ground::Store;
use crate::chance::Chance;
use crate::memory::{Refused, Write};

/// Keys that rows may have.
const KEYS: u64 = 9;
/// Unique values that rows may have.
const TAGS: u64 = 6;
/// A tag that no row keeps.
const BETWEEN: u64 = 99;

/// One random transaction on a table whose fields include `id` and `tag`.
pub(super) fn transact(
    store: &dyn Store,
    table: &str,
    shape: &Shape,
    seed: u64,
) -> Result<(), Refused> {
    let mut writer = Writer {
        chance: Chance::new(seed),
        shape,
        rows: store
            .rows(table)
            .into_iter()
            .map(|(_, image)| image.row)
            .collect(),
    };
    let statements = 1 + writer.chance.below(3) * writer.chance.below(2);
    let mut writes = Vec::new();
    for _ in 0..statements {
        writer.add(&mut writes);
    }
    store.transact(table, &writes)
}

struct Writer<'s> {
    chance: Chance,
    shape: &'s Shape,
    rows: Vec<Row>,
}

impl Writer<'_> {
    fn add(&mut self, writes: &mut Vec<Write>) {
        let Some(row) = self.chance.pick(&self.rows).cloned() else {
            let row = self.fresh();
            return writes.push(Write::Insert(row));
        };
        let key = Key(self.shape.key_of(&row.0));
        match self.chance.below(10) {
            0..2 => writes.push(Write::Insert(self.fresh())),
            2..4 => {
                let changed = self.fresh();
                let changed = self.with(&changed, "id", key.0[0].clone());
                writes.push(Write::Update(key, changed));
            }
            4 => {
                // A value that no unique constraint knows.
                let changed = Value::Text(format!("t{}", self.chance.below(1_000)));
                let text = if self.shape.index("name").is_some() {
                    "name"
                } else {
                    "label"
                };
                writes.push(Write::Update(key, self.with(&row, text, changed)));
            }
            5 => writes.push(Write::Delete(key)),
            6 => {
                writes.push(Write::Delete(key));
                let fresh = self.fresh();
                writes.push(Write::Insert(self.with(&fresh, "id", self.id(&row))));
            }
            7 => {
                let id = Value::Int(i64::try_from(self.chance.below(KEYS)).unwrap_or(0));
                writes.push(Write::Update(key, self.with(&row, "id", id)));
            }
            8 => {
                let fresh = self.fresh();
                writes.push(Write::Replace(fresh));
            }
            _ => self.swap(&row, writes),
        }
    }

    /// Two rows swap their tags, in one transaction as every database does it.
    fn swap(&mut self, one: &Row, writes: &mut Vec<Write>) {
        let Some(other) = self.chance.pick(&self.rows).cloned() else {
            return;
        };
        let (mine, theirs) = (self.tag(one), self.tag(&other));
        if self.id(one) == self.id(&other) {
            return;
        }
        let key = |row: &Row| Key(self.shape.key_of(&row.0));
        let between = Value::Text(format!("u{BETWEEN}"));
        writes.push(Write::Update(key(one), self.with(one, "tag", between)));
        writes.push(Write::Update(key(&other), self.with(&other, "tag", mine)));
        writes.push(Write::Update(key(one), self.with(one, "tag", theirs)));
    }

    fn place(&self, name: &str) -> usize {
        self.shape.index(name).expect("the table has the field")
    }

    fn id(&self, row: &Row) -> Value {
        row.0[self.place("id")].clone()
    }

    fn tag(&self, row: &Row) -> Value {
        row.0[self.place("tag")].clone()
    }

    fn with(&self, row: &Row, name: &str, value: Value) -> Row {
        let mut row = row.clone();
        let place = self.place(name);
        row.0[place] = value;
        row
    }

    fn fresh(&mut self) -> Row {
        let fields = self.shape.fields.iter();
        let value = |field: &contraflow_core::shape::Field| match (field.name.as_str(), &field.ty) {
            ("id", _) => Value::Int(i64::try_from(self.chance.below(KEYS)).unwrap_or(0)),
            ("tag", _) if self.chance.once_in(4) => Value::Null,
            ("tag", _) => Value::Text(format!("u{}", self.chance.below(TAGS))),
            (_, Type::Text) => Value::Text(format!("t{}", self.chance.below(1_000))),
            _ => Value::Int(i64::try_from(self.chance.below(1_000)).unwrap_or(0)),
        };
        Row(fields.map(value).collect())
    }
}
