//! A place in a feed, opaque outside the end that made it.

use std::fmt;

/// An opaque place in the feed of one end.
///
/// Only the end that issued it reads the bytes or orders two of them; equality of bytes is
/// equality of place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Position(Box<[u8]>);

impl Position {
    /// Wraps the bytes of an end's own encoding.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Position {
        Position(bytes.into())
    }

    /// The bytes, for the end that made them and for storage.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
