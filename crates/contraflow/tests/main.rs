//! The program as a person runs it: exit code, stdout and stderr together.

mod desk;

mod input;
mod over;
mod verbs;
