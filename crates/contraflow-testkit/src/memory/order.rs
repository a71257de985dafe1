//! Keys in an order, as an index has them.

use contraflow_core::codec::binary;
use contraflow_core::value::Value;

/// The values of a key, comparable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order(Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Everything else, in an order that nobody reads anything into.
    Other(Vec<u8>),
}

impl Order {
    pub(super) fn of(values: &[Value]) -> Order {
        Order(values.iter().map(place).collect())
    }

    /// Whether any value is null: such unique values never meet.
    pub(super) fn has_null(&self) -> bool {
        self.0.contains(&Place::Null)
    }
}

fn place(value: &Value) -> Place {
    match value {
        Value::Absent | Value::Null => Place::Null,
        Value::Int(number) => Place::Int(*number),
        Value::Text(text) => Place::Text(text.clone()),
        Value::Bytes(bytes) => Place::Bytes(bytes.clone()),
        other => {
            let mut bytes = Vec::new();
            binary::encode_values(std::slice::from_ref(other), &mut bytes);
            Place::Other(bytes)
        }
    }
}
