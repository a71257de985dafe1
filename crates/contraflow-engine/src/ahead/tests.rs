use super::*;
use contraflow_core::record::{Event, Key, Op, Origin, PairId};
use contraflow_core::value::Value;

/// Hands out batches of one event, and fails after so many.
struct Short {
    left: u8,
    at: u8,
    confirmed: Sender<u8>,
}

fn place(at: u8) -> Position {
    Position::new([at])
}

impl Feed for Short {
    fn open(&mut self, _start: &Start) -> Result<()> {
        Ok(())
    }

    fn next(&mut self, _events_max: usize) -> Result<Batch> {
        if self.left == 0 {
            return Err(Error::new(Kind::Hold, Code::FEED_LOST, "it is gone"));
        }
        self.left -= 1;
        self.at += 1;
        let event = Event {
            pair: PairId(0),
            key: Key(vec![Value::Int(self.at.into())]),
            op: Op::Delete,
            image: None,
            position: place(self.at),
            origin: Origin::Application,
        };
        Ok(Batch {
            unreadable: Vec::new(),
            events: vec![event],
            through: place(self.at),
            seen: place(self.at),
        })
    }

    fn received(&self) -> Position {
        place(self.at)
    }

    fn confirm(&mut self, through: &Position) -> Result<()> {
        self.confirmed.send(through.as_bytes()[0]).ok();
        Ok(())
    }

    fn head(&mut self) -> Result<(Position, u64)> {
        Ok((place(self.at), 0))
    }
}

fn ahead(left: u8) -> (Ahead, Receiver<u8>) {
    let (confirmed, seen) = channel();
    let at = 0;
    let feed = Short {
        left,
        at,
        confirmed,
    };
    (
        Ahead::start("test", Box::new(feed), 10, || false).unwrap(),
        seen,
    )
}

/// The next batch that is not empty.
fn next(ahead: &mut Ahead) -> Result<u8> {
    loop {
        let batch = ahead.next(10)?;
        if let Some(event) = batch.events.first() {
            assert_eq!(batch.through, event.position);
            return Ok(batch.through.as_bytes()[0]);
        }
    }
}

#[test]
fn batches_come_in_order_and_what_waits_is_behind() {
    let (mut ahead, confirmed) = ahead(100);
    for n in 1..=50 {
        assert_eq!(next(&mut ahead).unwrap(), n);
        assert_eq!(ahead.received(), place(n));
        ahead.confirm(&place(n)).unwrap();
    }
    assert_eq!(confirmed.iter().take(50).last(), Some(50));
    // One waits, as soon as the reader has come so far, and no more are read.
    while ahead.head().unwrap().1 < 1 {}
    assert_eq!(ahead.head().unwrap(), (place(51), 1));
}

#[test]
fn a_feed_that_has_failed_says_so_whatever_is_asked() {
    for left in 0..=2 {
        let (mut ahead, _confirmed) = ahead(left);
        for n in 1..=left {
            assert_eq!(next(&mut ahead).unwrap(), n);
        }
        // Asked for as long as it answers; then the reason is told and nobody waits.
        let told = loop {
            if let Err(error) = ahead.head() {
                break error;
            }
        };
        assert_eq!(told.code, Code::FEED_LOST);
    }
}

#[test]
fn a_failure_comes_behind_what_was_received_before_it() {
    let (mut ahead, _confirmed) = ahead(5);
    for n in 1..=5 {
        assert_eq!(next(&mut ahead).unwrap(), n);
    }
    assert_eq!(next(&mut ahead).unwrap_err().code, Code::FEED_LOST);
}
