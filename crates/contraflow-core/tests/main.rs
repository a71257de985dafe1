//! The integration tests of the core, in one binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod avro;
mod checked;
mod codecs;
mod flow;
mod laws;
mod peers;
mod phonebook;
