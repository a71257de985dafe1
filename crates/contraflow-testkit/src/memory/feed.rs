//! The feed: the log in order, each key of a batch once.

use contraflow_core::code::Code;
use contraflow_core::end::{Feed, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::position::Position;
use contraflow_core::record::{Batch, Event, Op};

use super::order::Order;
use super::state::{Book, Entry, State};
use super::{Face, Style, position, sequence};

pub(super) struct LogFeed {
    face: Face,
    received: Option<u64>,
}

impl LogFeed {
    pub(super) fn new(face: Face) -> LogFeed {
        LogFeed {
            face,
            received: None,
        }
    }

    fn at(&self) -> Result<u64> {
        self.received.ok_or_else(|| {
            let message = "a feed was used before it was opened";
            Error::new(Kind::Internal, Code::INTERNAL, message)
        })
    }
}

impl Feed for LogFeed {
    fn open(&mut self, start: &Start) -> Result<()> {
        let state = self.face.memory.lock();
        let book = book(&state)?;
        let received = match start {
            Start::Earliest | Start::NotBefore(None) => book.pruned,
            Start::After(position) => sequence(position),
            Start::NotBefore(Some(position)) => sequence(position).max(book.pruned),
        };
        if received < book.pruned || received > book.head {
            return Err(lost());
        }
        drop(state);
        self.received = Some(received);
        Ok(())
    }

    fn next(&mut self, events_max: usize) -> Result<Batch> {
        let after = self.at()?;
        let state = self.face.memory.lock();
        let book = book(&state)?;
        if after < book.pruned || after > book.head {
            return Err(lost());
        }
        let mut taken: Vec<&Entry> = Vec::new();
        let mut whole = 0;
        for entry in book.log.iter().filter(|entry| entry.sequence > after) {
            if taken.len() >= events_max.max(1) {
                break;
            }
            taken.push(entry);
            if entry.ends {
                whole = taken.len();
            }
        }
        if whole > 0 {
            taken.truncate(whole);
        }
        let through = taken.last().map_or(after, |entry| entry.sequence);
        let mut events = collapsed(&taken);
        let mut seen = through;
        if self.face.memory.style == Style::Journal {
            read_again(&state, book, &mut events);
            seen = book.head;
        }
        drop(state);
        self.received = Some(through);
        Ok(Batch {
            unreadable: Vec::new(),
            events,
            through: position(through),
            seen: position(seen),
        })
    }

    fn received(&self) -> Position {
        position(self.received.unwrap_or(0))
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        let mut state = self.face.memory.lock();
        let Some(book) = state.book.as_mut() else {
            return Ok(());
        };
        let through = sequence(through).min(book.head);
        book.log.retain(|entry| entry.sequence > through);
        book.pruned = book.pruned.max(through);
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        let at = self.at()?;
        let state = self.face.memory.lock();
        let head = book(&state)?.head;
        Ok((position(head), head.saturating_sub(at)))
    }
}

/// Each key once, with its last image; a key that was deleted on the way is a replacement.
fn collapsed(entries: &[&Entry]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::with_capacity(entries.len());
    for entry in entries {
        let same = |event: &Event| event.pair == entry.pair && event.key == entry.key;
        let Some(event) = events.iter_mut().find(|event| same(event)) else {
            events.push(Event {
                pair: entry.pair,
                key: entry.key.clone(),
                op: entry.op,
                image: entry.image.clone(),
                position: position(entry.sequence),
                origin: entry.origin,
            });
            continue;
        };
        event.op = match (event.op, entry.op) {
            (_, Op::Delete) => Op::Delete,
            (Op::Put, Op::Put) => Op::Put,
            (Op::Delete | Op::Replace, Op::Put) | (_, Op::Replace) => Op::Replace,
        };
        event.image.clone_from(&entry.image);
        event.position = position(entry.sequence);
        event.origin = entry.origin;
    }
    events
}

/// Gives every event its row as it is now.
fn read_again(state: &State, book: &Book, events: &mut [Event]) {
    for event in events {
        let name = &book.tables[usize::from(event.pair.0)];
        let rows = &state.tables[name].durable;
        let deleted = event.op != Op::Put;
        event.image = rows.get(&Order::of(&event.key.0)).cloned();
        event.op = match (&event.image, deleted) {
            (None, _) => Op::Delete,
            (Some(_), true) => Op::Replace,
            (Some(_), false) => Op::Put,
        };
    }
}

fn book(state: &State) -> Result<&Book> {
    state.book.as_ref().ok_or_else(lost)
}

fn lost() -> Error {
    Error::new(
        Kind::Hold,
        Code::FEED_LOST,
        "the log of the end lost its place",
    )
}
