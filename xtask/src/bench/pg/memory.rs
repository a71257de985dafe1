//! The most memory that our program ever holds: while history is copied, and with one transaction
//! that changes a large part of the table while the change follows.

use anyhow::{Result, ensure};

use super::people::{OLD_TABLE, Reshape};
use super::programs;
use super::stage::{OLD, Stage};
use crate::bench::frame::{Measure, Plan, measure as figure};
use crate::shell::{self, Stopwatch};

/// Rows of the one transaction, as far as the table has them.
const ROWS: u64 = 1_000_000;

/// MiB. The peers are the two `psql` of a copy, and `pg_recvlogical` with the same transaction.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let stage = Stage::raise(Reshape::Rename, plan)?;
    let (mut copies, mut transactions) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let (copy, transaction) = life(&stage)?;
        copies.push(copy);
        transactions.push(transaction);
    }
    let names = ["pg-memory.copy", "pg-memory.transaction"];
    Ok(vec![
        figure(names[0], "MiB", &copies, |mib| *mib),
        figure(names[1], "MiB", &transactions, |mib| *mib),
    ])
}

/// Ours and the peer's, after the copy and after the transaction.
fn life(stage: &Stage) -> Result<((f64, f64), (f64, f64))> {
    let psql = programs::copy(stage)?.memory_mib;
    let run = stage.start()?;
    let copy = stage.copied(&run)?.memory_mib;
    programs::keep_log(stage)?;
    let mut app = stage.connect(OLD)?;
    let last = ROWS.min(stage.rows());
    let updated = app.execute(
        &format!("update {OLD_TABLE} set email = 'moved' where id <= $1"),
        &[&i64::try_from(last)?],
    )?;
    ensure!(updated == last, "rows were lost");
    let end: String = app
        .query_one("select pg_current_wal_flush_lsn()::text", &[])?
        .try_get(0)?;
    let watch = Stopwatch::start();
    // Changes arrive in the order of the application.
    let seconds = stage.arrives(&run, &format!("id = {last} and email = 'moved'"), &watch)?;
    shell::note(&format!(
        "{last} rows of one transaction arrived in {seconds:.1} s"
    ));
    ensure!(stage.ends_agree()?, "the ends differ");
    let transaction = run.usage()?.memory_mib;
    stage.strike(run)?;
    let (_, reader) = programs::read_log(stage, &end)?;
    programs::drop_log(stage)?;
    let back = format!("update {OLD_TABLE} set email = null where email = 'moved'");
    app.batch_execute(&back)?;
    app.batch_execute(&format!("vacuum full {OLD_TABLE}"))?;
    Ok(((copy, psql), (transaction, reader)))
}
