//! Benchmarks over PostgreSQL: each starts a server of its own, with the old and the new end in
//! two databases of it.

pub(super) mod copy;
pub(super) mod cutover;
pub(super) mod follow;
pub(super) mod memory;
pub(super) mod overhead;

mod barrier;
mod people;
mod programs;
mod server;
mod stage;
mod writers;
