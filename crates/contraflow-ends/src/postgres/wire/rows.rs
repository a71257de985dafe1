//! Rows of a query, page by page: each column in the spelling of its type's own output function,
//! the same bytes as in the log, or in the server's own form.

use std::str;

use contraflow_core::error::{Error, Result};

use super::{Wire, lost, malformed, refusal};
use crate::postgres::connection;
use crate::postgres::patience::{AT_WORK, IDLE_MAX};

/// As many rows as there are.
const ALL: i32 = 0;

/// What comes next of a query.
pub(in crate::postgres) enum Found<'b> {
    /// A row; [`fields`] takes it apart.
    Row(&'b [u8]),
    /// As many rows as were asked for.
    Page,
    /// There are no more rows.
    End,
}

impl Wire {
    /// Begins a query whose parameters are texts, and asks for its first page; `forms` says which
    /// columns are wanted in the server's own form.
    ///
    /// # Errors
    /// When the connection is lost. What the server says against it comes with the first row.
    pub(in crate::postgres) fn select(
        &mut self,
        sql: &str,
        params: &[String],
        forms: &[bool],
        rows: i32,
    ) -> Result<()> {
        self.settle()?;
        let mut packet = Vec::with_capacity(sql.len() + 64);
        statement(&mut packet, sql, params, forms, rows)?;
        message(&mut packet, b'H', |_| {})?;
        self.write(&packet)
    }

    /// Runs a transaction of statements, and says the one value that they show before it is
    /// committed. The next query waits for the commit.
    ///
    /// # Errors
    /// What the server says against them. What it says against the commit comes with the next.
    pub(in crate::postgres) fn transact(&mut self, statements: &[&str]) -> Result<String> {
        self.settle()?;
        let mut packet = Vec::new();
        statement(&mut packet, "begin", &[], &[], ALL)?;
        for sql in statements {
            statement(&mut packet, sql, &[], &[], ALL)?;
        }
        // So far is told at once.
        message(&mut packet, b'H', |_| {})?;
        statement(&mut packet, "commit", &[], &[], ALL)?;
        message(&mut packet, b'S', |_| {})?;
        self.write(&packet)?;
        self.commits = true;
        loop {
            if let Found::Row(row) = self.found()? {
                let value = fields(row)?.next().ok_or_else(malformed)??;
                return spelling(value.unwrap_or_default()).map(str::to_owned);
            }
        }
    }

    /// Waits for the commit that is on its way.
    fn settle(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.commits) {
            return Ok(());
        }
        self.ready()
    }

    /// Asks for the next page.
    pub(in crate::postgres) fn more(&mut self, rows: i32) -> Result<()> {
        let mut packet = Vec::new();
        page(&mut packet, rows)?;
        message(&mut packet, b'H', |_| {})?;
        self.write(&packet)
    }

    /// The next of what was asked for. Waits for it as long as the session is at work.
    ///
    /// # Errors
    /// What the server says against the query; the connection is of no use then.
    pub(in crate::postgres) fn found(&mut self) -> Result<Found<'_>> {
        let mut idle = 0;
        loop {
            let Some((tag, start, end)) = self.frame()? else {
                if self.fill(self.target.silence_max())? || self.is_at_work()? {
                    idle = 0;
                } else {
                    idle += 1;
                }
                if idle >= IDLE_MAX {
                    return Err(lost("the server owes rows and does not say anything"));
                }
                continue;
            };
            self.from = end;
            match tag {
                b'D' => return Ok(Found::Row(&self.buffer[start..end])),
                b's' => return Ok(Found::Page),
                b'C' => return Ok(Found::End),
                b'E' => return Err(refusal(&self.buffer[start..end])),
                _ => {}
            }
        }
    }

    /// Whether the session works on what it was asked, by another connection.
    fn is_at_work(&self) -> Result<bool> {
        let mut client = connection::connect(&self.target)?;
        let found = client.query_opt(AT_WORK, &[&self.process]);
        Ok(found.map_err(connection::failure)?.is_some())
    }

    /// Ends the query. What was asked for must have come.
    pub(in crate::postgres) fn finish(&mut self) -> Result<()> {
        self.send(b'S', &[])?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        loop {
            match self.answer()? {
                (b'Z', _) => return Ok(()),
                (b'E', body) => return Err(refusal(&body)),
                _ => {}
            }
        }
    }
}

fn message(packet: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    packet.push(tag);
    let start = packet.len();
    packet.extend_from_slice(&[0; 4]);
    fill(packet);
    let length = u32::try_from(packet.len() - start).map_err(|_| malformed())?;
    packet[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A statement and its portal without a name, parameters of whatever type they are, and its first
/// rows.
fn statement(
    packet: &mut Vec<u8>,
    sql: &str,
    params: &[String],
    forms: &[bool],
    rows: i32,
) -> Result<()> {
    message(packet, b'P', |body| {
        body.push(0);
        body.extend_from_slice(sql.as_bytes());
        body.extend_from_slice(&[0, 0, 0]);
    })?;
    message(packet, b'B', |body| {
        body.extend_from_slice(&[0, 0, 0, 0]);
        let count = u16::try_from(params.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&count.to_be_bytes());
        for text in params {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        // None said: every column as text.
        let count = u16::try_from(forms.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&count.to_be_bytes());
        for &form in forms {
            body.extend_from_slice(&u16::from(form).to_be_bytes());
        }
    })?;
    page(packet, rows)
}

fn page(packet: &mut Vec<u8>, rows: i32) -> Result<()> {
    message(packet, b'E', |body| {
        body.push(0);
        body.extend_from_slice(&rows.to_be_bytes());
    })
}

/// The columns of a row.
///
/// # Errors
/// When the row is none.
pub(in crate::postgres) fn fields(
    row: &[u8],
) -> Result<impl Iterator<Item = Result<Option<&[u8]>>>> {
    let (count, mut rest) = row.split_first_chunk().ok_or_else(malformed)?;
    let count = u16::from_be_bytes(*count);
    let mut field = move || {
        let (length, after) = rest.split_first_chunk()?;
        let (field, after) = match i32::from_be_bytes(*length) {
            -1 => (None, after),
            length => {
                let length = usize::try_from(length).ok()?;
                let (field, after) = after.split_at_checked(length)?;
                (Some(field), after)
            }
        };
        rest = after;
        Some(field)
    };
    let fields = (0..count).map(move |_| field().ok_or_else(malformed));
    Ok(fields.map(|field: std::result::Result<_, Error>| field))
}

/// A column that was asked for as text.
///
/// # Errors
/// When it is none.
pub(in crate::postgres) fn spelling(field: &[u8]) -> Result<&str> {
    str::from_utf8(field).map_err(|_| malformed())
}
