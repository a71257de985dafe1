//! Digests of rows, of sets of rows in any order, and of declarations.

use xxhash_rust::xxh3::xxh3_128;

use crate::codec::binary;
use crate::value::Value;

/// The digest of one row: equal exactly when the canonical bytes are equal, short of a collision
/// in 128 bits.
#[must_use]
pub fn row_digest(values: &[Value]) -> u128 {
    let mut bytes = Vec::with_capacity(16 * values.len());
    binary::encode_values(values, &mut bytes);
    xxh3_128(&bytes)
}

/// A name for these bytes in 32 hexadecimal digits.
#[must_use]
pub fn name(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// The digest of a set of rows, whatever their order.
///
/// Sum and exclusive or together notice what either alone would miss: a row counted twice leaves
/// the exclusive or as if it were never there, and changes that cancel in the sum do not cancel in
/// the exclusive or.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many rows.
    pub count: u64,
    /// The sum of their digests.
    pub sum: u128,
    /// The exclusive or of their digests.
    pub xor: u128,
}

impl Digest {
    /// Takes a row in.
    pub fn add(&mut self, row: u128) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(row);
        self.xor ^= row;
    }

    /// Takes a row out again.
    pub fn remove(&mut self, row: u128) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(row);
        self.xor ^= row;
    }

    /// Takes all rows of another set in.
    pub fn merge(&mut self, other: &Digest) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
        self.xor ^= other.xor;
    }
}

#[cfg(test)]
mod tests;
