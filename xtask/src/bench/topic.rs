//! Benchmarks over Kafka: each starts a broker of its own, in which both topics lie, so that the
//! broker, the peer and we share the machine's cores.

pub(super) mod bare;
pub(super) mod copy;
pub(super) mod delay;
pub(super) mod flip;

mod cluster;
mod mirror_maker;
mod people;
mod stage;
mod writer;
