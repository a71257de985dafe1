//! The drivers, tried from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clock;
mod kafka;
mod one_table;
mod postgres;
mod registry;
mod sqlite;
