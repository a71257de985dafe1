//! `contraflow`: the table of verbs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use contraflow::cmd;
use contraflow::output::{Form, Output};

/// Carries live data across a breaking change, and proves that nothing was lost.
#[derive(Parser)]
#[command(name = "contraflow", version, propagate_version = true)]
struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(cmd::init::Args),
    Schema(cmd::schema::Args),
    Explain(cmd::explain::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = if cli.json { Form::Json } else { Form::Human };
    let mut out = Output::standard(form);
    let answer = match &cli.verb {
        Verb::Init(args) => cmd::init::run(args, &mut out),
        Verb::Schema(args) => cmd::schema::run(args, &mut out),
        Verb::Explain(args) => cmd::explain::run(args, &mut out),
    };
    let exit = answer.unwrap_or_else(|error| out.failed(&error));
    ExitCode::from(exit.code())
}
