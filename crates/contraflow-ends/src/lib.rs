//! Drivers: one folder and one cargo feature per system, holding only the faces it has.

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "sqlite")]
pub mod ledger;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "sqlite"))]
mod tables;
