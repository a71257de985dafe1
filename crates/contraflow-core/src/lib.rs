//! The thinking of Contraflow: no runtime, no I/O, no clock, no randomness, no driver.
//!
//! Modules in reading order:
//!
//! * [`side`]: old and new, forward and reverse; the only place that says which is source.
//! * [`value`], [`record`], [`shape`]: what is carried.
//! * [`position`]: where in a feed.
//! * [`codec`], [`digest`]: values as bytes, text and short names.
//! * [`mapping`]: what the old shape says, said in the new one, and back.
//! * [`error`], [`code`]: what can go wrong, and what the operator does then.
//! * [`lease`]: the right to write, and who has authority.
//! * [`end`]: the traits that a place where data lives implements.
//! * [`sighting`]: who was seen to read an old log, and when.
//! * [`ledger`]: durable memory of what was decided.
//! * [`clock`]: time, as a parameter.

pub mod side;

pub mod value;

pub mod record;

pub mod log;

pub mod shape;

pub mod codec;
pub mod digest;

pub mod mapping;

pub mod position;

pub mod change;

pub mod code;
pub mod error;

pub mod lease;

pub mod end;

pub mod preflight;
pub mod sighting;

pub mod phase;

pub mod gate;

pub mod ledger;

pub mod probe;

pub mod clock;
