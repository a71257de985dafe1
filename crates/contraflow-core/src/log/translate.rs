//! Where a reader of one log goes on in the other one.
//!
//! Both logs of a pair are one sequence of places. A reader that goes on at an offset of one log
//! has read everything before some place and nothing at or after it; where that place lies in the
//! other log, it goes on without a loss and without a double. What cannot be told exactly is a
//! [`Doubt`], never a guess.

use crate::error::Result;
use crate::side::Side;

use super::Place;

/// One partition of a log, to be looked at record by record. Only what readers of committed
/// records may see counts.
pub trait Look {
    /// Which offsets there are.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn bounds(&mut self) -> Result<Bounds>;

    /// The first record at or after an offset. What was written late is no part of the sequence:
    /// it is passed over.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn first_from(&mut self, offset: i64) -> Result<Option<Seen>>;

    /// The first offset whose record has this timestamp or a later one.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn first_since(&mut self, timestamp: i64) -> Result<Option<i64>>;

    /// What was written late, or is a copy of it, in the order of this log.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn late(&mut self) -> Result<Vec<Seen>>;

    /// Hands out every record, in order.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn each(&mut self, take: &mut dyn FnMut(&Seen)) -> Result<()>;

    /// The offset of the authority's log up to which this one holds everything: nothing that was
    /// carried is open still. `None` when nothing was ever carried, or something is open.
    ///
    /// # Errors
    /// When the end cannot be read.
    fn carried(&mut self) -> Result<Option<i64>>;
}

/// Which offsets a partition has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest one that is kept.
    pub start: i64,
    /// Everything before it is decided, and may be seen.
    pub visible: i64,
    /// The next one to be written.
    pub end: i64,
}

/// A record that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its offset in this log.
    pub offset: i64,
    /// Where it was written first.
    pub place: Place,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp: i64,
}

/// Where the sequence of a partition passes from one log to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The old log's own records lie before this offset of it.
    pub old_end: i64,
    /// The new log's own records lie at or after this offset of it.
    pub new_start: i64,
}

/// Why a place cannot be told exactly, or must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Records that the reader has read are not in the other log yet.
    NotCarried,
    /// Records that say where the reader stands are gone from its own log.
    Unknown,
    /// Records that the reader has not read yet are gone from the other log.
    Forgotten,
    /// The reader goes on behind the end of its log, which was cut or made anew.
    Beyond,
    /// Records that were written late lie elsewhere among the others there.
    Late,
}

impl Doubt {
    /// Whether a reader that goes on there all the same reads everything, some of it twice.
    #[must_use]
    pub fn only_doubles(self) -> bool {
        match self {
            Doubt::NotCarried | Doubt::Unknown | Doubt::Late => true,
            Doubt::Forgotten | Doubt::Beyond => false,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Doubt::NotCarried => "it has read records that were not carried yet",
            Doubt::Unknown => "the records that say where it stands are gone",
            Doubt::Forgotten => "records that it has not read yet are gone over there",
            Doubt::Beyond => "its offset lies behind the end of the topic",
            Doubt::Late => "what was written late lies between what it has read and what not",
        }
    }
}

/// Where a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The offset in the other log: never behind anything that was not read, unless there is a
    /// doubt that says so.
    pub offset: i64,
    /// `None` when nothing is lost and nothing comes twice.
    pub doubt: Option<Doubt>,
}

/// One partition of a pair, as somebody sees it who moves from one log to the other.
pub struct Crossing<'l> {
    /// The side of the log that is left.
    pub from: Side,
    /// The partition, on both sides.
    pub partition: i32,
    /// The log that is left.
    pub here: &'l mut dyn Look,
    /// The log that is gone to.
    pub there: &'l mut dyn Look,
    /// Where the change has flipped, if it has.
    pub flip: Option<Flip>,
}

/// What a reader has read: everything before the place, nothing at or after it.
struct Stand {
    /// `None` when nobody knows; it may be anywhere.
    place: Option<Place>,
    doubt: Option<Doubt>,
}

impl Stand {
    fn exact(place: Place) -> Stand {
        Stand {
            place: Some(place),
            doubt: None,
        }
    }

    fn unknown() -> Stand {
        Stand {
            place: None,
            doubt: Some(Doubt::Unknown),
        }
    }
}

