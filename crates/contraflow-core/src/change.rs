//! The declared change: as typed, and as checked.

pub mod node;
