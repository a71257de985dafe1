//! Whole ranges by COPY: several times as fast as upserts, for rows that are not there yet.
//!
//! A range of history meets rows in the table only where the feed was there before. Those are
//! looked up first and left to upserts; everything else is copied. Should a row be refused after
//! all, for whatever reason, nothing was written, and upserts find out which.
//!
//! Rows go over in the server's own form where that of every column is known, which spares it a
//! third of its work, and as texts where it is not.

use std::collections::HashSet;

use contraflow_core::error::Result;
use contraflow_core::record::{Change, Image, Record};
use contraflow_core::value::Value;
use std::io::Write as _;

use super::super::form::Form;
use super::{
    Layout, Ready, TableWriter, Upserted, encode, failure, quote, ready, refused, rows as sql_rows,
};

/// Bytes that are handed to the connection at a time.
const BUFFER: usize = 64 << 10;
/// What a COPY in the server's own form begins with: a signature, no flags, no extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of -1 columns.
const END: &[u8] = b"\xff\xff";

/// How rows go over.
enum Spelling {
    Texts,
    /// In the server's own form, by column.
    Forms(Vec<Form>),
}

/// How a COPY ended that the server did not refuse.
enum Copied<'r> {
    All(Left<'r>),
    /// A row cannot be spelled, or not in this way: nothing was written.
    Unspelled,
}

impl TableWriter<'_, '_> {
    /// Writes the records of a range by a COPY, unless one was refused lately. False when nothing
    /// was written.
    ///
    /// # Errors
    /// When the connection or the transaction is lost.
    pub(in crate::postgres) fn load(&mut self, records: &[Record]) -> Result<bool> {
        if !self.worth.copy.is_over() {
            return Ok(false);
        }
        let done = self.load_now(records)?;
        self.worth.copy.learn(done);
        Ok(done)
    }

    /// Writes rows of which most are not in the table. False when nothing was written.
    fn load_now(&mut self, records: &[Record]) -> Result<bool> {
        let mut rows = Vec::with_capacity(records.len());
        for (i, record) in self.mine(records) {
            let Change::Put(image) = &record.change else {
                return Ok(false);
            };
            let absent = |value: &Value| matches!(value, Value::Absent);
            if image.row.0.iter().any(absent) {
                return Ok(false);
            }
            rows.push((i, image));
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(false);
        };
        let ends = [first, last].map(|(i, image)| ready(self.layout, *i, image));
        let [Ok(first), Ok(last)] = ends else {
            return Ok(false);
        };
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let there = self.there(&first, &last, count)?;
        if rows.len() < 2 * there.len() {
            return Ok(false);
        }
        if let Spelling::Forms(forms) = self.spelling() {
            let spelling = Spelling::Forms(forms);
            match self.try_copy(&rows, &there, &spelling)? {
                Some(done) => return Ok(done),
                None => self.worth.texts = true,
            }
        }
        let done = self.try_copy(&rows, &there, &Spelling::Texts)?;
        Ok(done == Some(true))
    }

    /// In the server's own form, if that of every column is known.
    fn spelling(&self) -> Spelling {
        let forms = self.layout.columns.iter().map(Form::of);
        match forms.collect() {
            Some(forms) if !self.worth.texts => Spelling::Forms(forms),
            _ => Spelling::Texts,
        }
    }

    /// Copies rows, or writes nothing: false when the table refuses one, `None` when one cannot be
    /// spelled.
    fn try_copy(
        &mut self,
        rows: &[(usize, &Image)],
        there: &HashSet<Vec<String>>,
        spelling: &Spelling,
    ) -> Result<Option<bool>> {
        self.tx.batch_execute("savepoint load").map_err(failure)?;
        let given = vec![true; self.layout.columns.len()];
        let done = match self.copy(rows, there, spelling) {
            Ok(Copied::All(left)) => self
                .lay_beside(&left.beside.iter().collect::<Vec<_>>())
                .and_then(|()| match left.known.as_slice() {
                    [] => Ok(Upserted::All),
                    known => self.upsert(&given, &known.iter().collect::<Vec<_>>()),
                })
                .map(|done| Some(matches!(done, Upserted::All))),
            Ok(Copied::Unspelled) => Ok(None),
            Err(error) => Err(error),
        };
        let done = match done {
            // The commit releases the savepoint.
            Ok(Some(true)) => return Ok(Some(true)),
            Ok(not_done) => not_done,
            Err(error) if refused(&error).is_some() => Some(false),
            Err(error) => return Err(failure(error)),
        };
        let sql = "rollback to load; release load";
        self.tx.batch_execute(sql).map_err(failure)?;
        Ok(done)
    }

