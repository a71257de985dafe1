//! A phonebook as records: numbered contacts in the old shape, a list of them in the new one.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::avro;

/// Contacts that the old shape has room for.
const OLD_CONTACTS: usize = 2;
/// Contacts of a record of the new producer at most: one more than the old shape can show.
const NEW_CONTACTS: u64 = 3;

/// The shape of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Old,
    New,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// With the number of the topic's schema, once it is registered.
    Avro(u32),
}

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) contacts: Vec<Contact>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contact {
    pub(super) name: String,
    #[serde(rename = "phoneNumber")]
    pub(super) number: String,
}

#[derive(Serialize, Deserialize)]
struct OldJson {
    id: u64,
    owner: String,
    contact1_name: Option<String>,
    contact1_num: Option<String>,
    contact2_name: Option<String>,
    contact2_num: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct NewJson {
    id: u64,
    person: String,
    contacts: Vec<Contact>,
    count: u64,
}

impl Person {
    /// The record of that number as a producer of that shape writes it.
    pub(super) fn written(n: u64, by: Shape) -> Person {
        let count = match by {
            Shape::Old => 1 + n % OLD_CONTACTS as u64,
            Shape::New => 1 + n % NEW_CONTACTS,
        };
        let contact = |slot: u64| Contact {
            name: format!("contact {slot} of {n}"),
            number: format!("+44-20-{slot}{n:07}"),
        };
        Person {
            id: n,
            owner: format!("owner {n}"),
            contacts: (1..=count).map(contact).collect(),
        }
    }

    /// As much of it as a topic of that shape shows.
    pub(super) fn shown(mut self, shape: Shape) -> Person {
        if shape == Shape::Old {
            self.contacts.truncate(OLD_CONTACTS);
        }
        self
    }

    pub(super) fn slot(&self, slot: usize) -> (Option<&str>, Option<&str>) {
        let contact = self.contacts.get(slot);
        contact
            .map(|contact| (contact.name.as_str(), contact.number.as_str()))
            .unzip()
    }
}

impl Form {
    /// A payload in a shape.
    pub(super) fn write(self, shape: Shape, person: &Person) -> anyhow::Result<Vec<u8>> {
        if let Form::Avro(id) = self {
            return Ok(avro::write(id, shape, person));
        }
        let text = |text: Option<&str>| text.map(str::to_owned);
        Ok(match shape {
            Shape::Old => {
                let ((name1, num1), (name2, num2)) = (person.slot(0), person.slot(1));
                serde_json::to_vec(&OldJson {
                    id: person.id,
                    owner: person.owner.clone(),
                    contact1_name: text(name1),
                    contact1_num: text(num1),
                    contact2_name: text(name2),
                    contact2_num: text(num2),
                })?
            }
            Shape::New => serde_json::to_vec(&NewJson {
                id: person.id,
                person: person.owner.clone(),
                contacts: person.contacts.clone(),
                count: person.contacts.len() as u64,
            })?,
        })
    }

    /// What a payload of a shape says.
    pub(super) fn read(self, shape: Shape, payload: &[u8]) -> anyhow::Result<Person> {
        if self != Form::Json {
            return avro::read(shape, payload).context("a payload is not Avro of its schema");
        }
        match shape {
            Shape::Old => {
                let read: OldJson = serde_json::from_slice(payload)?;
                let slots = [
                    (read.contact1_name, read.contact1_num),
                    (read.contact2_name, read.contact2_num),
                ];
                Ok(Person {
                    id: read.id,
                    owner: read.owner,
                    contacts: filled(slots),
                })
            }
            Shape::New => {
                let read: NewJson = serde_json::from_slice(payload)?;
                if read.count != read.contacts.len() as u64 {
                    bail!("a record counts its contacts wrongly");
                }
                Ok(Person {
                    id: read.id,
                    owner: read.person,
                    contacts: read.contacts,
                })
            }
        }
    }
}

/// The contacts of the slots that have one.
pub(super) fn filled(slots: [(Option<String>, Option<String>); OLD_CONTACTS]) -> Vec<Contact> {
    let contact = |(name, number): (Option<String>, Option<String>)| {
        Some(Contact {
            name: name?,
            number: number?,
        })
    };
    slots.into_iter().filter_map(contact).collect()
}
