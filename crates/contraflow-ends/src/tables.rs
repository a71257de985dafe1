//! What the ends that hold tables have in common: refused records, keys as the bookkeeping keeps
//! them, and what is said where a table or the change is not what it was.

use std::collections::HashSet;

use contraflow_core::code::Code;
use contraflow_core::codec::binary;
use contraflow_core::end::{Letter, Progress};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::record::{Key, Record};
use contraflow_core::side::Side;

/// A record that the table does not take.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Its place in the batch.
    pub(crate) record: usize,
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Refusal {
    /// The letter for it. A conflict may be with a row whose own change has not arrived yet: it is
    /// tried again when the feed has passed what the images show. Everything else waits for a new
    /// image.
    pub(crate) fn letter(self, records: &[Record], progress: &Progress<'_>) -> Letter {
        let record = &records[self.record];
        let (Progress::Advance { seen, .. }
        | Progress::Chunk { seen, .. }
        | Progress::Keys { seen }) = progress;
        let may_settle =
            self.code == Code::UNIQUE_CONFLICT && !matches!(progress, Progress::Keys { .. });
        Letter {
            pair: record.pair,
            source_key: record.source_key.clone(),
            code: self.code,
            reason: self.reason,
            retry_after: may_settle.then(|| (*seen).clone()),
        }
    }
}

/// Whoever writes records of which some meet on a unique value.
pub(crate) trait Rounds {
    /// Frees the keys of all records but those left out, writes them, and says which are refused.
    fn write(&mut self, left_out: &HashSet<usize>) -> Result<Vec<Refusal>>;

    /// Takes the round back.
    fn undo(&mut self) -> Result<()>;
}

/// Frees every key and writes all rows again: moved and swapped values settle only together. A
/// record that is refused even so leaves its row as it was, which may refuse others in turn: each
/// round leaves out at least one more.
pub(crate) fn settle(rounds: &mut impl Rounds) -> Result<Vec<Refusal>> {
    let (mut all, mut left_out) = (Vec::new(), HashSet::new());
    loop {
        let refused = rounds.write(&left_out)?;
        if refused.is_empty() {
            return Ok(all);
        }
        rounds.undo()?;
        left_out.extend(refused.iter().map(|refusal| refusal.record));
        all.extend(refused);
    }
}

/// A key as the bookkeeping keeps it.
pub(crate) fn encoded(key: Option<&Key>) -> Option<Vec<u8>> {
    key.map(|key| {
        let mut bytes = Vec::new();
        binary::encode_values(&key.0, &mut bytes);
        bytes
    })
}

/// The other way round.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Key> {
    binary::decode_values(bytes).map(Key).map_err(|_| {
        let message = "a stored key of the bookkeeping is damaged";
        Error::new(Kind::Hold, Code::END_FAILED, message)
    })
}

/// A table whose declaration is no longer the one of expand, or that is not there any more.
pub(crate) fn altered(side: Side, table: &str, is_there: bool) -> Error {
    let what = if is_there { "altered" } else { "dropped" };
    let message = format!("table `{table}` was {what} while the change runs");
    Error::new(Kind::Hold, Code::SHAPE_CHANGED, message)
        .at(side)
        .detail("Nothing was carried after the alteration.")
        .hint("Undo it and run `contraflow resume`, or `contraflow abort` and plan anew.")
}

/// A table that the change needs and nobody made.
pub(crate) fn missing(side: Side, table: &str) -> Error {
    let message = format!("there is no table `{table}` at the {side} end");
    Error::new(Kind::Precondition, Code::TABLE_MISSING, message).at(side)
}

/// A change that somebody else runs.
pub(crate) fn elsewhere(side: Side) -> Error {
    let message = format!("the {side} end carries this change under another ledger");
    Error::new(Kind::Precondition, Code::CARRIED_ELSEWHERE, message)
        .at(side)
        .hint("Run it from where it was started, or take it over with `contraflow adopt`.")
}

/// A fence that ended before the turn did.
pub(crate) fn expired(side: Side, why: &str) -> Error {
    let message = format!("the fence of the {side} end ended before the turn did: {why}");
    Error::new(Kind::Transient, Code::FENCE_EXPIRED, message)
        .at(side)
        .detail("Authority stayed where it was; writers go on there.")
        .hint("Ask for the turn again when the load is lower, or raise `limits.fence_max`.")
}
