//! The drivers, tried from outside.

mod sqlite;
