//! Places in the log.

use contraflow_core::position::Position;

/// A place: behind everything up to a log sequence number, and behind that many changes of the
/// transaction whose commit lies there. Places are ordered as they are handed out: a commit is
/// received before its changes are all applied only for transactions larger than a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The end of a commit, or the start of one when `changes` is not 0.
    pub(super) lsn: u64,
    /// How many changes of the transaction that commits there.
    pub(super) changes: u64,
}

impl Place {
    pub(super) fn at(lsn: u64) -> Place {
        Place { lsn, changes: 0 }
    }

    /// The place in a position; the very beginning for an empty one.
    pub(super) fn of(position: &Position) -> Option<Place> {
        let bytes = position.as_bytes();
        if bytes.is_empty() {
            return Some(Place::default());
        }
        let bytes = <[u8; 16]>::try_from(bytes).ok()?;
        let half = |from: usize| <[u8; 8]>::try_from(&bytes[from..from + 8]).ok();
        Some(Place {
            lsn: u64::from_be_bytes(half(0)?),
            changes: u64::from_be_bytes(half(8)?),
        })
    }

    pub(super) fn position(self) -> Position {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.lsn.to_be_bytes());
        bytes[8..].copy_from_slice(&self.changes.to_be_bytes());
        Position::new(bytes)
    }
}

/// A log sequence number as PostgreSQL writes it, `16/B374D848`.
pub(super) fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(part(high)? << 32 | part(low)?)
}

/// The same the other way.
pub(super) fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}
