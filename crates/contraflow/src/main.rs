//! Contraflow.
fn main() {}
