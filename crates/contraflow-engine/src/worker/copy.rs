//! History that is read in ranges, beside the flow that carries it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use contraflow_core::end::Range;
use contraflow_core::error::Result;
use contraflow_core::phase::History;
use contraflow_core::record::{PairId, Record};

use super::IDLE;
use crate::backfill::{self, Read, Size, Work};
use crate::context::Context;
use crate::flow::Flow;
use crate::tasks::{Stop, TaskSet};

/// Pairs that are read at the same time.
const READERS: usize = 2;
/// Ranges read ahead of the flow.
const READ_AHEAD: usize = 2;

/// The readers of history, while there are any.
pub(super) struct Copy {
    reads: Option<Receiver<Result<Read>>>,
    /// Rows that were carried go back to the readers, which allocated them: freeing the memory of
    /// another thread costs several times as much, and the flow is what everybody waits for.
    spent: Option<SyncSender<Vec<Record>>>,
    pairs_left: Vec<PairId>,
    /// Joined when dropped, after `reads`: a reader that waits to hand over is woken first.
    _readers: TaskSet,
}

impl Copy {
    pub(super) fn start(
        context: &Arc<Context>,
        flow: &Flow,
        history: bool,
        size: &Arc<Size>,
    ) -> Result<Copy> {
        let ranges = context.mode.rules().history == History::Ranges;
        let is_left = |(pair, last): &(PairId, Option<Range>)| {
            let done = last.as_ref().is_some_and(|range| range.through.is_none());
            history && ranges && !done && context.pair(*pair).history.copies()
        };
        let mut left = flow.resumed_chunks().to_vec();
        left.retain(is_left);
        let pairs_left: Vec<PairId> = left.iter().map(|(pair, _)| *pair).collect();
        let mut readers = TaskSet::new(Stop::default());
        if pairs_left.is_empty() {
            return Ok(Copy {
                reads: None,
                spent: None,
                pairs_left,
                _readers: readers,
            });
        }
        let (out, reads) = sync_channel(READ_AHEAD);
        let (spent, given_back) = sync_channel(READ_AHEAD);
        let work = Arc::new(Work::new(left, Arc::clone(size), given_back));
        for n in 1..=pairs_left.len().min(READERS) {
            let (context, direction) = (Arc::clone(context), flow.direction());
            let (windows, work) = (Arc::clone(flow.windows()), Arc::clone(&work));
            let out = out.clone();
            readers.spawn(&format!("backfill-{n}"), move |stop| {
                let read = backfill::read(&context, direction, &windows, &work, &out, stop);
                if let Err(error) = read {
                    // The flow may have ended already; then nobody needs to know.
                    drop(out.send(Err(error)));
                }
            })?;
        }
        Ok(Copy {
            reads: Some(reads),
            spent: Some(spent),
            pairs_left,
            _readers: readers,
        })
    }

    /// Takes what was read, waiting for it at most this long. Says whether there was something.
    pub(super) fn offer_to(&mut self, flow: &mut Flow, wait: Duration) -> Result<bool> {
        let Some(reads) = &self.reads else {
            return Ok(false);
        };
        if flow.waiting() >= READ_AHEAD {
            return Ok(false);
        }
        match reads.recv_timeout(wait) {
            Ok(read) => {
                let Read { window, rows } = read?;
                flow.offer(window, rows);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                self.reads = None;
                Ok(false)
            }
        }
    }

    pub(super) fn give_back(&self, rows: Vec<Record>) {
        if let Some(spent) = &self.spent {
            // A reader that has no time or has ended leaves freeing them to us.
            drop(spent.try_send(rows));
        }
    }

    pub(super) fn done(&mut self, range: &Range) {
        if range.through.is_none() {
            self.pairs_left.retain(|pair| *pair != range.pair);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.pairs_left.is_empty()
    }

    /// Waits a moment when there is no reader whose rows would be waited for.
    pub(super) fn rest(&self, stop: &Stop) {
        if self.reads.is_none() && stop.wait(IDLE) {}
    }
}
