//! As much Avro as the two schemas of the demo need: longs, texts, nullable texts, and a list.

use super::people::{Contact, Person, Shape, filled};

/// The zero and the number of the schema, before the bytes.
const FRAME_BYTES: usize = 5;

/// A payload in the wire format of Confluent's registry.
pub(super) fn write(id: u32, shape: Shape, person: &Person) -> Vec<u8> {
    let mut out = vec![0];
    out.extend(id.to_be_bytes());
    long(&mut out, person.id);
    text(&mut out, &person.owner);
    match shape {
        Shape::Old => {
            for slot in 0..2 {
                let (name, number) = person.slot(slot);
                maybe(&mut out, name);
                maybe(&mut out, number);
            }
        }
        Shape::New => {
            let count = person.contacts.len() as u64;
            if count > 0 {
                long(&mut out, count);
            }
            for Contact { name, number } in &person.contacts {
                maybe(&mut out, Some(name));
                maybe(&mut out, Some(number));
            }
            long(&mut out, 0);
            long(&mut out, count);
        }
    }
    out
}

/// What a payload says; `None` when it is not of that shape.
pub(super) fn read(shape: Shape, payload: &[u8]) -> Option<Person> {
    let rest = &mut payload.get(FRAME_BYTES..)?;
    let (id, owner) = (take_long(rest)?, take_text(rest)?);
    let contacts = match shape {
        Shape::Old => {
            let mut slot = || Some((take_maybe(rest)?, take_maybe(rest)?));
            filled([slot()?, slot()?])
        }
        Shape::New => {
            let mut contacts = Vec::new();
            loop {
                let items = take_long(rest)?;
                if items == 0 {
                    break;
                }
                for _ in 0..items {
                    let (name, number) = (take_maybe(rest)??, take_maybe(rest)??);
                    contacts.push(Contact { name, number });
                }
            }
            (take_long(rest)? == contacts.len() as u64).then_some(contacts)?
        }
    };
    rest.is_empty().then_some(Person {
        id,
        owner,
        contacts,
    })
}

/// A number that is not negative, as all are here.
fn long(out: &mut Vec<u8>, n: u64) {
    let mut rest = n << 1;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, text.len() as u64);
    out.extend(text.bytes());
}

/// The branch of null comes first.
fn maybe(out: &mut Vec<u8>, value: Option<&str>) {
    long(out, u64::from(value.is_some()));
    if let Some(value) = value {
        text(out, value);
    }
}

fn take_long(rest: &mut &[u8]) -> Option<u64> {
    let (mut n, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        n |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return (n & 1 == 0).then_some(n >> 1);
        }
        shift += 7;
    }
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take_long(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(bytes.to_vec()).ok()
}

fn take_maybe(rest: &mut &[u8]) -> Option<Option<String>> {
    match take_long(rest)? {
        0 => Some(None),
        _ => take_text(rest).map(Some),
    }
}
