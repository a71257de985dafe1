//! Which partition a producer puts a key into, and which of the known ways explains a log.
//!
//! A copy lies in the partition of its record, whatever its key. The next producer chooses by the
//! key: where its choice differs, a key lies in two partitions from then on, and has no order.

use std::collections::HashSet;
use std::fmt;

use crate::error::Result;

/// A way to choose the partition of a key, by the word of the clients' setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioner {
    /// `murmur2_random`: what Java's clients do unless told otherwise.
    Murmur2,
    /// `consistent_random`: CRC-32, what librdkafka's clients do unless told otherwise.
    Crc32,
    /// `fnv1a_random`: what Sarama's clients do unless told otherwise.
    Fnv1a,
    /// `custom`: one that is not known here.
    Custom,
}

impl Partitioner {
    /// All.
    pub const ALL: [Partitioner; 4] = [
        Partitioner::Murmur2,
        Partitioner::Crc32,
        Partitioner::Fnv1a,
        Partitioner::Custom,
    ];

    /// Its word, which is that of `partitioner` in librdkafka's settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Partitioner::Murmur2 => "murmur2_random",
            Partitioner::Crc32 => "consistent_random",
            Partitioner::Fnv1a => "fnv1a_random",
            Partitioner::Custom => "custom",
        }
    }

    /// The partitioner of that word.
    #[must_use]
    pub fn of(name: &str) -> Option<Partitioner> {
        let mut all = Partitioner::ALL.into_iter();
        all.find(|known| known.name() == name)
    }

    /// Whether it would put a key into a partition, of so many. `None` when nobody knows.
    fn agrees(self, key: &[u8], partition: i32, partitions: u32) -> Option<bool> {
        let hash = match self {
            Partitioner::Murmur2 => murmur2(key) & 0x7fff_ffff,
            // It takes an empty key for none.
            Partitioner::Crc32 if key.is_empty() => return None,
            Partitioner::Crc32 => crc32(key),
            Partitioner::Fnv1a => fnv1a(key),
            Partitioner::Custom => return None,
        };
        let chosen = hash.checked_rem(partitions)?;
        Some(u32::try_from(partition).is_ok_and(|partition| partition == chosen))
    }
}

/// The key of a record, and where the record lies. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keyed {
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<key in partition {}>", self.partition)
    }
}

/// What keys of a log show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Different keys that were looked at.
    pub keys: u64,
    /// The known ways by which every one of them is where it is.
    pub explain: Vec<Partitioner>,
    /// Keys that would go elsewhere in the new log, by the declared way or by one that explains.
    pub moved: u64,
}

/// Looks at keys of a log with so many partitions: `declared` is what somebody said of its
/// producers, `carry` what becomes of a key, `None` for one that has no copy.
///
/// # Errors
/// Those of `carry`.
pub fn probe(
    sample: impl IntoIterator<Item = Keyed>,
    partitions: usize,
    declared: Option<Partitioner>,
    carry: impl Fn(&[u8]) -> Result<Option<Vec<u8>>>,
) -> Result<Probed> {
    let sample: HashSet<Keyed> = sample.into_iter().collect();
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
    let explains = |known: &Partitioner| {
        let agrees = |at: &Keyed| known.agrees(&at.key, at.partition, partitions);
        *known != Partitioner::Custom && sample.iter().all(|at| agrees(at) != Some(false))
    };
    let mut explain: Vec<Partitioner> = Partitioner::ALL.into_iter().filter(explains).collect();
    if sample.is_empty() {
        explain.clear();
    }
    let used = declared.map_or_else(|| explain.clone(), |declared| vec![declared]);
    let mut moved = 0;
    for Keyed { partition, key } in &sample {
        let Some(copy) = carry(key)? else {
            continue;
        };
        let leaves = |way: &Partitioner| way.agrees(&copy, *partition, partitions) == Some(false);
        moved += u64::from(used.iter().any(leaves));
    }
    Ok(Probed {
        keys: sample.len() as u64,
        explain,
        moved,
    })
}

/// MurmurHash 2 of 32 bits, with the seed that Kafka's Java clients use.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ (key.len() & 0xffff_ffff) as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MIX) ^ word.wrapping_mul(MIX);
    }
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// CRC-32 as of Ethernet and zlib.
fn crc32(key: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !key.iter().fold(!0, byte)
}

/// FNV-1a of 32 bits, without its sign, as Sarama takes it.
fn fnv1a(key: &[u8]) -> u32 {
    let byte = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = key.iter().fold(0x811c_9dc5, byte);
    hash.cast_signed().unsigned_abs()
}

#[cfg(test)]
mod tests;
