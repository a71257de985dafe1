//! The integration tests of the core, in one binary.

#![allow(missing_docs)]

mod checked;
mod flow;
mod laws;
mod peers;
mod phonebook;
