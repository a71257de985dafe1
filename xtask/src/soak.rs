//! The tests that take too long for every change: more seeds, every kill point.
//!
//! A soak test is an ordinary test with `soak` in its name. Under `cargo xtask test` it runs a
//! sample; here `CONTRAFLOW_SOAK=1` tells it to run whole.

use anyhow::Result;

use crate::shell;
use crate::suite::Tally;

/// Runs the soak tests, or those of them that match a filter of `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let all = ["test", "--locked", "--workspace", "--all-features"];
    let mut command = shell::cargo(&all)?;
    command.args(["--release", "--no-fail-fast"]);
    command.env("CONTRAFLOW_SOAK", "1");
    if args.is_empty() {
        command.arg("soak");
    }
    command.args(args);
    let mut tally = Tally::default();
    let passed = shell::watch(&mut command, |line| tally.add(line))?;
    shell::say(&format!("soak: {}", tally.line()));
    if tally.passed + tally.failed == 0 {
        shell::note("no test ran, which proves nothing");
        return Ok(false);
    }
    Ok(passed)
}
