//! Rows and events on their way: mapped, or a letter of why not.

use std::collections::HashSet;

use contraflow_core::end::{Chunk, Letter, Range};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::mapping::{MapError, Mapped};
use contraflow_core::position::Position;
use contraflow_core::record::{Change, Complement, Event, Image, Key, Op, PairId, Record, Row};
use contraflow_core::side::Direction;

use crate::context::Context;

/// Why rows were read.
#[derive(Clone, Debug)]
pub enum Carried {
    /// As a range of the backfill.
    Range(Range),
    /// As single keys: those without a row are deleted at the target.
    Keys(PairId, Vec<Key>),
}

/// Rows that were read and mapped. Mapping is pure, so whoever reads may do it.
pub struct Prepared {
    pub(super) what: Carried,
    pub(super) records: Vec<Record>,
    pub(super) letters: Vec<Letter>,
    pub(super) since: Position,
    pub(super) until: Position,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Prepared {
    /// Maps rows that were read under an open window of the flow in this direction.
    ///
    /// # Errors
    /// When something else than a row is at fault.
    pub fn map(
        context: &Context,
        direction: Direction,
        chunk: Chunk,
        what: Carried,
    ) -> Result<Prepared> {
        let pair = match &what {
            Carried::Range(range) => range.pair,
            Carried::Keys(pair, _) => *pair,
        };
        let rows = chunk.rows.len() as u64;
        let mut missing: HashSet<Key> = match &what {
            Carried::Range(_) => HashSet::new(),
            Carried::Keys(_, keys) => keys.iter().cloned().collect(),
        };
        let mut mapper = Mapper::new(context, direction, chunk.rows.len());
        let history = &context.pair(pair).history;
        let copied = matches!(what, Carried::Range(_));
        for (key, image) in chunk.rows {
            if copied && history.may_lack(&image.row) {
                continue;
            }
            // Most are of a range, which misses none: a hash for each is not for nothing.
            if !copied {
                missing.remove(&key);
            }
            mapper.put(pair, key, image, false)?;
        }
        for letter in &chunk.unreadable {
            missing.remove(&letter.source_key);
        }
        for key in missing {
            mapper.delete(pair, key)?;
        }
        let Mapper {
            records,
            mut letters,
            ..
        } = mapper;
        letters.extend(chunk.unreadable);
        let (since, until, bytes) = (chunk.since, chunk.until, chunk.bytes);
        Ok(Prepared {
            what,
            records,
            letters,
            since,
            until,
            rows,
            bytes,
        })
    }
}

/// Maps images and keys one by one: what fails becomes a letter.
pub(crate) struct Mapper<'c> {
    context: &'c Context,
    direction: Direction,
    pub(crate) records: Vec<Record>,
    pub(crate) letters: Vec<Letter>,
    /// What one image maps to, kept to spare an allocation per row.
    mapped: Vec<Mapped>,
}

impl<'c> Mapper<'c> {
    pub(crate) fn new(context: &'c Context, direction: Direction, rows: usize) -> Mapper<'c> {
        let records = Vec::with_capacity(rows);
        Mapper {
            context,
            direction,
            records,
            letters: Vec::new(),
            mapped: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event) -> Result<()> {
        let Event {
            pair,
            key,
            op,
            image,
            ..
        } = event;
        match (op, image) {
            (Op::Put, Some(image)) => self.put(pair, key, image, false),
            (Op::Replace, Some(image)) => self.put(pair, key, image, true),
            (Op::Delete, _) | (Op::Put | Op::Replace, None) => self.delete(pair, key),
        }
    }

    fn put(&mut self, pair: PairId, source_key: Key, image: Image, replace: bool) -> Result<()> {
        let bound = self.context.pair(pair);
        if let Err(error) = bound.map(self.direction, image, &mut self.mapped) {
            self.mapped.clear();
            return self.fail(pair, source_key, error);
        }
        let change = |image| {
            if replace {
                Change::Replace(image)
            } else {
                Change::Put(image)
            }
        };
        let last = self.mapped.pop();
        for Mapped { key, image } in self.mapped.drain(..) {
            let source_key = source_key.clone();
            self.records.push(Record {
                pair,
                key,
                source_key,
                change: change(image),
            });
        }
        if let Some(Mapped { key, image }) = last {
            self.records.push(Record {
                pair,
                key,
                source_key,
                change: change(image),
            });
        }
        Ok(())
    }

    fn delete(&mut self, pair: PairId, source_key: Key) -> Result<()> {
        match self.context.pair(pair).key(self.direction, &source_key) {
            Ok(key) => {
                self.records.push(Record {
                    pair,
                    key,
                    source_key,
                    change: Change::Delete,
                });
            }
            Err(error) => return self.fail(pair, source_key, error),
        }
        Ok(())
    }

    /// A row that is at fault alone becomes a letter.
    fn fail(&mut self, pair: PairId, source_key: Key, error: Error) -> Result<()> {
        if error.kind != Kind::Data {
            return Err(error);
        }
        self.letters.push(Letter {
            pair,
            source_key,
            code: error.code,
            reason: error.message,
            retry_after: None,
        });
        Ok(())
    }
}

/// The record that a row should have become at the target, for comparing.
pub(crate) fn expected(
    context: &Context,
    direction: Direction,
    pair: PairId,
    image: Image,
    out: &mut Vec<(Key, Row)>,
) -> std::result::Result<(), MapError> {
    let mut mapped: Vec<Mapped> = Vec::with_capacity(1);
    context
        .pair(pair)
        .mapping
        .map(direction, image, &mut mapped)?;
    out.extend(mapped.into_iter().map(
        |Mapped {
             key,
             image: Image { row, complement },
         }| {
            let _: Complement = complement;
            (key, row)
        },
    ));
    Ok(())
}
