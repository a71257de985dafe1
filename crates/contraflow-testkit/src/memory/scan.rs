//! Reads: what is visible, after a barrier for what was received.

use contraflow_core::code::Code;
use contraflow_core::digest::{Digest, row_digest};
use contraflow_core::end::{Chunk, Lookup, Most, Scan, Span, Summary};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::value::Value;

use super::order::Order;
use super::state::{State, Table};
use super::{Face, position, sequence};

/// About what a value takes, in bytes.
const VALUE_BYTES: u64 = 16;

pub(super) struct Reader(pub(super) Face);

impl Reader {
    fn table<'s>(&self, state: &'s State, pair: PairId) -> Result<&'s Table> {
        let name = &self.0.role.table(pair).name;
        state.tables.get(name).ok_or_else(|| {
            let message = format!("there is no table `{name}`");
            Error::new(Kind::Precondition, Code::TABLE_MISSING, message).at(self.0.role.side)
        })
    }
}

impl Scan for Reader {
    fn read(&mut self, span: &Span, most: Most, received: &Position) -> Result<Chunk> {
        let mut state = self.0.memory.lock();
        state.reveal_through(sequence(received));
        let (since, until) = state.visible_span();
        let table = self.table(&state, span.pair)?;
        let bound = |key: &Option<Key>| key.as_ref().map(|key| Order::of(&key.0));
        let (after, through) = (bound(&span.after), bound(&span.through));
        let (mut rows, mut bytes, mut cut) = (Vec::new(), 0, None);
        for (order, image) in &table.visible {
            if after.as_ref().is_some_and(|after| order <= after)
                || through.as_ref().is_some_and(|through| order > through)
            {
                continue;
            }
            let size = image.row.0.len() as u64 * VALUE_BYTES;
            let full = rows.len() as u64 >= most.rows || bytes + size > most.bytes;
            if full && !rows.is_empty() {
                cut = rows.last().map(|(key, _): &(Key, _)| key.clone());
                break;
            }
            bytes += size;
            rows.push((Key(table.shape.key_of(&image.row.0)), image.clone()));
        }
        Ok(Chunk {
            unreadable: Vec::new(),
            cut,
            rows,
            since: position(since),
            until: position(until),
            bytes,
        })
    }

    fn digest(
        &mut self,
        span: &Span,
        fields: &[usize],
        rows: u64,
        received: &Position,
    ) -> Result<Option<Summary>> {
        let most = Most {
            rows,
            bytes: u64::MAX,
        };
        let chunk = self.read(span, most, received)?;
        let mut digest = Digest::default();
        for (_, Image { row, .. }) in &chunk.rows {
            let values: Vec<Value> = fields.iter().map(|&i| row.0[i].clone()).collect();
            digest.add(row_digest(&values));
        }
        let (cut, until) = (chunk.cut, chunk.until);
        Ok(Some(Summary { cut, digest, until }))
    }
}

impl Lookup for Reader {
    fn get(&mut self, pair: PairId, keys: &[Key], received: &Position) -> Result<Chunk> {
        let mut state = self.0.memory.lock();
        state.reveal_through(sequence(received));
        let (since, until) = state.visible_span();
        let table = self.table(&state, pair)?;
        let row = |key: &Key| {
            let image = table.visible.get(&Order::of(&key.0))?;
            Some((key.clone(), image.clone()))
        };
        let rows: Vec<_> = keys.iter().filter_map(row).collect();
        Ok(Chunk {
            unreadable: Vec::new(),
            cut: None,
            bytes: rows.len() as u64 * VALUE_BYTES,
            rows,
            since: position(since),
            until: position(until),
        })
    }
}