    /// The keys that the table has already between the first and the last of a range. Where the
    /// table orders them otherwise some are not found; the COPY will say so.
    fn there(
        &mut self,
        first: &Ready<'_>,
        last: &Ready<'_>,
        count: i64,
    ) -> Result<HashSet<Vec<String>>> {
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
            "select {} from {} t where ({keys}) >= ({}) and ({keys}) <= ({}) limit ${}",
            shown.join(", "),
            layout.name.quoted(),
            given(1),
            given(1 + width),
            1 + 2 * width,
        );
        let bounds = [key_of(layout, first), key_of(layout, last)].concat();
        let mut params = sql_rows::scalars(&bounds);
        params.push(&count);
        let statement = self.prepared.statement(self.tx, &sql).map_err(failure)?;
        let found = self.tx.query(&statement, &params).map_err(failure)?;
        let key = |row: &postgres::Row| (0..width).map(|n| row.get(n)).collect();
        Ok(found.iter().map(key).collect())
    }

    /// Copies rows whose keys are not there, row by row, so that the server takes one while the
    /// next is spelled, and says what is left to do for them.
    fn copy<'r>(
        &mut self,
        rows: &[(usize, &'r Image)],
        there: &HashSet<Vec<String>>,
        spelling: &Spelling,
    ) -> std::result::Result<Copied<'r>, postgres::Error> {
        let layout = self.layout;
        let columns: Vec<String> = layout.columns.iter().map(|c| quote(&c.name)).collect();
        let sql = format!(
            "copy {} ({}) from stdin{}",
            layout.name.quoted(),
            columns.join(", "),
            spelling.format(),
        );
        let mut left = Left::default();
        let statement = self.prepared.statement(self.tx, &sql)?;
        let mut out = self.tx.copy_in(&statement)?;
        let mut buffer = Vec::with_capacity(BUFFER + (BUFFER >> 2));
        buffer.extend_from_slice(spelling.begin());
        for &(i, image) in rows {
            let beside = *self.beside || !image.complement.0.is_empty();
            if beside || !there.is_empty() {
                // Without its end the COPY is none.
                let Ok(row) = ready(layout, i, image) else {
                    return Ok(Copied::Unspelled);
                };
                if there.contains(&key_of(layout, &row)) {
                    left.known.push(row);
                    continue;
                }
                left.beside.extend(beside.then_some(row));
            }
            if spelling.put(layout, image, &mut buffer).is_none() {
                return Ok(Copied::Unspelled);
            }
            if buffer.len() >= BUFFER {
                // A failure to write is told again, with its reason, by the end of the COPY.
                if out.write_all(&buffer).is_err() {
                    break;
                }
                buffer.clear();
            }
        }
        buffer.extend_from_slice(spelling.end());
        drop(out.write_all(&buffer));
        out.finish().map(|_| Copied::All(left))
    }
}

impl Spelling {
    fn format(&self) -> &'static str {
        match self {
            Spelling::Texts => "",
            Spelling::Forms(_) => " with (format binary)",
        }
    }

    fn begin(&self) -> &'static [u8] {
        match self {
            Spelling::Texts => b"",
            Spelling::Forms(_) => BEGIN,
        }
    }

    fn end(&self) -> &'static [u8] {
        match self {
            Spelling::Texts => b"",
            Spelling::Forms(_) => END,
        }
    }

    /// Appends a row; `None` when it cannot be spelled in this way.
    fn put(&self, layout: &Layout, image: &Image, out: &mut Vec<u8>) -> Option<()> {
        let values = image.row.0.iter().zip(&layout.types);
        match self {
            Spelling::Texts => {
                for (place, (value, ty)) in values.enumerate() {
                    if place > 0 {
                        out.push(b'\t');
                    }
                    spell(encode(value, ty).ok()?.as_deref(), out);
                }
                out.push(b'\n');
            }
            Spelling::Forms(forms) => {
                let count = i16::try_from(forms.len()).ok()?;
                out.extend_from_slice(&count.to_be_bytes());
                for ((value, ty), form) in values.zip(forms) {
                    form.put(value, ty, out)?;
                }
            }
        }
        Some(())
    }
}

/// Rows of a COPY for which more is to be done.
#[derive(Default)]
struct Left<'r> {
    /// Their keys are there: they were not copied.
    known: Vec<Ready<'r>>,
    /// Something may lie beside them.
    beside: Vec<Ready<'r>>,
}

fn key_of(layout: &Layout, row: &Ready<'_>) -> Vec<String> {
    let text = |&place: &usize| row.texts[place].as_deref().unwrap_or_default().to_owned();
    layout.key.iter().map(text).collect()
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
