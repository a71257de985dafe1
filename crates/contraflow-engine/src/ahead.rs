//! A feed that a thread of its own reads, a little ahead of the flow: while a batch is applied the
//! next ones are received and decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::Batch;

use crate::gather::Gather;
use crate::tasks::{Stop, TaskSet};

/// Batches that wait for the flow at most. What comes while it is busy is better one larger batch
/// than several small ones, each of which somebody waits for.
const AHEAD: usize = 1;
/// How long an empty feed is left alone.
const IDLE: Duration = Duration::from_millis(1);
/// How long events are left to gather, while nobody waits for them: what the mirror is behind.
const REST: Duration = Duration::from_millis(100);
/// How long the flow waits for a batch.
const WAIT: Duration = Duration::from_millis(1);
/// How often an end hears of us while the flow is busy for long: it may give up who is silent.
const TOUCH_EVERY: Duration = Duration::from_secs(5);

/// The flow's side of a feed that is read ahead.
pub(crate) struct Ahead {
    batches: Receiver<Result<Batch>>,
    asks: Sender<Ask>,
    shared: Arc<Shared>,
    /// Handed out by [`Feed::next`].
    received: Position,
    /// Joined when dropped.
    _reader: TaskSet,
}

/// What both sides look at.
struct Shared {
    /// How many events the next batch should have at most.
    events_max: AtomicUsize,
    /// Events that were received and wait for the flow.
    waiting: AtomicU64,
}

/// What the flow asks of the reader.
enum Ask {
    /// A batch was taken.
    Taken,
    Confirm(Position),
    Head(SyncSender<Result<(Position, u64)>>),
}

impl Ahead {
    /// Reads an open feed from where it is, at first in batches of at most so many events, and
    /// without a rest while `waits` says that somebody waits for them.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(
        name: &str,
        feed: Box<dyn Feed>,
        events_max: usize,
        waits: impl Fn() -> bool + Send + 'static,
    ) -> Result<Ahead> {
        // With room for why the reader ends.
        let (out, batches) = sync_channel(AHEAD + 1);
        let (asks, asked) = channel();
        let shared = Arc::new(Shared {
            events_max: AtomicUsize::new(events_max),
            waiting: AtomicU64::new(0),
        });
        let received = feed.received();
        let mut reader = Reader {
            confirmed: received.clone(),
            ahead: 0,
            feed,
            out,
            asked,
            shared: Arc::clone(&shared),
            waits: Box::new(waits),
            gather: Gather::resting(REST),
        };
        let mut tasks = TaskSet::new(Stop::default());
        tasks.spawn(name, move |stop| {
            if let Err(error) = reader.read(stop) {
                // Behind what was received before it. The flow may be gone.
                drop(reader.out.send(Err(error)));
            }
        })?;
        Ok(Ahead {
            batches,
            asks,
            shared,
            received,
            _reader: tasks,
        })
    }

    /// Why the reader has ended. What it had received is of no use any more.
    fn failure(&mut self) -> Error {
        let mut results = self.batches.iter();
        let failure = results.find_map(Result::err);
        failure.unwrap_or_else(|| {
            let message = "the reader of the feed has ended";
            Error::new(Kind::Internal, Code::INTERNAL, message)
        })
    }
}

impl Feed for Ahead {
    fn open(&mut self, _start: &Start) -> Result<()> {
        let message = "a feed that is read ahead is open";
        Err(Error::new(Kind::Internal, Code::INTERNAL, message))
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        self.shared.events_max.store(events_max, Ordering::Relaxed);
        if let Ok(result) = self.batches.recv_timeout(WAIT) {
            let batch = result?;
            let count = batch.events.len() as u64;
            self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
            // A reader that has ended says so at the next call.
            drop(self.asks.send(Ask::Taken));
            self.received = batch.through.clone();
            return Ok(batch);
        }
        Ok(Batch {
            unreadable: Vec::new(),
            events: Vec::new(),
            through: self.received.clone(),
            seen: self.received.clone(),
        })
    }

    fn received(&self) -> Position {
        self.received.clone()
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        let asked = self.asks.send(Ask::Confirm(through.clone()));
        asked.map_err(|_| self.failure())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let (reply, answer) = sync_channel(1);
        let asked = self.asks.send(Ask::Head(reply));
        let answer = asked.ok().and_then(|()| answer.recv().ok());
        let (head, events) = answer.unwrap_or_else(|| Err(self.failure()))?;
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        Ok((head, events + waiting))
    }
}

/// The thread's side.
struct Reader {
    feed: Box<dyn Feed>,
    confirmed: Position,
    /// Batches that nobody has taken yet.
    ahead: usize,
    out: SyncSender<Result<Batch>>,
    asked: Receiver<Ask>,
    shared: Arc<Shared>,
    /// Whether somebody waits for what is received.
    waits: Box<dyn Fn() -> bool + Send>,
    gather: Gather,
}

impl Reader {
    /// Reads until asked to stop or until the flow is gone.
    fn read(&mut self, stop: &Stop) -> Result<()> {
        while !stop.asked() {
            while let Ok(ask) = self.asked.try_recv() {
                self.answer(ask)?;
            }
            if self.ahead >= AHEAD {
                self.wait(TOUCH_EVERY)?;
                continue;
            }
            let before = self.feed.received();
            let events_max = self.shared.events_max.load(Ordering::Relaxed);
            let batch = self.feed.next(events_max)?;
            let count = batch.events.len() as u64;
            let moved = batch.through != before;
            if moved {
                self.shared.waiting.fetch_add(count, Ordering::Relaxed);
                self.ahead += 1;
                if self.out.send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            if !(self.waits)() {
                let _: bool = stop.wait(self.gather.after(count));
            } else if !moved {
                self.wait(IDLE)?;
            }
        }
        Ok(())
    }

    /// Waits for the flow to ask for something, and lets the end hear of us when it has not for
    /// long.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        match self.asked.recv_timeout(limit) {
            Ok(ask) => self.answer(ask),
            Err(RecvTimeoutError::Timeout) if limit >= TOUCH_EVERY => {
                self.feed.confirm(&self.confirmed)
            }
            Err(_) => Ok(()),
        }
    }

    fn answer(&mut self, ask: Ask) -> Result<()> {
        match ask {
            Ask::Taken => self.ahead -= 1,
            Ask::Confirm(through) => {
                self.feed.confirm(&through)?;
                self.confirmed = through;
            }
            // Whoever asked may have stopped waiting.
            Ask::Head(reply) => drop(reply.send(self.feed.head())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
