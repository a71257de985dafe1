//! The auditor of the demo: plain SQL and its own reading of both shapes. It shares no code with
//! the engine or the mapping.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use crate::demo::{NEW_FILE, OLD_FILE};

#[derive(Deserialize, PartialEq, Eq, Debug)]
struct Contact {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "phoneNumber")]
    phone_number: Option<String>,
}

/// How many rows were compared, and how many differ. The new end may hold more contacts than the
/// old one has columns for; the first two are what both can show.
pub(super) fn audit(folder: &Path) -> anyhow::Result<(u64, u64)> {
    let old = open(&folder.join(OLD_FILE))?;
    let new = open(&folder.join(NEW_FILE))?;
    let mut old_rows = old.prepare(
        "select id, owner, contact1_name, contact1_num, contact2_name, contact2_num
         from phonebook order by id",
    )?;
    let mut new_rows = new.prepare("select id, person, contacts from contacts order by id")?;
    let mut old_rows = old_rows.query([])?;
    let mut new_rows = new_rows.query([])?;
    let (mut rows, mut differ) = (0, 0);
    loop {
        match (old_rows.next()?, new_rows.next()?) {
            (None, None) => return Ok((rows, differ)),
            (Some(ours), Some(theirs)) => {
                rows += 1;
                differ += u64::from(!same(ours, theirs)?);
            }
            _ => differ += 1,
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("the auditor cannot open {}", path.display()))
}

fn same(old: &rusqlite::Row<'_>, new: &rusqlite::Row<'_>) -> anyhow::Result<bool> {
    if old.get::<_, i64>(0)? != new.get::<_, i64>(0)? {
        return Ok(false);
    }
    let person: String = new.get(1)?;
    let contacts: Vec<Contact> = serde_json::from_str(&new.get::<_, String>(2)?)?;
    let mut expected = Vec::new();
    for slot in [2, 4] {
        let name: Option<String> = old.get(slot)?;
        let phone_number: Option<String> = old.get(slot + 1)?;
        if name.is_some() || phone_number.is_some() {
            expected.push(Contact { name, phone_number });
        }
    }
    let shown = &contacts[..contacts.len().min(2)];
    Ok(old.get::<_, String>(1)? == person && shown == expected)
}
