//! Spans of keys whose rows both ends call equal without handing them out.
//!
//! Where the mapping passes every field of the mirror's rows through, both ends of one engine can
//! digest their own rows. Spans that agree are equal as they were read, and only what was touched
//! since is looked at; the others are read. The spans of the mirror follow each other without a
//! gap, so that a row which only the mirror has lies in one of them.

use contraflow_core::change::history::Reach;
use contraflow_core::end::Span;
use contraflow_core::error::Result;
use contraflow_core::mapping::Mapping;
use contraflow_core::position::Position;
use contraflow_core::record::PairId;
use contraflow_core::shape::Type;
use contraflow_core::side::Side;

use super::walk::{nowhere, stopped};
use super::{Beside, Comparer, Comparison};

/// Rows whose digests are compared at once: few enough that one that changes meanwhile does not
/// cost much.
const ROWS: u64 = 10_000;

/// What is left to be read of a pair.
pub(super) struct Spans {
    /// At the source and at the mirror.
    pub(super) differ: Vec<[Span; 2]>,
    /// What the digests of the source may have shown.
    pub(super) read_to: Option<Position>,
}

impl Spans {
    /// Everything.
    pub(super) fn whole(pair: PairId) -> Spans {
        Spans {
            differ: vec![[Span::whole(pair), Span::whole(pair)]],
            read_to: None,
        }
    }
}

/// Adds spans; those that follow each other become one.
fn add(spans: &mut Vec<[Span; 2]>, [here, there]: [&Span; 2]) {
    match spans.last_mut() {
        Some([ours, theirs]) if ours.through == here.after => {
            ours.through.clone_from(&here.through);
            theirs.through.clone_from(&there.through);
        }
        _ => spans.push([here.clone(), there.clone()]),
    }
}

impl Comparer<'_> {
    /// The spans of a pair whose digests differ; the whole where the ends cannot say.
    pub(super) fn differing(
        &mut self,
        pair: PairId,
        beside: Beside<'_>,
        result: &mut Comparison,
    ) -> Result<Spans> {
        let Some([ours, theirs]) = self.same_fields(pair) else {
            return Ok(Spans::whole(pair));
        };
        let received = beside.touched.windows().received();
        let (mut differ, mut compared) = (Vec::<[Span; 2]>::new(), 0);
        let [mut here, mut there] = [Span::whole(pair), Span::whole(pair)];
        loop {
            stopped(beside.stop)?;
            let source = self.source_scan.digest(&here, &ours, ROWS, &received)?;
            let Some(source) = source else {
                return Ok(Spans::whole(pair));
            };
            here.through = source.cut;
            let through = here.through.as_ref();
            there.through = match through.map(|key| self.target_key(pair, key)) {
                None => None,
                Some(Some(key)) => Some(key),
                Some(None) => return Ok(Spans::whole(pair)),
            };
            let mirror = self
                .mirror_scan
                .digest(&there, &theirs, u64::MAX, &nowhere())?;
            match mirror {
                Some(mirror) if mirror.digest == source.digest => compared += source.digest.count,
                Some(_) => add(&mut differ, [&here, &there]),
                None => return Ok(Spans::whole(pair)),
            }
            self.keep_up(beside, result)?;
            if here.through.is_none() {
                result.compared += compared;
                let read_to = Some(source.until);
                return Ok(Spans { differ, read_to });
            }
            for span in [&mut here, &mut there] {
                span.after = span.through.take();
            }
        }
    }

    /// Whether both ends have the keys of a pair in the same order: the same values, of types that
    /// no locale orders.
    pub(super) fn in_order(&self, pair: PairId) -> bool {
        let mapping = &self.context.pair(pair).mapping;
        let [old, new] = Side::BOTH.map(|side| mapping.shape(side));
        let mut places = old.key.iter().zip(&new.key);
        let same = places.all(|(&there, &here)| {
            let ty = &old.fields[there].ty;
            let fixed = matches!(ty, Type::Int { .. } | Type::Uuid | Type::Date);
            fixed && same_field(mapping, here) == Some(there)
        });
        same && old.key.len() == new.key.len() && self.same_engine()
    }

    /// The fields of the mirror's rows and where the source has each, when every one of them
    /// passes through and every row is to be compared.
    fn same_fields(&self, pair: PairId) -> Option<[Vec<usize>; 2]> {
        let pair = self.context.pair(pair);
        if !self.same_engine() || matches!(pair.history, Reach::Since { .. }) {
            return None;
        }
        let mapping = &pair.mapping;
        let target = self.direction.target();
        let mut fields = [Vec::new(), Vec::new()];
        for new in 0..mapping.shape(Side::New).fields.len() {
            let Some(old) = same_field(mapping, new) else {
                continue;
            };
            let (ours, theirs) = match target {
                Side::New => (old, new),
                Side::Old => (new, old),
            };
            fields[0].push(ours);
            fields[1].push(theirs);
        }
        let whole = fields[1].len() == mapping.shape(target).fields.len();
        whole.then_some(fields)
    }

    fn same_engine(&self) -> bool {
        let [old, new] = Side::BOTH.map(|side| self.context.side(side).end.engine());
        old == new
    }
}

/// The field of the old rows that passes through as this one of the new rows, both ways.
fn same_field(mapping: &Mapping, new: usize) -> Option<usize> {
    let [old] = mapping.origins(new)[..] else {
        return None;
    };
    let same = mapping.passes_through(Side::New, new) && mapping.passes_through(Side::Old, old);
    same.then_some(old)
}
