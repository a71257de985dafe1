//! `contraflow producer`: what a deploy says of the producers of a topic.

use std::path::PathBuf;

use contraflow_core::phase::Ask;

use crate::Exit;
use crate::cmd::ask;
use crate::output::Output;

/// Say what the producers of the old topic do.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// All producers of the old topic have stopped: whatever comes from now on says otherwise.
    Stopped {
        /// The change file, or its name.
        #[arg(value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
}

/// Says it. Exit 0 when it was noted.
///
/// # Errors
/// When the change cannot be opened or the answer cannot be had.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let Verb::Stopped { change } = &args.verb;
    ask::run("producer stopped", change.as_ref(), &Ask::Stopped, out)
}
