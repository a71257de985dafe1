//! The messages of `pgoutput`, version 1, as they lie in the stream: nothing is copied.

use std::str;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'b> {
    /// A transaction begins; all of it has been committed.
    Begin {
        /// Where its commit starts.
        commit_lsn: u64,
        /// When it was committed, by the server's clock, in microseconds.
        committed_us: i64,
        /// The low 32 bits of its number.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Behind its commit.
        end_lsn: u64,
    },
    /// It was written under a replication origin of this name.
    Origin(&'b str),
    /// What the numbers of a relation mean from here on.
    Relation(Relation<'b>),
    Insert {
        relation: u32,
        new: Tuple<'b>,
    },
    Update {
        relation: u32,
        /// The old key, when it changed, or the whole old row.
        old: Option<Tuple<'b>>,
        new: Tuple<'b>,
    },
    Delete {
        relation: u32,
        old: Tuple<'b>,
    },
    Truncate(Vec<u32>),
    /// A text that somebody wrote into the log.
    Logical {
        prefix: &'b str,
        content: &'b [u8],
    },
    /// A type of somebody's own: its name only.
    Type,
}

/// A relation and its published columns, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relation<'b> {
    pub(super) id: u32,
    pub(super) schema: &'b str,
    pub(super) name: &'b str,
    /// Name and type of each.
    pub(super) columns: Vec<(&'b str, u32)>,
}

/// The columns of a row, in the order of its relation.
pub(super) type Tuple<'b> = Vec<Cell<'b>>;

/// One column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'b> {
    Null,
    /// It lies outside of the row and was not written: its value is not in the log.
    Unchanged,
    /// In the spelling of its type.
    Text(&'b str),
    /// In the form of its type, where that was asked for.
    Binary(&'b [u8]),
}

/// The relation of a message that is a change of a row.
pub(super) fn changed(bytes: &[u8]) -> Option<u32> {
    let mut cursor = Cursor(bytes);
    let is_change = matches!(cursor.byte()?, b'I' | b'U' | b'D');
    is_change.then(|| cursor.int()).flatten()
}

/// Reads one message; `None` when it is none that this version knows.
pub(super) fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    let mut cursor = Cursor(bytes);
    let message = match cursor.byte()? {
        b'B' => {
            let commit_lsn = cursor.long()?;
            let committed_us = cursor.long()?.cast_signed();
            Message::Begin {
                commit_lsn,
                committed_us,
                xid: cursor.int()?,
            }
        }
        b'C' => {
            cursor.byte()?;
            cursor.long()?;
            let end_lsn = cursor.long()?;
            cursor.long()?;
            Message::Commit { end_lsn }
        }
        b'O' => {
            cursor.long()?;
            Message::Origin(cursor.text()?)
        }
        b'R' => Message::Relation(cursor.relation()?),
        b'Y' => return Some(Message::Type),
        b'I' => {
            let relation = cursor.int()?;
            cursor.expect(b'N')?;
            Message::Insert {
                relation,
                new: cursor.tuple()?,
            }
        }
        b'U' => {
            let relation = cursor.int()?;
            let mut kind = cursor.byte()?;
            let mut old = None;
            if kind == b'K' || kind == b'O' {
                old = Some(cursor.tuple()?);
                kind = cursor.byte()?;
            }
            let new = (kind == b'N').then(|| cursor.tuple()).flatten()?;
            Message::Update { relation, old, new }
        }
        b'D' => {
            let relation = cursor.int()?;
            let kind = cursor.byte()?;
            let old = matches!(kind, b'K' | b'O').then(|| cursor.tuple());
            Message::Delete {
                relation,
                old: old.flatten()?,
            }
        }
        b'T' => {
            let count = cursor.int()?;
            cursor.byte()?;
            let relations = (0..count).map(|_| cursor.int()).collect::<Option<_>>()?;
            Message::Truncate(relations)
        }
        b'M' => cursor.logical()?,
        _ => return None,
    };
    cursor.0.is_empty().then_some(message)
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.byte()? == wanted).then_some(())
    }

    fn short(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    fn int(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    fn long(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    fn text(&mut self) -> Option<&'b str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = str::from_utf8(self.take(end)?).ok()?;
        self.byte()?;
        Some(text)
    }

    fn logical(&mut self) -> Option<Message<'b>> {
        self.byte()?;
        self.long()?;
        let prefix = self.text()?;
        let length = self.int()? as usize;
        let content = self.take(length)?;
        Some(Message::Logical { prefix, content })
    }

    fn relation(&mut self) -> Option<Relation<'b>> {
        let id = self.int()?;
        let (schema, name) = (self.text()?, self.text()?);
        self.byte()?;
        let count = self.short()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            self.byte()?;
            let name = self.text()?;
            let ty = self.int()?;
            self.int()?;
            columns.push((name, ty));
        }
        Some(Relation {
            id,
            schema,
            name,
            columns,
        })
    }

    fn tuple(&mut self) -> Option<Tuple<'b>> {
        let count = self.short()?;
        let mut cells = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            cells.push(match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length = self.int()? as usize;
                    Cell::Text(str::from_utf8(self.take(length)?).ok()?)
                }
                b'b' => {
                    let length = self.int()? as usize;
                    Cell::Binary(self.take(length)?)
                }
                _ => return None,
            });
        }
        Some(cells)
    }
}

#[cfg(test)]
mod tests;
