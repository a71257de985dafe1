//! `cargo xtask VERB`: the chores of this repository.

use std::process::ExitCode;

use anyhow::Result;

mod bench;
mod servers;
mod shell;
mod soak;
mod suite;
mod tidy;

const USAGE: &str = "\
usage: cargo xtask VERB

  tidy                      check the habits of CONTRIBUTING.md that clippy cannot see
  test [ARGS]               fmt, tidy, clippy and all tests; ARGS go to `cargo test`
  soak [FILTER]             the long tests: more seeds, every kill point
  servers up|down NAME..    kafka, registry or postgres, for trying things by hand
  bench NAME.. [--json]     measure against a peer; without a name, list the benchmarks
";

/// A verb answers yes or no; an error is neither.
fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match answer(&verb, &rest) {
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::from(1),
        Ok(None) => {
            shell::note(USAGE.trim_end());
            ExitCode::from(2)
        }
        Err(error) => {
            shell::note(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn answer(verb: &str, rest: &[String]) -> Result<Option<bool>> {
    match verb {
        "tidy" => tidy::run().map(Some),
        "test" => suite::run(rest).map(Some),
        "soak" => soak::run(rest).map(Some),
        "servers" => servers::run(rest).map(Some),
        "bench" => bench::run(rest).map(Some),
        "bench-part" => bench::part(rest).map(Some),
        _ => Ok(None),
    }
}
