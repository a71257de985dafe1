//! `contraflow schema`: the JSON Schema of the change file.

use contraflow_core::change::SCHEMA;

use crate::Exit;
use crate::output::Output;

/// Print the JSON Schema of the change file.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Prints the schema as data.
///
/// # Errors
///
/// When it cannot be written.
pub fn run(_: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    out.data(SCHEMA.trim_end())?;
    Ok(Exit::Yes)
}
