//! The program as a person runs it: exit code, stdout and stderr together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod canary;
mod desk;
mod history;
mod input;
mod live;
mod over;
mod postgres;
mod proof;
mod snapshots;
mod topics;
mod verbs;
