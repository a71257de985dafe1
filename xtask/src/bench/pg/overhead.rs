//! What the application loses: transactions per second of `pgbench` at the old end while history
//! is copied and while it is followed, and while nobody but `pg_recvlogical` reads its log, beside
//! the same without any of them. The application and its server have cores of their own, as on a
//! machine of their own.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::barrier;
use super::people::{OLD_TABLE, Reshape};
use super::programs;
use super::stage::{OLD, Stage};
use crate::bench::frame::{Measure, Plan, measure as figure, pairs};
use crate::shell::{self, Stopwatch};

const CLIENTS: u32 = 8;
/// For how long `pgbench` writes at a time.
const WINDOW: Duration = Duration::from_secs(8);
/// Branches of `pgbench`, each with ten tellers.
const SCALE: u32 = 10;

/// Transactions per second in three windows: from the start of the copy, after it, and while the
/// log is read to nowhere.
#[derive(Clone, Copy)]
struct Tps {
    copy: f64,
    follow: f64,
    read: f64,
}

/// Transactions per second.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let stage = Stage::raise_apart(Reshape::Rename, plan)?;
    programs::pgbench_tables(&stage, SCALE)?;
    loosen(&stage)?;
    let names = [
        "pg-overhead.tps",
        "pg-overhead.copy",
        "pg-overhead.follow",
        "pg-overhead.recvlogical",
    ];
    let mut measures = beside(&stage, plan, &bank(stage.rows()), names)?;
    let names = [
        "pg-overhead.single.tps",
        "pg-overhead.single.copy",
        "pg-overhead.single.follow",
        "pg-overhead.single.recvlogical",
    ];
    let script = single(stage.rows());
    measures.extend(beside(&stage, plan, &script, names)?);
    let load = || window(&stage, &script).map(drop);
    measures.extend(barrier::measure(&stage, plan, load)?);
    Ok(measures)
}

/// The transaction of `pgbench` itself, with our table as its accounts.
fn bank(rows: u64) -> String {
    format!(
        "\\set aid random(1, {rows})
\\set bid random(1, {SCALE})
\\set tid random(1, {})
\\set delta random(-5000, 5000)
begin;
update {OLD_TABLE} set balance = balance + :delta where id = :aid;
select balance from {OLD_TABLE} where id = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime)
  values (:tid, :bid, :aid, :delta, current_timestamp);
end;
",
        SCALE * 10
    )
}

/// The smallest transaction there is: of each, all is carried.
fn single(rows: u64) -> String {
    format!(
        "\\set id random(1, {rows})
update {OLD_TABLE} set balance = balance + 0.01, updated = now() where id = :id;
"
    )
}

fn beside(
    stage: &Stage,
    plan: Plan,
    script: &str,
    [tps, copy, follow, read]: [&'static str; 4],
) -> Result<Vec<Measure>> {
    alone(stage, script)?;
    let pairs = pairs(plan, || carried(stage, script), || alone(stage, script))?;
    ensure!(!pairs.is_empty(), "nothing was measured");
    for (ours, alone) in &pairs {
        shell::note(&format!(
            "{tps}: copy {:.3}, follow {:.3}, read {:.3} of a pair",
            ours.copy / alone.copy,
            ours.follow / alone.follow,
            ours.read / alone.read
        ));
    }
    Ok(vec![
        figure(tps, "tps", &pairs, |tps| {
            f64::midpoint(tps.copy, tps.follow)
        }),
        figure(copy, "tps", &pairs, |tps| tps.copy),
        figure(follow, "tps", &pairs, |tps| tps.follow),
        figure(read, "tps", &pairs, |tps| tps.read),
    ])
}

/// Leaves room in every page, as a table in use has it. Where updates fill a dense table, the
/// first window would be the slowest, whoever has it.
fn loosen(stage: &Stage) -> Result<()> {
    let mut old = stage.connect(OLD)?;
    for sql in [
        format!("alter table {OLD_TABLE} set (fillfactor = 70)"),
        format!("vacuum full {OLD_TABLE}"),
        format!("vacuum analyze {OLD_TABLE}"),
    ] {
        old.batch_execute(&sql)?;
    }
    Ok(())
}

fn window(stage: &Stage, script: &str) -> Result<f64> {
    programs::pgbench(stage, script, CLIENTS, WINDOW)
}

/// Begins as most seconds of a server do, long after a checkpoint: the first write of a page behind
/// one logs all of it, which is most of the log for as long as a window takes, and is decoded too.
fn settle(stage: &Stage) -> Result<()> {
    stage.settle()?;
    let every_page = format!("update {OLD_TABLE} set balance = balance where id % 20 = 0");
    Ok(stage.connect(OLD)?.batch_execute(&every_page)?)
}

fn alone(stage: &Stage, script: &str) -> Result<Tps> {
    settle(stage)?;
    Ok(Tps {
        copy: window(stage, script)?,
        follow: window(stage, script)?,
        read: window(stage, script)?,
    })
}

fn carried(stage: &Stage, script: &str) -> Result<Tps> {
    settle(stage)?;
    let run = stage.start()?;
    let watch = Stopwatch::start();
    let copy = programs::pgbench(stage, script, CLIENTS, WINDOW)?;
    let window_s = watch.read().as_secs_f64();
    let copied_s = run.wait_copied()?.as_secs_f64();
    shell::note(&format!(
        "history was copied in {copied_s:.1} s, the window took {window_s:.1} s"
    ));
    let follow = window(stage, script)?;
    stage.strike(run)?;
    let read = programs::while_read(stage, || window(stage, script))?;
    Ok(Tps { copy, follow, read })
}
