//! Named points at which a test may stop the world.
//!
//! The release binary passes [`Silent`]. The crash tests pass a probe that kills the process at
//! the n-th hit of a point, the simulator one that cuts the run off there.

use crate::error::Result;

/// Something that looks on at every named point.
pub trait Probe: Send + Sync {
    /// Called right at the point.
    ///
    /// # Errors
    /// Whatever the probe wants the caller to fail with.
    fn at(&self, point: Point) -> Result<()>;
}

/// A named point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point(pub &'static str);

/// A probe that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Probe for Silent {
    fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }
}

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        impl Point {
            $($(#[doc = $doc])+ pub const $name: Point = Point($text);)+

            /// Every point, in the order of a change's life.
            pub const ALL: &'static [Point] = &[$(Point::$name),+];
        }
    };
}

points! {
    /// Before the statements of expand on one end.
    EXPAND_BEFORE = "expand.before";
    /// Expand is committed on one end.
    EXPAND_AFTER = "expand.after";
    /// A lane was claimed.
    LEASE_CLAIMED = "lease.claimed";
    /// A chunk was read and not yet applied.
    CHUNK_READ = "chunk.read";
    /// In the middle of a chunk's transaction.
    CHUNK_APPLY_MID = "chunk.apply.mid";
    /// A chunk is committed.
    CHUNK_APPLIED = "chunk.applied";
    /// A batch was received and not yet mapped.
    FEED_RECEIVED = "feed.received";
    /// In the middle of a batch's transaction.
    BATCH_APPLY_MID = "batch.apply.mid";
    /// Right before a target commits.
    COMMIT_BEFORE = "commit.before";
    /// Right after a target committed.
    COMMIT_AFTER = "commit.after";
    /// A batch is committed and not yet confirmed.
    BATCH_APPLIED = "batch.applied";
    /// A batch is confirmed to the source.
    CONFIRMED = "feed.confirmed";
    /// Keys are about to be carried again.
    RECARRY_READ = "recarry.read";
    /// A turn's gates have been judged.
    TURN_JUDGED = "turn.judged";
    /// Before the fence.
    FENCE_BEFORE = "turn.fence.before";
    /// The losing end is fenced.
    FENCE_AFTER = "turn.fence.after";
    /// The flow has drained to the fence.
    DRAINED = "turn.drained";
    /// The final compare is clean.
    COMPARED = "turn.compared";
    /// Before the seal.
    SEAL_BEFORE = "turn.seal.before";
    /// The losing end is sealed.
    SEAL_AFTER = "turn.seal.after";
    /// The gaining end is open.
    FLIP_AFTER = "turn.flip.after";
    /// The ledger has recorded an intent.
    LEDGER_INTENT = "ledger.intent";
    /// The ledger has recorded a result.
    LEDGER_RESULT = "ledger.result";
    /// One side is taken down.
    CONTRACT_SIDE = "contract.side";
    /// Both sides are taken down.
    CONTRACT_AFTER = "contract.after";
    /// One side is restored by an abort.
    ABORT_SIDE = "abort.side";
}
