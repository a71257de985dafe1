//! One module per verb: its arguments, and `run`.

pub mod init;

pub mod schema;

pub mod explain;

pub mod check;

pub mod doctor;

pub mod plan;

pub mod run;

pub mod status;

pub mod wait;

pub mod ask;

pub mod verify;

pub mod diff;

pub mod letters;

pub mod producer;

pub mod consumers;

pub mod adopt;

pub mod demo;
