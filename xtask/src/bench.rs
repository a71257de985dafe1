//! `cargo xtask bench NAME..`: figures that anybody can make again.

#[cfg(feature = "bench")]
mod frame;
#[cfg(feature = "bench")]
mod mapping;
#[cfg(feature = "bench")]
mod pg;
#[cfg(feature = "bench")]
mod scaling;
#[cfg(feature = "bench")]
mod sqlite_copy;
#[cfg(feature = "bench")]
mod sqlite_cutover;
#[cfg(feature = "bench")]
mod sqlite_held;
#[cfg(feature = "bench")]
mod stage;
#[cfg(feature = "bench")]
mod topic;

use anyhow::Result;

/// Measures in an optimised build: any other build starts that one and hands over.
#[cfg(not(feature = "bench"))]
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let build = ["run", "--quiet", "--locked", "--release"];
    let mut command = crate::shell::cargo(&build)?;
    command.args(["--package", "xtask", "--features", "bench", "--", "bench"]);
    command.args(args);
    crate::shell::succeeds(&mut command)
}

#[cfg(feature = "bench")]
pub(crate) fn run(args: &[String]) -> Result<bool> {
    frame::run(args, BENCHMARKS)
}

/// A part that a benchmark gives to another process: started by the benchmark, never by hand.
#[cfg(feature = "bench")]
pub(crate) fn part(args: &[String]) -> Result<bool> {
    stage::part::play(args)
}

#[cfg(not(feature = "bench"))]
pub(crate) fn part(_args: &[String]) -> Result<bool> {
    anyhow::bail!("a part is played by the optimised build only")
}

/// Every benchmark: its name, its usual runs, and what it measures. Enough runs that one that was
/// disturbed does not move the median, few enough to wait for.
#[cfg(feature = "bench")]
const BENCHMARKS: &[frame::Benchmark] = &[
    ("mapping", 9, mapping::measure),
    ("sqlite-copy", 5, sqlite_copy::measure),
    ("sqlite-cutover", 20, sqlite_cutover::measure),
    ("sqlite-held", 5, sqlite_held::measure),
    ("scaling", 3, scaling::measure),
    ("pg-copy", 5, pg::copy::plain),
    ("pg-copy-mapped", 5, pg::copy::mapped),
    ("pg-follow", 5, pg::follow::measure),
    ("pg-cutover", 20, pg::cutover::measure),
    ("pg-overhead", 5, pg::overhead::measure),
    ("pg-memory", 1, pg::memory::measure),
    ("topic-copy", 3, topic::copy::raw),
    ("topic-copy-json", 3, topic::copy::json),
    ("topic-copy-avro", 3, topic::copy::avro),
    ("topic-delay", 3, topic::delay::measure),
    ("topic-flip", 3, topic::flip::measure),
];
