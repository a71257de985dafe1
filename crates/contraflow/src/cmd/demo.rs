//! `contraflow demo`: a live table moves to a new shape under load, survives being killed, flips,
//! rolls back, flips again and contracts, with zero divergence proven. Needs nothing installed.
//! With `--topics` a topic of Kafka does, which flips once; it needs what `scripts/setup` fetches,
//! or servers that are there.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Exit;
use crate::demo::{self, Story, topics};
use crate::output::Output;

/// Watch a live table move, be killed, flip, roll back, flip again and contract.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Rows of the table, or records of each topic, at the beginning.
    #[arg(long, default_value_t = 200_000)]
    pub rows: u64,
    /// Watch topics of Kafka instead, in JSON and in Avro.
    #[arg(long)]
    pub topics: bool,
    /// A Kafka that is there; otherwise the project's script starts one.
    #[arg(long, value_name = "HOST:PORT", requires = "topics")]
    pub kafka: Option<String>,
    /// A schema registry that is there; otherwise the project's script starts one.
    #[arg(long, value_name = "URL", requires = "topics")]
    pub registry: Option<String>,
    /// Where files are made; a temporary folder otherwise, removed at the end.
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
/// When a process cannot be started, or a database or a topic cannot be made.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("contraflow-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder)?;
    if args.topics {
        let proof = tell_topics(args, &folder, out);
        let holds = proof.as_ref().is_ok_and(topics::Proof::holds);
        return shown(args, &folder, &proof?, holds, out);
    }
    let proof = Story::new(&folder, args.rows).and_then(|story| story.tell(out));
    let holds = proof.as_ref().is_ok_and(demo::Proof::holds);
    shown(args, &folder, &proof?, holds, out)
}

fn tell_topics(args: &Args, folder: &Path, out: &mut Output) -> anyhow::Result<topics::Proof> {
    let wanted = topics::Wanted {
        kafka: args.kafka.clone(),
        registry: args.registry.clone(),
    };
    let servers = topics::Servers::start(wanted, &folder.join("servers"))?;
    topics::tell(&servers, folder, args.rows, out)
}

fn shown(
    args: &Args,
    folder: &Path,
    proof: &impl Serialize,
    holds: bool,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    if args.folder.is_none() && holds {
        std::fs::remove_dir_all(folder)?;
    }
    out.document(proof)?;
    Ok(if holds { Exit::Yes } else { Exit::No })
}

/// Plays the application until its standard input closes.
///
/// # Errors
/// When a database refuses for a reason that is not the guard.
pub fn run_app(args: &AppArgs, out: &mut Output) -> anyhow::Result<Exit> {
    demo::app::run(&args.folder, out)?;
    Ok(Exit::Yes)
}
