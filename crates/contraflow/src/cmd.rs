//! One module per verb: its arguments, and `run`.

pub mod init;

pub mod schema;

pub mod explain;
