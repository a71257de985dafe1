//! Turns that are asked for while more keys are written than anybody can keep in mind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use contraflow_core::code::Code;
use contraflow_core::error::Result;
use contraflow_core::gate::{Rule, Verdict};
use contraflow_core::lease::Epoch;
use contraflow_core::probe::Silent;
use contraflow_core::side::Side;
use contraflow_engine::context::Context;
use contraflow_engine::tasks::Stop;
use contraflow_engine::turn::{Kept, Turn};
use contraflow_engine::worker::Worker;

use super::compares::{copied, unguarded, watched};
use super::files::File;
use super::load::{OPERATIONS, context_mapped, expanded};

/// Rows whose keys are more than may wait: 40 MB, which are read in ranges of 4 MB.
const ROWS: usize = 400;
const OLD: &str = "create table people (id text primary key not null, name text not null,
    tag text, n integer not null);
    with recursive i(n) as (select 0 union all select n + 1 from i where n < {last})
    insert into people select format('%03d', n) || hex(zeroblob(50000)), 'a', null, n from i";
const NEW: &str = "create table contacts (id text primary key not null, label text not null,
    tag text, kind text not null)";

/// A change and its flow; `Stage::looked` is the same as a compare sees it.
struct Stage {
    old: File,
    new: File,
    context: Arc<Context>,
    worker: Worker,
    rows: usize,
}

impl Stage {
    fn new(rows: usize) -> Stage {
        let last = (rows - 1).to_string();
        let old = OLD.replace("{last}", &last);
        let (old, new) = (File::new(&old), File::new(NEW));
        let context = context_mapped(&old, &new, Arc::new(Silent), OPERATIONS, "id text");
        for side in Side::BOTH {
            expanded(&context, side);
        }
        let worker = copied(&context);
        Stage {
            old,
            new,
            context,
            worker,
            rows,
        }
    }

    /// Writes to those of the rows whose number leaves this rest, and waits for the mirror.
    fn writer(&self) -> impl Fn(usize, usize, usize) + Send + use<> {
        let ([old, new], rows) = ([&self.old, &self.new].map(File::connect), self.rows);
        move |time, rest, of| {
            let name = format!("{time}");
            let sql = format!("update people set name = '{name}' where n % {of} = {rest}");
            old.execute_batch(&sql).unwrap();
            // What is written last arrives last.
            let last = format!("{:03}", rows - of + rest);
            let sql = "select label from contacts where id > ? order by id limit 1";
            let mut there = new.prepare(sql).unwrap();
            while there.query_row([&last], |row| row.get(0)) != Ok(name.clone()) {
                std::thread::yield_now();
            }
        }
    }

    /// Judges a turn while this happens after each read of a side, told how many there were.
    fn judged(&self, side: Side, act: impl Fn(usize) + Send + 'static) -> Result<Vec<Verdict>> {
        let again = context_mapped(
            &self.old,
            &self.new,
            Arc::new(Silent),
            OPERATIONS,
            "id text",
        );
        let mut looked = Arc::into_inner(again).unwrap();
        let (reads, act) = (AtomicUsize::new(0), Mutex::new(act));
        let act = move || (act.lock().unwrap())(reads.fetch_add(1, Ordering::SeqCst));
        match side {
            Side::Old => looked.old = watched(looked.old, act),
            Side::New => looked.new = watched(looked.new, act),
        }
        let mut turn = Turn::new(&self.context, Side::Old, false, &self.worker).unwrap();
        let judged = turn.judge(
            &looked,
            Epoch::FIRST,
            &self.worker,
            &mut Kept::default(),
            &Stop::default(),
        );
        let (_, verdicts) = judged?;
        if verdicts.iter().all(|verdict| verdict.open) {
            turn.fence(&self.context, Epoch::FIRST).unwrap();
            turn.drain(&self.context, &self.worker).unwrap();
            turn.compare(&self.context, &self.worker, &Stop::default())
                .unwrap();
        }
        Ok(verdicts)
    }
}

fn closed(verdicts: &[Verdict]) -> Vec<(Rule, Option<u64>)> {
    let closed = verdicts.iter().filter(|verdict| !verdict.open);
    closed
        .map(|verdict| (verdict.rule, verdict.count))
        .collect()
}

#[test]
fn a_turn_is_judged_whatever_was_written_since_it_was_asked_for() {
    let stage = Stage::new(ROWS);
    let write = stage.writer();
    let judged = stage.judged(Side::Old, move |reads| {
        if reads < 2 {
            write(reads, 0, 1);
        }
    });
    assert_eq!(closed(&judged.unwrap()), []);
}

/// Ten keys at every read of the old end: in the end many more than may wait at a time.
#[test]
fn keys_that_are_written_all_along_are_compared_all_along() {
    let stage = Stage::new(2 * ROWS);
    let write = stage.writer();
    let judged = stage.judged(Side::Old, move |reads| write(reads, reads % 80, 80));
    assert_eq!(closed(&judged.unwrap()), []);
}

#[test]
fn what_was_proven_before_too_many_keys_were_written_is_proven_again() {
    let stage = Stage::new(ROWS);
    let (write, mirror) = (stage.writer(), unguarded(&stage.new));
    // The first range of the mirror has been read, and its first row is equal.
    let judged = stage.judged(Side::New, move |reads| {
        if reads == 0 {
            write(1, 0, 1);
            let spoil = "update contacts set label = 'spoilt' where id < '001'";
            assert_eq!(mirror.execute(spoil, []), Ok(1));
        }
    });
    assert_eq!(closed(&judged.unwrap()), [(Rule::Compare, Some(1))]);
}

#[test]
fn writers_that_outrun_every_pass_keep_a_turn_from_being_judged() {
    let stage = Stage::new(ROWS);
    let write = stage.writer();
    let refused = stage
        .judged(Side::Old, move |reads| write(reads, 0, 1))
        .unwrap_err();
    assert_eq!(refused.code, Code::COMPARE_UNPROVEN);
    assert!(refused.to_string().contains("faster"), "{refused}");
}
