//! Bulk reading in key order, and rows by key.
//!
//! The journal's sequence and the rows come from one read transaction, so a chunk's `since` and
//! `until` are the same exact position.

use contraflow_core::end::{Chunk, Lookup, Most, Scan, Span};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{Complement, Image, Key, PairId};
use rusqlite::{Connection, Transaction};

use super::connection::failure;
use super::names::quote;
use super::{Context, connection, feed, rows};

pub(super) struct KeyScan {
    context: Context,
    db: Option<Connection>,
    schema_version: i64,
}

impl KeyScan {
    pub(super) fn new(context: Context) -> KeyScan {
        KeyScan {
            context,
            db: None,
            schema_version: -1,
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.db.is_none() {
            self.db = Some(connection::reader(&self.context.path)?);
        }
        Ok(())
    }

    /// Runs `work` in one read transaction and says the exact position it sees.
    fn snapshot<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Context) -> Result<T>,
    ) -> Result<(T, Position)> {
        self.open()?;
        let db = self.db.as_mut().expect("opened above");
        let tx = db.transaction().map_err(failure)?;
        feed::unchanged(&tx, &self.context, &mut self.schema_version)?;
        let at = feed::head(&tx, &self.context)?;
        let done = work(&tx, &self.context)?;
        Ok((done, feed::position(at)))
    }
}

impl Scan for KeyScan {
    fn read(&mut self, span: &Span, most: Most, _received: &Position) -> Result<Chunk> {
        let ((rows, bytes, cut), at) =
            self.snapshot(|tx, context| read(tx, context, span, most))?;
        Ok(Chunk {
            unreadable: Vec::new(),
            cut,
            rows,
            since: at.clone(),
            until: at,
            bytes,
        })
    }
}

type Rows = (Vec<(Key, Image)>, u64, Option<Key>);

fn read(tx: &Transaction<'_>, context: &Context, span: &Span, most: Most) -> Result<Rows> {
    let pair = span.pair;
    let table = context.role.table(pair);
    let keys = rows::key_list(table, "");
    let width = table.shape.key.len();
    let mut bounds = Vec::new();
    if span.after.is_some() {
        bounds.push(format!("({keys}) > ({})", rows::marks(1, width)));
    }
    if span.through.is_some() {
        bounds.push(format!("({keys}) <= ({})", rows::marks(1 + width, width)));
    }
    if bounds.is_empty() {
        bounds.push("1".to_owned());
    }
    let sql = format!(
        "select {} from {} where {} order by {keys}",
        rows::column_list(table, ""),
        quote(&table.name),
        bounds.join(" and "),
    );
    if span.after.is_none() && rows::has_null_keys(tx, table)? {
        return Err(feed::null_key(context, pair));
    }
    let beside = rows::has_complements(tx, &context.names, pair)?;
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    if let Some(key) = &span.after {
        rows::bind_key(&mut statement, 1, table, key)?;
    }
    if let Some(key) = &span.through {
        rows::bind_key(&mut statement, 1 + width, table, key)?;
    }
    let mut found = statement.raw_query();
    let (mut images, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().map_err(failure)? {
        let (row, size) = rows::read_row(row, table)?;
        let key = rows::key_of(table, &row);
        let complement = if beside {
            rows::complement(tx, &context.names, table, pair, &key)?
        } else {
            Complement::default()
        };
        bytes += size;
        let full = images.len() as u64 >= most.rows || bytes > most.bytes;
        if full && !images.is_empty() {
            let cut = images.last().map(|(key, _): &(Key, Image)| key.clone());
            return Ok((images, bytes, cut));
        }
        images.push((key, Image { row, complement }));
    }
    Ok((images, bytes, None))
}

impl Lookup for KeyScan {
    fn get(&mut self, pair: PairId, keys: &[Key], _received: &Position) -> Result<Chunk> {
        let ((rows, bytes), at) = self.snapshot(|tx, context| {
            let table = context.role.table(pair);
            let beside = rows::has_complements(tx, &context.names, pair)?;
            let (mut images, mut bytes) = (Vec::new(), 0);
            for key in keys {
                let found = rows::image(tx, &context.names, table, pair, key, beside)?;
                if let Some((image, size)) = found {
                    bytes += size;
                    images.push((key.clone(), image));
                }
            }
            Ok((images, bytes))
        })?;
        Ok(Chunk {
            unreadable: Vec::new(),
            cut: None,
            rows,
            since: at.clone(),
            until: at,
            bytes,
        })
    }
}
