//! `contraflow`: the table of verbs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use contraflow::Exit;
use contraflow::cmd::{self, ask};
use contraflow::output::{Form, Output};
use contraflow::surroundings::survive_file_limits;
use contraflow_core::phase::Ask;

/// Rows are allocated by the reader and freed by the flow: the system's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Check(cmd::check::Args),
    Doctor(cmd::doctor::Args),
    Plan(cmd::plan::Args),
    Run(cmd::run::Args),
    Status(cmd::status::Args),
    Wait(cmd::wait::Args),
    /// Move the writers to the new end, in one fenced step.
    Cutover(ask::Turn),
    /// Move the writers back to the old end.
    Rollback(ask::Turn),
    /// Take the old end down, on evidence. Cannot be undone.
    Contract(ask::Final),
    /// Give up before the first cutover and leave the old side as it was.
    Abort(ask::Final),
    /// Pause: nothing is carried until `resume`.
    Hold(ask::Hold),
    /// Go on after a hold.
    Resume(ask::Plain),
    Verify(cmd::verify::Args),
    Diff(cmd::diff::Args),
    /// Carry keys again, through the flow, or what was written late.
    Repair(ask::Repair),
    Letters(cmd::letters::Args),
    Producer(cmd::producer::Args),
    Consumers(cmd::consumers::Args),
    Adopt(cmd::adopt::Args),
    Explain(cmd::explain::Args),
    Schema(cmd::schema::Args),
    Demo(cmd::demo::Args),
    #[command(hide = true)]
    DemoApp(cmd::demo::AppArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = if cli.json { Form::Json } else { Form::Human };
    let mut out = Output::standard(form);
    let exit = survive_file_limits()
        .and_then(|()| run(&cli.verb, &mut out))
        .unwrap_or_else(|error| out.failed(&error));
    ExitCode::from(exit.code())
}

fn run(verb: &Verb, out: &mut Output) -> anyhow::Result<Exit> {
    match verb {
        Verb::Init(args) => cmd::init::run(args, out),
        Verb::Check(args) => cmd::check::run(args, out),
        Verb::Doctor(args) => cmd::doctor::run(args, out),
        Verb::Plan(args) => cmd::plan::run(args, out),
        Verb::Run(args) => cmd::run::run(args, out),
        Verb::Status(args) => cmd::status::run(args, out),
        Verb::Wait(args) => cmd::wait::run(args, out),
        Verb::Cutover(args) => {
            let ask = Ask::Cutover {
                accept_loss: args.accept_loss,
            };
            ask::run("cutover", args.change.as_ref(), &ask, out)
        }
        Verb::Rollback(args) => {
            let ask = Ask::Rollback {
                accept_loss: args.accept_loss,
            };
            ask::run("rollback", args.change.as_ref(), &ask, out)
        }
        Verb::Contract(args) => ask::run_final("contract", args, &Ask::Contract, out),
        Verb::Abort(args) => ask::run_final("abort", args, &Ask::Abort, out),
        Verb::Hold(args) => {
            let ask = Ask::Hold {
                reason: args.reason.clone(),
            };
            ask::run("hold", args.change.as_ref(), &ask, out)
        }
        Verb::Resume(args) => ask::run("resume", args.change.as_ref(), &Ask::Resume, out),
        Verb::Verify(args) => cmd::verify::run(args, out),
        Verb::Diff(args) => cmd::diff::run(args, out),
        Verb::Repair(args) => ask::run("repair", args.change.as_ref(), &args.ask(), out),
        Verb::Letters(args) => cmd::letters::run(args, out),
        Verb::Producer(args) => cmd::producer::run(args, out),
        Verb::Consumers(args) => cmd::consumers::run(args, out),
        Verb::Adopt(args) => cmd::adopt::run(args, out),
        Verb::Explain(args) => cmd::explain::run(args, out),
        Verb::Schema(args) => cmd::schema::run(args, out),
        Verb::Demo(args) => cmd::demo::run(args, out),
        Verb::DemoApp(args) => cmd::demo::run_app(args, out),
    }
}
