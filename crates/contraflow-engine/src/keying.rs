//! The keys of records in logs: mapped with their records, and asked where they lie.

use std::collections::HashSet;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Problem, Result};
use contraflow_core::log::{self, Keyed, Keys, Partitioner, Probed};
use contraflow_core::mapping::Mapped;
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::side::{Direction, Side};

use crate::context::{Context, Keying, Pair};

/// Keys that are looked at, of each pair.
const KEYS_MAX: usize = 2_000;

impl Pair {
    /// Maps an image and the key of its record, and appends what it becomes.
    ///
    /// # Errors
    /// Of kind `Data` when this image alone is at fault.
    pub fn map(&self, direction: Direction, image: Image, out: &mut Vec<Mapped>) -> Result<()> {
        let before = out.len();
        self.mapping.map(direction, image, out)?;
        if let Some(keys) = self.keys() {
            for Mapped { key, image } in &mut out[before..] {
                carry(keys, direction, key)?;
                // The envelope stands in the row too.
                if let (Some(copy), Some(own)) =
                    (log::key_of(&key.0), log::key_in(&mut image.row.0))
                {
                    *own = copy.to_vec();
                }
            }
        }
        Ok(())
    }

    /// Maps a key alone, as deletes need it.
    ///
    /// # Errors
    /// Of kind `Data` when this key alone is at fault.
    pub fn key(&self, direction: Direction, key: &Key) -> Result<Key> {
        let mut key = self.mapping.key(direction, key)?;
        if let Some(keys) = self.keys() {
            carry(keys, direction, &mut key)?;
        }
        Ok(key)
    }

    /// The record key of a side's envelope, as the new log has it. One that does not map is what
    /// it is.
    pub(crate) fn new_key(&self, side: Side, envelope: &Key) -> Result<Option<Vec<u8>>> {
        let Some(own) = log::key_of(&envelope.0) else {
            return Ok(None);
        };
        match (self.keys(), side) {
            (Some(keys), Side::Old) => match keys.carry(Direction::Forward, own) {
                Ok(copy) => Ok(Some(copy)),
                Err(error) if error.kind == Kind::Data => Ok(Some(own.to_vec())),
                Err(error) => Err(error),
            },
            (None, _) | (Some(_), Side::New) => Ok(Some(own.to_vec())),
        }
    }

    fn keys(&self) -> Option<&Keys> {
        self.keying.as_ref()?.keys.as_ref()
    }
}

fn carry(keys: &Keys, direction: Direction, envelope: &mut Key) -> Result<()> {
    if let Some(key) = log::key_in(&mut envelope.0) {
        *key = keys.carry(direction, key)?;
    }
    Ok(())
}

/// The newest keys of the old log.
fn sample(context: &Context, pair: PairId) -> Result<Vec<Keyed>> {
    context.side(Side::Old).readers()?.keys(pair, KEYS_MAX)
}

/// Looks at keys of the old log of a pair: what explains where they lie, and which of them would
/// go elsewhere in the new one. `None` for tables, and while keys cannot be written as the new
/// log's producers would.
///
/// # Errors
/// When the old log cannot be read.
pub fn probe(context: &Context, pair: PairId) -> Result<Option<Probed>> {
    let Some(keying) = &context.pair(pair).keying else {
        return Ok(None);
    };
    if keying
        .keys
        .as_ref()
        .is_some_and(|keys| !keys.is_ready(Side::New))
    {
        return Ok(None);
    }
    let carried = |key: &[u8]| match &keying.keys {
        None => Ok(Some(key.to_vec())),
        Some(keys) => match keys.carry(Direction::Forward, key) {
            Ok(copy) => Ok(Some(copy)),
            // It stops its partition or becomes a letter: it is told there.
            Err(error) if error.kind == Kind::Data => Ok(None),
            Err(error) => Err(error),
        },
    };
    let sample = sample(context, pair)?;
    log::probe(sample, keying.partitions, keying.partitioner, carried).map(Some)
}

