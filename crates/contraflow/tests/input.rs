//! Bad input: each kind ends in a coded error or a hold that names the next command, with nothing
//! lost and the old side untouched. What only looks bad works.

mod declared;
mod files;
mod full;
mod midflight;
mod peculiar;
