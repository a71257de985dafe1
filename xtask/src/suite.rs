//! Everything a change must pass: format, tidy, lints and tests, each timed.

use anyhow::Result;

use crate::shell::{self, Stopwatch};
use crate::tidy;

/// What the runs of `cargo test` said, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) binaries: u64,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; ..`.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        self.binaries += 1;
        for part in counts.split("; ") {
            let Some((count, word)) = part.split_once(' ') else {
                continue;
            };
            let count = count.parse().unwrap_or(0);
            match word {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    pub(crate) fn line(&self) -> String {
        let Tally {
            binaries,
            passed,
            failed,
            ignored,
        } = self;
        format!("{passed} passed, {failed} failed, {ignored} ignored in {binaries} binaries")
    }
}

/// Runs every step, also after one has failed, and says whether all passed.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let mut steps = Steps::default();
    steps.step("fmt", || {
        shell::succeeds(&mut shell::cargo(&["fmt", "--all", "--check"])?)
    })?;
    steps.step("tidy", tidy::run)?;
    steps.step("clippy", clippy)?;
    let mut tally = Tally::default();
    steps.step("test", || tests(args, &mut tally))?;
    shell::say(&format!("tests: {}", tally.line()));
    shell::say(&steps.line());
    Ok(steps.failed.is_empty())
}

fn clippy() -> Result<bool> {
    let args = ["clippy", "--locked", "--workspace", "--keep-going"];
    let mut command = shell::cargo(&args)?;
    command.args(["--all-targets", "--all-features", "--", "-D", "warnings"]);
    shell::succeeds(&mut command)
}

fn tests(args: &[String], tally: &mut Tally) -> Result<bool> {
    let all = ["test", "--locked", "--workspace", "--all-features"];
    let mut command = shell::cargo(&all)?;
    if !args.iter().any(|arg| arg == "--") {
        // All failures at once, unless the caller decides.
        command.arg("--no-fail-fast");
    }
    command.args(args);
    shell::watch(&mut command, |line| tally.add(line))
}

#[derive(Default)]
struct Steps {
    times: Vec<String>,
    failed: Vec<&'static str>,
}

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<bool>) -> Result<()> {
        shell::note(&format!("== {name}"));
        let watch = Stopwatch::start();
        let passed = work()?;
        let time = format!("{name} {:.1} s", watch.read().as_secs_f64());
        let verdict = if passed { "passed" } else { "FAILED" };
        shell::note(&format!("== {time}: {verdict}"));
        self.times.push(time);
        if !passed {
            self.failed.push(name);
        }
        Ok(())
    }

    fn line(&self) -> String {
        let verdict = if self.failed.is_empty() {
            "all passed".to_owned()
        } else {
            format!("failed: {}", self.failed.join(", "))
        };
        format!("steps: {} ({verdict})", self.times.join(", "))
    }
}

#[cfg(test)]
mod tests;
