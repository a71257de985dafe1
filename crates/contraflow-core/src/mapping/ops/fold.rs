//! One item made of several fields, and those fields again: what `group` and `nest` share.

use crate::mapping::MapError;
use crate::value::{Record, Value};

/// What the fields of an item hold when there is no item, and whether the item is a bare value.
#[derive(Debug)]
pub(super) struct Fold {
    /// Per field; `None` where the field allows neither null nor an empty text.
    pub(super) blanks: Vec<Option<Value>>,
    /// Whether the item is the only field's value itself instead of a record.
    pub(super) bare: bool,
    /// The field, for messages.
    pub(super) path: String,
}

impl Fold {
    /// The item of these fields.
    pub(super) fn item(&self, mut fields: Vec<Value>) -> Value {
        match self.bare {
            true => fields.pop().unwrap_or(Value::Null),
            false => Value::Record(Box::new(Record {
                fields,
                extras: Vec::new(),
            })),
        }
    }

    /// The item of edited fields, with what the item as it was held beyond them.
    pub(super) fn edited(&self, fields: Vec<Value>, was: Value) -> Value {
        let mut item = self.item(fields);
        if let (Value::Record(item), Value::Record(was)) = (&mut item, was) {
            item.extras = was.extras;
        }
        item
    }

    /// Splits an item into its fields. Also gives the item back whenever its fields alone would
    /// not make it again.
    pub(super) fn fields(&self, item: Value) -> Result<(Vec<Value>, Option<Value>), MapError> {
        let exact = match &item {
            Value::Record(record) if !self.bare => {
                record.extras.is_empty()
                    && record.fields.len() == self.blanks.len()
                    && record
                        .fields
                        .iter()
                        .zip(&self.blanks)
                        .all(|(value, blank)| fits(value, blank))
            }
            value if self.bare => fits(value, &self.blanks[0]),
            _ => false,
        };
        let whole = (!exact).then(|| item.clone());
        let mut fields = match item {
            Value::Record(record) if !self.bare => record.fields,
            value if self.bare => vec![value],
            Value::Null | Value::Absent => Vec::new(),
            _ => return Err(MapError::unmappable(&self.path, "expected a record")),
        };
        if exact {
            return Ok((fields, whole));
        }
        fields.resize(self.blanks.len(), Value::Absent);
        for (value, blank) in fields.iter_mut().zip(&self.blanks) {
            if !fits(value, blank) {
                *value = blank.clone().ok_or_else(|| {
                    MapError::unmappable(&self.path, "a field that must not be null has no value")
                })?;
            }
        }
        Ok((fields, whole))
    }
}

/// Whether a column can hold this value as it is.
fn fits(value: &Value, blank: &Option<Value>) -> bool {
    match value {
        Value::Absent => false,
        Value::Null => *blank == Some(Value::Null),
        _ => true,
    }
}
