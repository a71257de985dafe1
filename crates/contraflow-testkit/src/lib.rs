//! What Contraflow is tested with. Development only: nothing here is shipped.
//!
//! Modules in reading order:
//!
//! * [`chance`]: randomness that replays.
//! * [`clock`]: time that a test moves.
//! * [`trap`]: a probe that cuts a run off at its n-th named point.
//! * [`memory`]: an end in memory, with separate durable and visible instants.
//! * [`server`]: a PostgreSQL of the tests' own.
//! * [`proxy`]: a network before it that fails when a test says so.
//! * [`wire`]: a network before a Kafka that knows its questions.
//! * [`raw`]: records of Kafka that no client writes.
//! * [`mapping`]: mappings from a few lines of text.
//! * [`conformance`]: the promises of [`contraflow_core::end`], one named check each.
//! * [`mutant`]: ends that break one rule each; a test that does not notice is no test.
//! * [`sim`]: the flow under random schedules, shrunk to the steps that matter.

pub mod chance;
pub mod clock;
pub mod trap;

pub mod kafka;
#[cfg(unix)]
pub mod proxy;
pub mod raw;
pub mod registry;
mod script;
pub mod server;
pub mod wire;

pub mod mapping;
pub mod memory;

pub mod conformance;
pub mod mutant;
pub mod sim;
