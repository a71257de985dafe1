//! `contraflow demo`: a live table moves to a new shape under load, survives being killed, flips,
//! rolls back, flips again and contracts, with zero divergence proven. Needs nothing installed.

use std::path::PathBuf;

use crate::Exit;
use crate::demo::{self, Story};
use crate::output::Output;

/// Watch a live table move, be killed, flip, roll back, flip again and contract.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Rows of the table.
    #[arg(long, default_value_t = 200_000)]
    pub rows: u64,
    /// Where the databases are made; a temporary folder otherwise, removed at the end.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// The demo's application: a loop that writes and knows nothing of Contraflow.
#[derive(clap::Args, Debug)]
pub struct AppArgs {
    /// The folder of the databases.
    pub folder: PathBuf,
}

/// Plays the story. Exit 1 when anything diverged.
///
/// # Errors
/// When a process cannot be started or a database cannot be made.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("contraflow-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder)?;
    let told = Story::new(&folder, args.rows)?.tell(out);
    if args.folder.is_none() && told.as_ref().is_ok_and(demo::Proof::holds) {
        std::fs::remove_dir_all(&folder)?;
    }
    let proof = told?;
    out.document(&proof)?;
    Ok(if proof.holds() { Exit::Yes } else { Exit::No })
}

/// Plays the application until its standard input closes.
///
/// # Errors
/// When a database refuses for a reason that is not the guard.
pub fn run_app(args: &AppArgs, out: &mut Output) -> anyhow::Result<Exit> {
    demo::app::run(&args.folder, out)?;
    Ok(Exit::Yes)
}
