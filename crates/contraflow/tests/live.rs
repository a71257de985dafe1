//! The promises of a change, kept as tests with real processes: an application that writes all
//! the time, and an auditor that shares no code with the engine.

mod endings;
mod fixture;
mod kills;
mod ownership;
pub(crate) mod process;
mod storm;
mod sweep;
mod turns;
mod zombies;
