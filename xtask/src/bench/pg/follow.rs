//! A log of small transactions that waits for the follower: changes per second that arrive at the
//! new end, beside `pg_recvlogical`, which reads the same log to nowhere.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::people::{OLD_TABLE, Reshape};
use super::programs;
use super::stage::{OLD, Stage};
use crate::bench::frame::{Measure, Plan, measure as figure};
use crate::shell::{self, Stopwatch};

/// Updates of single rows, and how many of them make a transaction.
const CHANGES: u64 = 200_000;
const PER_TRANSACTION: u64 = 10;
/// Longer than our program needs to come back to its slot.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// Changes per second. Both read every load, in turns first; the first load does not count.
pub(in crate::bench) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let stage = Stage::raise(Reshape::Rename, plan)?;
    let run = stage.start()?;
    stage.copied(&run)?;
    run.stop()?;
    programs::keep_log(&stage)?;
    let changes = CHANGES.min(stage.rows() - 1);
    let mut pairs = Vec::with_capacity(plan.runs);
    for round in 0..=plan.runs {
        let end = load(&stage, changes, round)?;
        stage.settle()?;
        let rate = |seconds: f64| changes as f64 / seconds;
        let peer = || programs::read_log(&stage, &end).map(|(time, _)| time.as_secs_f64());
        let pair = if round % 2 == 0 {
            let first = peer()?;
            (rate(ours(&stage, round)?), rate(first))
        } else {
            let first = ours(&stage, round)?;
            (rate(first), rate(peer()?))
        };
        pairs.push(pair);
    }
    ensure!(stage.ends_agree()?, "the ends differ");
    let name = "pg-follow.changes";
    Ok(vec![figure(name, "changes/s", &pairs[1..], |rate| *rate)])
}

/// Writes the load while nobody reads, with the row 1 last, and says where the log ends then.
fn load(stage: &Stage, changes: u64, round: usize) -> Result<String> {
    let mut app = stage.connect(OLD)?;
    app.batch_execute("set synchronous_commit = off")?;
    // A prime step: other rows of the table each time, none of them twice.
    app.batch_execute(&format!(
        "do $$ declare k bigint := 0; begin
           while k < {changes} loop
             update {OLD_TABLE} set balance = balance + 0.01, updated = now()
               where id = 2 + (k * 7919) % {others};
             k := k + 1;
             if k % {PER_TRANSACTION} = 0 then commit; end if;
           end loop;
         end $$",
        others = stage.rows() - 1,
    ))?;
    app.batch_execute("set synchronous_commit = on")?;
    app.batch_execute(&format!(
        "update {OLD_TABLE} set name = 'round {round}' where id = 1"
    ))?;
    let row = app.query_one("select pg_current_wal_flush_lsn()::text", &[])?;
    Ok(row.try_get(0)?)
}

/// Seconds from the moment our program has come back to its slot to the arrival of the last row.
fn ours(stage: &Stage, round: usize) -> Result<f64> {
    let mut old = stage.connect(OLD)?;
    let sql = "select coalesce(bool_or(active), false) from pg_replication_slots
        where slot_name like 'contraflow%' and database = $1";
    let active = old.prepare(sql)?;
    let run = stage.start()?;
    let watch = Stopwatch::start();
    while !old.query_one(&active, &[&OLD])?.get::<_, bool>(0) {
        ensure!(watch.read() < PATIENCE, "nobody reads the log");
        run.usage().context("contraflow has ended")?;
        shell::pause(LOOK);
    }
    let watch = Stopwatch::start();
    let condition = format!("id = 1 and full_name = 'round {round}'");
    let seconds = stage.arrives(&run, &condition, &watch)?;
    run.stop()?;
    Ok(seconds)
}