/// Tries on real keys of the old log whether they come back: how many do not, of how many that map.
///
/// # Errors
/// When the old log cannot be read.
pub fn laws(context: &Context, pair: PairId) -> Result<(u64, u64)> {
    let (mut broken, mut tried) = (0, 0);
    if let Some(keys) = context.pair(pair).keys() {
        let keys_of = sample(context, pair)?
            .into_iter()
            .map(|Keyed { key, .. }| key);
        for key in keys_of.collect::<HashSet<_>>() {
            if let Some(comes_back) = keys.comes_back(Direction::Forward, &key)? {
                tried += 1;
                broken += u64::from(!comes_back);
            }
        }
    }
    Ok((broken, tried))
}

/// How the producers of the new log must choose partitions, in words.
#[must_use]
pub fn advice(keying: &Keying, probed: &Probed) -> String {
    let whose = |way: &Partitioner| match way {
        Partitioner::Murmur2 => "`murmur2_random`, the default of Java clients",
        Partitioner::Crc32 => "`consistent_random`, the default of librdkafka clients",
        Partitioner::Fnv1a => "`fnv1a_random`, the default of Sarama clients",
        Partitioner::Custom => "the same custom one as before",
    };
    match (&keying.partitioner, probed.explain.as_slice()) {
        _ if keying.partitions == 1 => "any: there is one partition".to_owned(),
        (Some(declared), _) => whose(declared).to_owned(),
        _ if probed.keys == 0 => "the one of before: no record has a key".to_owned(),
        (None, []) => "the one of before, which is none of the known".to_owned(),
        (None, [only]) => whose(only).to_owned(),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|way| way.name()).collect();
            format!(
                "the one of before, `{}`: the keys do not say which",
                names.join("` or `")
            )
        }
    }
}

/// How the producers of each new log must choose partitions, in words.
pub(crate) fn producers(context: &Context) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for pair in context.pair_ids() {
        let probed = probe(context, pair)?;
        let bound = context.pair(pair);
        if let (Some(keying), Some(probed)) = (&bound.keying, probed) {
            all.push(format!("of `{}`: {}", bound.new, advice(keying, &probed)));
        }
    }
    Ok(all)
}

/// What is wrong with where keys of a pair would go.
#[must_use]
pub fn problem(pair: &Pair, probed: &Probed) -> Option<Problem> {
    let keying = pair.keying.as_ref()?;
    let (old, new) = (&pair.old, &pair.new);
    let Probed { keys, moved, .. } = probed;
    if *moved > 0 {
        let message = format!("{moved} of {keys} keys of `{old}` go elsewhere in `{new}`");
        let hint = match (&keying.keys, &keying.partitioner) {
            (_, Some(way)) => format!(
                "By `{}` their copies lie where no producer looks: keep the keys, or correct it.",
                way.name()
            ),
            (_, None) => "Keep the keys as they are, or say `key: {partitioner: custom}` when the \
                          producers of both choose by what a key means."
                .to_owned(),
        };
        return Some(Problem::error(Code::KEYS_MOVED, message).hint(hint));
    }
    if keying.partitioner.is_none() && *keys > 0 && probed.explain.is_empty() {
        let message = format!("no known partitioner explains where {keys} keys of `{old}` lie");
        let hint = format!(
            "The producers of `{new}` must choose as those of `{old}` do. If it is their own way, \
             say `key: {{partitioner: custom}}`."
        );
        return Some(Problem::warning(Code::KEYS_MOVED, message).hint(hint));
    }
    None
}

/// A pair whose keys cannot be judged yet.
#[must_use]
pub fn unjudged(pair: &Pair) -> Problem {
    let message = format!("where keys of `{}` go is not judged yet", pair.new);
    Problem::warning(Code::KEYS_MOVED, message)
        .hint("Their schema has no number yet: register it first, or the cutover judges them.")
}

/// How many keys go elsewhere, of how many.
pub(crate) fn moved(context: &Context) -> Result<(u64, u64)> {
    let (mut moved, mut keys) = (0, 0);
    for pair in context.pair_ids() {
        match probe(context, pair)? {
            Some(probed) => {
                moved += probed.moved;
                keys += probed.keys;
            }
            None if context.pair(pair).keying.is_none() => {}
            None => {
                let message = "keys cannot be written before their schema is registered";
                return Err(Error::new(Kind::Internal, Code::INTERNAL, message));
            }
        }
    }
    Ok((moved, keys))
}
