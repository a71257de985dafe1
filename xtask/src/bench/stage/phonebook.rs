//! The old table of seven columns, what it becomes, and the same as one statement.

use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;

use super::open;

/// What becomes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Reshape {
    /// One column gets another name; everything else passes through.
    Rename,
    /// Numbered contacts become a JSON list with its count, one column gets another name.
    Group,
}

impl Reshape {
    /// The change file.
    pub(super) fn change(self) -> String {
        let mapping = match self {
            Reshape::Rename => "",
            Reshape::Group => {
                r#"
      - group:
          fields: "contact{i}_{f}"
          numbers: 1..2
          into: contacts
          items: { name: name, num: phoneNumber }
          count: count"#
            }
        };
        format!(
            "version: 1
change: phonebook
old: {{ sqlite: app.db }}
new: {{ sqlite: app-v2.db }}
limits: {{ copy_share_percent: 100 }}
pairs:
  - old: phonebook
    new: contacts
    key: [id]
    mapping:{mapping}
      - rename: {{ from: owner, to: person }}
"
        )
    }

    /// The peer: the same rows by one statement, from the main file into the attached `new`.
    pub(super) fn statement(self) -> &'static str {
        match self {
            Reshape::Rename => {
                "insert into new.contacts (id, person, contact1_name, contact1_num,
                   contact2_name, contact2_num, city)
                 select id, owner, contact1_name, contact1_num, contact2_name, contact2_num, city
                 from main.phonebook order by id"
            }
            Reshape::Group => {
                "insert into new.contacts (id, person, contacts, count, city)
                 select id, owner,
                   case
                     when contact1_name is null then '[]'
                     when contact2_name is null then json_array(
                       json_object('name', contact1_name, 'phoneNumber', contact1_num))
                     else json_array(
                       json_object('name', contact1_name, 'phoneNumber', contact1_num),
                       json_object('name', contact2_name, 'phoneNumber', contact2_num))
                   end,
                   (contact1_name is not null) + (contact2_name is not null), city
                 from main.phonebook order by id"
            }
        }
    }
}

/// What the old table holds.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Old {
    /// Rows of about a hundred bytes. Most have two contacts, some one, a few none.
    pub(in crate::bench) rows: u64,
    /// Rows spread among them, each with a text of [`HUGE_BYTES`].
    pub(in crate::bench) huge: u64,
}

/// The text of a huge row.
const HUGE_BYTES: u64 = 2 << 20;

impl Old {
    /// Makes the file and says how many rows it has.
    pub(super) fn make(&self, path: &Path) -> Result<u64> {
        let db = open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "off")?;
        db.execute_batch(
            "create table phonebook (id integer primary key, owner text not null,
               contact1_name text, contact1_num text, contact2_name text, contact2_num text,
               city text)",
        )?;
        db.execute(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < ?1)
             insert into phonebook select i, 'owner ' || i,
               iif(i % 10 > 0, 'contact 1 of ' || i, null),
               iif(i % 10 > 0, printf('+49 30 %07d 1', i), null),
               iif(i % 10 > 3, 'contact 2 of ' || i, null),
               iif(i % 10 > 3, printf('+49 30 %07d 2', i), null), 'city ' || (i % 1000)
             from n",
            [self.rows],
        )?;
        for i in 0..self.huge {
            db.execute(
                "update phonebook set owner = hex(randomblob(?1)) where id = ?2",
                [HUGE_BYTES / 2, 1 + i * (self.rows / self.huge)],
            )?;
        }
        db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(self.rows)
    }
}

/// Whether two tables hold the same values in the same order.
pub(super) fn same(
    one: &Connection,
    other: &Connection,
    of_one: &str,
    of_other: &str,
) -> Result<bool> {
    let mut one = one.prepare(&format!("select * from {of_one} order by id"))?;
    let mut other = other.prepare(&format!("select * from {of_other} order by id"))?;
    let columns = one.column_count();
    if columns != other.column_count() {
        return Ok(false);
    }
    let (mut one, mut other) = (one.query([])?, other.query([])?);
    loop {
        match (one.next()?, other.next()?) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) => {
                for i in 0..columns {
                    if one.get_ref(i)? != other.get_ref(i)? {
                        return Ok(false);
                    }
                }
            }
            _ => return Ok(false),
        }
    }
}
