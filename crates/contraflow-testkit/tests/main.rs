//! The testkit, tried on itself.

mod memory;
mod sim;
