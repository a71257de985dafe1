//! Whole ranges by COPY: several times as fast as upserts, for rows that are not there yet.
//!
//! A range of history meets rows in the table only where the feed was there before. Those are
//! looked up first and left to upserts; everything else is copied. Should a row be refused after
//! all, for whatever reason, nothing was written, and upserts find out which.

use std::collections::HashSet;

use contraflow_core::error::Result;
use contraflow_core::record::{Change, Record};
use contraflow_core::value::Value;
use std::io::Write as _;

use super::{Ready, TableWriter, Upserted, failure, quote, refused, rows};

/// Bytes that are handed to the connection at a time.
const BUFFER: usize = 64 << 10;
/// Ranges without a COPY after one was refused, doubled each time.
const PAUSE_FIRST: u32 = 4;
const PAUSE_MAX: u32 = 256;

/// Whether a COPY is worth a try: not right after one was refused.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Worth {
    left_out: u32,
    pause: u32,
}

impl TableWriter<'_, '_> {
    /// Writes the records of a range by a COPY, unless one was refused lately. False when nothing
    /// was written.
    ///
    /// # Errors
    /// When the connection or the transaction is lost.
    pub(in crate::postgres) fn load(&mut self, records: &[Record]) -> Result<bool> {
        if self.worth.left_out > 0 {
            self.worth.left_out -= 1;
            return Ok(false);
        }
        let done = self.load_now(records)?;
        *self.worth = match done {
            true => Worth::default(),
            false => {
                let pause = (self.worth.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
                Worth {
                    left_out: pause,
                    pause,
                }
            }
        };
        Ok(done)
    }

    /// Writes rows of which most are not in the table. False when nothing was written.
    fn load_now(&mut self, records: &[Record]) -> Result<bool> {
        let mut ready = Vec::with_capacity(records.len());
        for (i, record) in self.mine(records) {
            let Change::Put(image) = &record.change else {
                return Ok(false);
            };
            let whole = !image
                .row
                .0
                .iter()
                .any(|value| matches!(value, Value::Absent));
            match self.ready(i, image) {
                Ok(row) if whole => ready.push(row),
                _ => return Ok(false),
            }
        }
        if ready.is_empty() {
            return Ok(false);
        }
        let there = self.there(&ready)?;
        let is_there = |row: &&Ready<'_>| !there.is_empty() && there.contains(&self.key_of(row));
        let (known, fresh): (Vec<&Ready<'_>>, Vec<&Ready<'_>>) = ready.iter().partition(is_there);
        if fresh.len() < known.len() {
            return Ok(false);
        }
        self.tx.batch_execute("savepoint load").map_err(failure)?;
        let given = vec![true; self.layout.columns.len()];
        let done = self
            .copy(&fresh)
            .and_then(|()| self.lay_beside(&fresh))
            .and_then(|()| match known.as_slice() {
                [] => Ok(Upserted::All),
                known => self.upsert(&given, known),
            });
        match done {
            Ok(Upserted::All) => {
                self.tx.batch_execute("release load").map_err(failure)?;
                return Ok(true);
            }
            Ok(Upserted::Met) => {}
            Err(error) if refused(&error).is_some() => {}
            Err(error) => return Err(failure(error)),
        }
        let sql = "rollback to load; release load";
        self.tx.batch_execute(sql).map_err(failure)?;
        Ok(false)
    }

    /// The keys that the table has already between the first and the last of a range. Where the
    /// table orders them otherwise some are not found; the COPY will say so.
    fn there(&mut self, ready: &[Ready<'_>]) -> Result<HashSet<Vec<String>>> {
        let (Some(first), Some(last)) = (ready.first(), ready.last()) else {
            return Ok(HashSet::new());
        };
        let layout = self.layout;
        let width = layout.key.len();
        let given = |from: usize| {
            let one =
                |(n, &place): (usize, &usize)| layout.read(place, &format!("${}::text", from + n));
            let all: Vec<String> = layout.key.iter().enumerate().map(one).collect();
            all.join(", ")
        };
        let shown: Vec<String> = layout.key.iter().map(|&i| layout.shown(i, "t.")).collect();
        let keys = layout.key_list("t.");
        let sql = format!(
            "select {} from {} t where ({keys}) >= ({}) and ({keys}) <= ({}) limit {}",
            shown.join(", "),
            layout.name.quoted(),
            given(1),
            given(1 + width),
            ready.len(),
        );
        let bounds = [self.key_of(first), self.key_of(last)].concat();
        let found = self.tx.query(&sql, &rows::scalars(&bounds));
        let found = found.map_err(failure)?;
        let key = |row: &postgres::Row| (0..width).map(|n| row.get(n)).collect();
        Ok(found.iter().map(key).collect())
    }

    fn key_of(&self, row: &Ready<'_>) -> Vec<String> {
        let text = |&place: &usize| row.texts[place].as_deref().unwrap_or_default().to_owned();
        self.layout.key.iter().map(text).collect()
    }

    fn copy(&mut self, rows: &[&Ready<'_>]) -> std::result::Result<(), postgres::Error> {
        let layout = self.layout;
        let columns: Vec<String> = layout.columns.iter().map(|c| quote(&c.name)).collect();
        let sql = format!(
            "copy {} ({}) from stdin",
            layout.name.quoted(),
            columns.join(", ")
        );
        let mut out = self.tx.copy_in(&sql)?;
        let mut buffer = Vec::with_capacity(BUFFER + (BUFFER >> 2));
        for row in rows {
            for (place, text) in row.texts.iter().enumerate() {
                if place > 0 {
                    buffer.push(b'\t');
                }
                spell(text.as_deref(), &mut buffer);
            }
            buffer.push(b'\n');
            if buffer.len() >= BUFFER {
                // A failure to write is told again, with its reason, by the end of the COPY.
                if out.write_all(&buffer).is_err() {
                    break;
                }
                buffer.clear();
            }
        }
        drop(out.write_all(&buffer));
        out.finish().map(|_| ())
    }
}

/// A value in the text format of COPY.
fn spell(text: Option<&str>, out: &mut Vec<u8>) {
    let Some(text) = text else {
        out.extend_from_slice(b"\\N");
        return;
    };
    let bytes = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    // Without a way out of the loop, many bytes are looked at in one step.
    if !bytes.iter().fold(false, |any, byte| any | special(byte)) {
        return out.extend_from_slice(bytes);
    }
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.push(byte),
        }
    }
}
