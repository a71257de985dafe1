//! History from one SQLite file to another, beside `insert .. select` across attached files, and
//! the memory that it takes.

use anyhow::{Result, ensure};

use super::frame::{Measure, Plan, measure as figure, pairs};
use super::stage::{self, Copied, Old, Reshape, Stage};

/// Large enough that neither file fits a page cache of 16 MiB.
const ROWS: u64 = 2_000_000;
/// A table whose rows do not fit the memory together.
const HUGE: Old = Old {
    rows: 20_000,
    huge: 200,
};

/// Rows per second of the wall and of the CPU, and peaks of memory.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let rows = plan.records_or(ROWS);
    let old = Old { rows, huge: 0 };
    let mut measures = Vec::new();
    for (reshape, [wall, cpu, memory]) in [
        (
            Reshape::Rename,
            [
                "sqlite-copy.rename",
                "sqlite-copy.rename.cpu",
                "sqlite-copy.rename.memory",
            ],
        ),
        (
            Reshape::Group,
            [
                "sqlite-copy.phonebook",
                "sqlite-copy.phonebook.cpu",
                "sqlite-copy.phonebook.memory",
            ],
        ),
    ] {
        let stage = Stage::raise(&old, reshape)?;
        let pairs = pairs(plan, || stage.ours(), || stage.peer())?;
        measures.push(figure(wall, "rows/s", &pairs, |copied| copied.rows_per_s));
        measures.push(figure(cpu, "rows/cpu s", &pairs, |copied| {
            copied.rows_per_cpu_s
        }));
        measures.push(peak(memory, &pairs));
    }
    measures.push(huge_rows()?);
    measures.extend(large_transaction(&old)?);
    Ok(measures)
}

fn peak(name: &'static str, pairs: &[(Copied, Copied)]) -> Measure {
    figure(name, "MiB", pairs, |copied| copied.memory_mib)
}

fn huge_rows() -> Result<Measure> {
    let stage = Stage::raise(&HUGE, Reshape::Rename)?;
    let pairs = pairs(
        Plan {
            runs: 1,
            records: None,
        },
        || stage.ours(),
        || stage.peer(),
    )?;
    Ok(peak("sqlite-copy.huge-rows.memory", &pairs))
}

/// Half of the rows updated in one transaction while the flow follows. The peer is the update
/// itself, made by the application: what arrives per second beside what was written per second.
fn large_transaction(old: &Old) -> Result<[Measure; 2]> {
    let stage = Stage::set(old, Reshape::Rename)?;
    let run = stage.start()?;
    run.wait_copied()?;
    let rows = (stage.rows() / 2).max(1) as f64;
    let theirs = rows / stage.move_half()?.as_secs_f64();
    let ours = rows / stage.wait_moved(&run)?.as_secs_f64();
    let memory = run.usage()?.memory_mib;
    ensure!(stage.ends_agree()?, "the ends differ");
    // The peer's memory is that of this process, which made the transaction.
    let theirs_mib = stage::own_memory_mib()?;
    stage.strike(run)?;
    let rates = [(ours, theirs)];
    let peaks = [(memory, theirs_mib)];
    Ok([
        figure("sqlite-copy.transaction", "rows/s", &rates, |rate| *rate),
        figure("sqlite-copy.transaction.memory", "MiB", &peaks, |mib| *mib),
    ])
}
