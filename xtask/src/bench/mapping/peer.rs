//! The phonebook by hand.

use contraflow_core::mapping::Mapped;
use contraflow_core::record::{Complement, Image, Key, Row};
use contraflow_core::value::{Record, Value};

/// Two numbered contacts to a list with its count.
pub(super) fn up(image: Image, out: &mut Vec<Mapped>) -> Option<()> {
    let [id, owner, name1, number1, name2, number2] = <[Value; 6]>::try_from(image.row.0).ok()?;
    let mut contacts = Vec::with_capacity(2);
    for (name, number) in [(name1, number1), (name2, number2)] {
        if (&name, &number) != (&Value::Null, &Value::Null) {
            contacts.push(Value::Record(Box::new(Record {
                fields: vec![name, number],
                extras: Vec::new(),
            })));
        }
    }
    let count = Value::Int(i64::try_from(contacts.len()).ok()?);
    let key = id.clone();
    push(
        key,
        vec![id, owner, Value::List(contacts), count, Value::Null],
        out,
    );
    Some(())
}

/// The first two of a list to numbered contacts.
pub(super) fn down(image: Image, out: &mut Vec<Mapped>) -> Option<()> {
    let [id, owner, contacts, _, _] = <[Value; 5]>::try_from(image.row.0).ok()?;
    let Value::List(contacts) = contacts else {
        return None;
    };
    let key = id.clone();
    let mut row = Vec::with_capacity(6);
    row.extend([id, owner]);
    for contact in contacts.into_iter().take(2) {
        let Value::Record(contact) = contact else {
            return None;
        };
        let [name, number] = <[Value; 2]>::try_from(contact.fields).ok()?;
        row.extend([name, number]);
    }
    row.resize(6, Value::Null);
    push(key, row, out);
    Some(())
}

fn push(key: Value, row: Vec<Value>, out: &mut Vec<Mapped>) {
    out.push(Mapped {
        key: Key(vec![key]),
        image: Image {
            row: Row(row),
            complement: Complement::default(),
        },
    });
}
