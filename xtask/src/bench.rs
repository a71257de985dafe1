//! `cargo xtask bench NAME..`: figures that anybody can make again.

#[cfg(feature = "bench")]
mod frame;
#[cfg(feature = "bench")]
mod mapping;

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

/// Every benchmark: its name, and what it measures.
#[cfg(feature = "bench")]
const BENCHMARKS: &[frame::Benchmark] = &[("mapping", mapping::measure)];
