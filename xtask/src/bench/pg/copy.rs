//! History from one database to another, beside `psql` that copies into `psql`.

use anyhow::{Result, ensure};

use super::people::{OLD_TABLE, PEER_TABLE, Reshape};
use super::programs;
use super::stage::Stage;
use crate::bench::frame::{Measure, Plan, measure as figure, pairs};
use crate::shell;

/// A change that only renames: rows per second, peaks of memory, and `pgcopydb` if it is there.
pub(in crate::bench) fn plain(plan: Plan) -> Result<Vec<Measure>> {
    let stage = raise(Stage::raise(Reshape::Rename, plan)?)?;
    let mut measures = measures(&stage, plan, ["pg-copy.rows", "pg-copy.memory"])?;
    let Some(version) = programs::pgcopydb_version() else {
        shell::note("pg-copy.pgcopydb is left out: pgcopydb is not installed");
        return Ok(measures);
    };
    shell::note(&version);
    measures.push(beside_pgcopydb(
        &stage,
        plan,
        "pg-copy.pgcopydb.one-server",
    )?);
    drop(stage);
    let stage = raise(Stage::raise_between(Reshape::Rename, plan)?)?;
    measures.push(beside_pgcopydb(
        &stage,
        plan,
        "pg-copy.pgcopydb.two-servers",
    )?);
    Ok(measures)
}

/// Lets `pgcopydb` copy once, which does not count, and then both in turns.
fn beside_pgcopydb(stage: &Stage, plan: Plan, name: &'static str) -> Result<Measure> {
    programs::pgcopydb(stage)?;
    ensure!(
        stage.peer_agrees(OLD_TABLE)?,
        "pgcopydb wrote different rows"
    );
    let pairs = pairs(plan, || stage.ours(), || programs::pgcopydb(stage))?;
    Ok(figure(name, "rows/s", &pairs, |copied| copied.rows_per_s))
}

/// A change that splits, converts and renames. The peer copies the rows as they are.
pub(in crate::bench) fn mapped(plan: Plan) -> Result<Vec<Measure>> {
    let stage = raise(Stage::raise(Reshape::Mapped, plan)?)?;
    let names = ["pg-copy-mapped.rows", "pg-copy-mapped.memory"];
    measures(&stage, plan, names)
}

/// Lets both copy once, which does not count: each must write what it should.
fn raise(stage: Stage) -> Result<Stage> {
    let run = stage.start()?;
    stage.copied(&run)?;
    ensure!(stage.ends_agree()?, "ours wrote different rows");
    stage.strike(run)?;
    programs::copy(&stage)?;
    ensure!(
        stage.peer_agrees(PEER_TABLE)?,
        "the peer wrote different rows"
    );
    Ok(stage)
}

fn measures(stage: &Stage, plan: Plan, [rows, memory]: [&'static str; 2]) -> Result<Vec<Measure>> {
    let pairs = pairs(plan, || stage.ours(), || programs::copy(stage))?;
    Ok(vec![
        figure(rows, "rows/s", &pairs, |copied| copied.rows_per_s),
        figure(memory, "MiB", &pairs, |copied| copied.memory_mib),
    ])
}
