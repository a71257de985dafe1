//! Values as bytes and as text, without losing a digit.

pub mod avro;
pub mod binary;
pub mod json;
pub mod payload;
pub mod text;

/// Why bytes or text could not be read as a value. Never carries the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {at}")]
pub struct Malformed {
    /// What is wrong.
    pub reason: &'static str,
    /// How far into the input.
    pub at: usize,
}

impl Malformed {
    /// A fault of the whole input.
    #[must_use]
    pub fn new(reason: &'static str) -> Malformed {
        Malformed { reason, at: 0 }
    }
}

#[cfg(test)]
mod tests;
