//! The loops that move, prove and switch.
//!
//! Modules in reading order:
//!
//! * [`context`]: what a change needs at run time.
//! * [`runner`]: reads requests, decides, performs effects; the only driver of phases.
//! * [`worker`]: claims a lane and runs the flow in its own thread.
//! * [`flow`]: *the* loop: feed, map, apply, confirm.
//! * `ahead`: reads the flow's feed in a thread of its own; `standby`: looks at the mirror's.
//!   `gather`: how long what trickles in is left to. `late`: what came after authority had moved.
//! * [`windows`]: which keys changed while a row was being read.
//! * [`backfill`]: history, range by range.
//! * [`keying`]: keys of records in logs, and where they lie.
//! * [`compare`]: both ends through the mapping, digests narrowed to keys.
//! * [`turn`]: the steps of a cutover and of a rollback.
//! * `lookout`: who reads the old logs, and since when nobody does.
//! * [`crossing`]: readers that go from one log to the other.
//! * [`progress`]: how far, how fast, as one value for every display.
//! * [`tasks`]: threads with a name and an owner.

pub mod context;
pub mod runner;
pub mod worker;

mod ahead;
pub mod flow;
mod gather;
mod late;
mod standby;
pub mod windows;

pub mod backfill;
pub mod compare;
pub mod keying;
pub mod turn;

pub mod crossing;
mod lookout;

pub mod progress;
pub mod tasks;