impl Crossing<'_> {
    /// Where a reader that goes on at this offset here goes on there.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn translate(&mut self, next: i64) -> Result<Spot> {
        let bounds = self.here.bounds()?;
        if next > bounds.end {
            let offset = self.there.bounds()?.start;
            let doubt = Some(Doubt::Beyond);
            return Ok(Spot { offset, doubt });
        }
        let unread = self.here.first_from(next.max(bounds.start))?;
        let stand = self.stand(next, bounds, unread)?;
        let Some(place) = stand.place else {
            let bounds = self.there.bounds()?;
            let doubt = self.forgotten(bounds, unread)?.or(stand.doubt);
            let offset = bounds.start;
            return Ok(Spot { offset, doubt });
        };
        let spot = self.at(place, unread)?;
        let doubt = spot.doubt.or(stand.doubt);
        self.around_late(next, Spot { doubt, ..spot })
    }

    /// Moves a place so that no late record is lost, and none comes twice where that can be: late
    /// records and their copies lie where they came, not where the sequence would have them.
    fn around_late(&mut self, next: i64, spot: Spot) -> Result<Spot> {
        let there = self.there.late()?;
        if there.is_empty() {
            return Ok(spot);
        }
        let mut unread = self.here.late()?;
        unread.retain(|seen| seen.offset >= next);
        let is_unread = |late: &Seen| unread.iter().any(|unread| unread.place == late.place);
        let mut offset = spot.offset;
        for late in there.iter().filter(|late| late.offset >= spot.offset) {
            let other = self.there.first_from(offset)?;
            if is_unread(late) || other.is_some_and(|other| other.offset < late.offset) {
                break;
            }
            offset = late.offset + 1;
        }
        let passed = there
            .iter()
            .filter(|late| is_unread(late) && late.offset < offset);
        let passed = passed.map(|late| late.offset).min();
        let goes_on = passed.unwrap_or(offset);
        let first = self.there.first_from(goes_on)?;
        let again = |late: &Seen| late.offset >= goes_on && !is_unread(late);
        let twice = first.is_some_and(|first| first.offset < offset) || there.iter().any(again);
        Ok(Spot {
            offset: goes_on,
            doubt: spot.doubt.or(twice.then_some(Doubt::Late)),
        })
    }

    /// Where a reader goes on that has read nothing later than this, by timestamps alone: at the
    /// first record that is not earlier, less the largest step back that the log here has made.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn by_time(&mut self, next: i64) -> Result<(Spot, i64)> {
        let (mut latest, mut read, mut step) = (i64::MIN, i64::MIN, 0);
        self.here.each(&mut |seen| {
            step = step.max(latest.saturating_sub(seen.timestamp));
            latest = latest.max(seen.timestamp);
            if seen.offset < next {
                read = latest;
            }
        })?;
        let bounds = self.there.bounds()?;
        let offset = match read {
            i64::MIN => bounds.start,
            read => {
                let found = self.there.first_since(read.saturating_sub(step))?;
                found.unwrap_or(bounds.visible)
            }
        };
        Ok((
            Spot {
                offset,
                doubt: None,
            },
            step,
        ))
    }

    /// Whether an offset here lies where this log has records of its own, and no copies.
    fn is_own(&self, next: i64) -> bool {
        match (self.from, self.flip) {
            (Side::Old, None) => true,
            (Side::Old, Some(flip)) => next <= flip.old_end,
            (Side::New, None) => false,
            (Side::New, Some(flip)) => next >= flip.new_start,
        }
    }

    /// The side that has authority.
    fn authority(&self) -> Side {
        match self.flip {
            None => Side::Old,
            Some(_) => Side::New,
        }
    }

    fn stand(&mut self, next: i64, bounds: Bounds, unread: Option<Seen>) -> Result<Stand> {
        let place = |offset| Place::new(self.partition, self.from, offset);
        if self.is_own(next) {
            // A record of this log is known by its offset, whether or not it is still there.
            return Ok(Stand::exact(place(next)));
        }
        // Copies lie before or behind it: they say where they come from.
        if next == 0 {
            return Ok(Stand::exact(Place::new(self.partition, Side::Old, 0)));
        }
        if next < bounds.start {
            return Ok(Stand::unknown());
        }
        if let Some(unread) = unread {
            return Ok(Stand::exact(unread.place));
        }
        let last = self.last_before(next, bounds.start)?;
        if next > bounds.visible {
            // It reads what is not committed, and may have read what is open.
            let doubt = Some(Doubt::NotCarried);
            let place = last.map(|last| last.place.next());
            return Ok(Stand { place, doubt });
        }
        if let Some(last) = last {
            return Ok(Stand::exact(last.place.next()));
        }
        // It has read everything, and nothing of it is left. The flow knows how far that was, as
        // long as it adds nothing meanwhile.
        let authority = self.authority();
        let carried = self.here.carried()?;
        let still = bounds.visible == bounds.end && self.here.bounds()? == bounds;
        match carried {
            Some(carried) if still && authority != self.from => {
                Ok(Stand::exact(Place::new(self.partition, authority, carried)))
            }
            Some(_) | None => Ok(Stand::unknown()),
        }
    }

    /// The last record before an offset. Markers have no place: the step back doubles until a
    /// record is met, then its followers are looked at one by one.
    fn last_before(&mut self, next: i64, start: i64) -> Result<Option<Seen>> {
        let mut back = 1;
        loop {
            let from = (next - back).max(start);
            let mut last = None;
            let mut at = from;
            while let Some(seen) = self.here.first_from(at)? {
                if seen.offset >= next {
                    break;
                }
                last = Some(seen);
                at = seen.offset + 1;
            }
            if last.is_some() || from == start {
                return Ok(last);
            }
            back *= 2;
        }
    }

    /// The offset there before which everything lies before a place, and behind which nothing
    /// does. `unread` is the first record that is left to read here.
    fn at(&mut self, place: Place, unread: Option<Seen>) -> Result<Spot> {
        let bounds = self.there.bounds()?;
        if place.origin() != self.from {
            // A record of that log is known by its offset there.
            let doubt = if place.offset > bounds.end {
                Some(Doubt::Beyond)
            } else if place.offset < bounds.start {
                self.forgotten(bounds, unread)?
            } else {
                None
            };
            let offset = place.offset.max(bounds.start);
            return Ok(Spot { offset, doubt });
        }
        if let Some(offset) = self.search(place, bounds.start, bounds.visible)? {
            let first = self.there.first_from(bounds.start)?;
            let is_first = first.is_some_and(|first| first.offset == offset);
            let doubt = match is_first {
                true => self.forgotten(bounds, unread)?,
                false => None,
            };
            return Ok(Spot { offset, doubt });
        }
        let mut carried = None;
        if self.authority() == self.from {
            carried = self.there.carried()?;
            if carried.is_none_or(|carried| carried < place.offset) {
                let doubt = Some(Doubt::NotCarried);
                let offset = bounds.visible;
                return Ok(Spot { offset, doubt });
            }
        }
        // All of it was carried before this moment; what has come since lies behind the place.
        let visible = self.there.bounds()?.visible;
        let found = self.search(place, bounds.visible, visible)?;
        let comes = |unread: Seen| carried.is_some_and(|carried| unread.place.offset >= carried);
        let lost = found.is_none() && unread.is_some_and(|unread| !comes(unread));
        Ok(Spot {
            offset: found.unwrap_or(visible),
            doubt: lost.then_some(Doubt::Forgotten),
        })
    }

    /// The first offset from `low` on whose record does not lie before a place: places grow along
    /// a partition, so it is found by halves.
    fn search(&mut self, place: Place, mut low: i64, mut high: i64) -> Result<Option<i64>> {
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.there.first_from(middle)? {
                Some(seen) if seen.offset < high && seen.place < place => low = seen.offset + 1,
                Some(seen) if seen.place >= place => {
                    found = Some(seen.offset);
                    high = middle;
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(found)
    }

    /// Whether something that is still to be read here is gone there.
    fn forgotten(&mut self, bounds: Bounds, unread: Option<Seen>) -> Result<Option<Doubt>> {
        if bounds.start == 0 {
            return Ok(None);
        }
        let first = self.there.first_from(bounds.start)?;
        let lost = match (unread, first) {
            (None, _) => false,
            (Some(unread), Some(first)) => unread.place < first.place,
            // Copies that are there and not here yet lie behind what is unread.
            (Some(_), None) => true,
        };
        Ok(lost.then_some(Doubt::Forgotten))
    }
}

#[cfg(test)]
mod tests;
