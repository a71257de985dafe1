//! Both logs of a change, as retention, transactions and a flip leave them: for every offset of
//! either, a reader that moves there reads the rest, once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const PARTITION: i32 = 3;

/// A partition with markers (`None`), as it was ever written.
#[derive(Clone, Default)]
struct Log {
    all: Vec<Option<Seen>>,
    start: i64,
    visible: i64,
    /// The checkpoint of the flow into it.
    carried: Option<i64>,
}

impl Log {
    fn end(&self) -> i64 {
        i64::try_from(self.all.len()).unwrap()
    }

    fn push(&mut self, place: Option<Place>, timestamp: i64) {
        let offset = self.end();
        let open = self.visible < offset;
        self.all.push(place.map(|place| Seen {
            offset,
            place,
            timestamp,
        }));
        if !open || place.is_none() {
            self.visible = self.end();
        }
    }

    fn records(&self) -> impl Iterator<Item = &Seen> {
        self.all.iter().flatten()
    }
}

impl Look for Log {
    fn bounds(&mut self) -> Result<Bounds> {
        Ok(Bounds {
            start: self.start,
            visible: self.visible,
            end: self.end(),
        })
    }

    fn first_from(&mut self, offset: i64) -> Result<Option<Seen>> {
        let from = offset.max(self.start);
        let mut seen = self.records().filter(|seen| !seen.place.is_late());
        let found = seen.find(|seen| seen.offset >= from && seen.offset < self.visible);
        Ok(found.copied())
    }

    fn late(&mut self) -> Result<Vec<Seen>> {
        let late = self.records().filter(|seen| seen.place.is_late());
        Ok(late.copied().collect())
    }

    fn first_since(&mut self, timestamp: i64) -> Result<Option<i64>> {
        let (start, visible) = (self.start, self.visible);
        let mut seen = self.records();
        let found = seen
            .find(|seen| (start..visible).contains(&seen.offset) && seen.timestamp >= timestamp);
        Ok(found.map(|seen| seen.offset))
    }

    fn each(&mut self, take: &mut dyn FnMut(&Seen)) -> Result<()> {
        let (start, visible) = (self.start, self.visible);
        let seen = self.records();
        seen.filter(|seen| (start..visible).contains(&seen.offset))
            .for_each(take);
        Ok(())
    }

    fn carried(&mut self) -> Result<Option<i64>> {
        Ok(self.carried)
    }
}

#[derive(Clone, Default)]
struct Pair {
    logs: [Log; 2],
    flip: Option<Flip>,
    time: i64,
}

const OLD: usize = 0;
const NEW: usize = 1;

impl Pair {
    fn authority(&self) -> (usize, Side) {
        match self.flip {
            None => (OLD, Side::Old),
            Some(_) => (NEW, Side::New),
        }
    }

    /// Carries what can be seen and was not carried, and then a marker.
    fn carry(&mut self, most: usize) {
        let (source, side) = self.authority();
        let from = self.logs[1 - source].carried.unwrap_or(match self.flip {
            None => 0,
            Some(flip) => flip.new_start,
        });
        let visible = self.logs[source].visible;
        let mut rest = (from..visible).filter_map(|offset| {
            let at = usize::try_from(offset).unwrap();
            self.logs[source].all[at]
        });
        let batch: Vec<Seen> = rest.by_ref().take(most).collect();
        let next = rest.next().map_or(visible, |seen| seen.offset);
        let mirror = &mut self.logs[1 - source];
        for seen in &batch {
            let place = Place::new(PARTITION, side, seen.offset);
            mirror.push(Some(place), seen.timestamp);
        }
        if !batch.is_empty() {
            mirror.push(None, 0);
        }
        mirror.carried = Some(next);
    }

    fn act(&mut self, (what, number): (u8, u8)) {
        let (at, side) = self.authority();
        match what {
            0..=2 => {
                // Times go back now and then.
                self.time += 10 - i64::from(number % 4) * 9;
                let place = Place::new(PARTITION, side, self.logs[at].end());
                self.logs[at].push(Some(place), self.time);
            }
            3 => {
                let log = &mut self.logs[at];
                let place = Place::new(PARTITION, side, log.end());
                let visible = log.visible;
                log.push(Some(place), self.time);
                log.visible = visible;
            }
            4 => self.logs[at].push(None, 0),
            5 | 6 => self.carry(usize::from(number)),
            7 => {
                let log = &mut self.logs[usize::from(number % 2)];
                let kept = self.flip.is_some() || log.carried.is_some() || number % 3 == 0;
                let through = match (kept, number % 2) {
                    // What was not carried must not go: the change would be held.
                    (_, 0) if self.flip.is_none() => self.logs[NEW].carried.unwrap_or(0),
                    (_, 1) if self.flip.is_some() => self.logs[OLD]
                        .carried
                        .unwrap_or(self.flip.unwrap().new_start),
                    _ => log.visible,
                };
                let log = &mut self.logs[usize::from(number % 2)];
                log.start = (log.start + i64::from(number / 2))
                    .min(through)
                    .max(log.start);
            }
            _ if self.flip.is_none() && self.logs[OLD].visible == self.logs[OLD].end() => {
                self.carry(usize::MAX);
                self.flip = Some(Flip {
                    old_end: self.logs[OLD].end(),
                    new_start: self.logs[NEW].end(),
                });
                self.logs[OLD].carried = Some(self.logs[NEW].end());
            }
            _ => {}
        }
    }

    fn crossing(&mut self, from: Side) -> Crossing<'_> {
        let flip = self.flip;
        let [old, new] = &mut self.logs;
        let (here, there) = match from {
            Side::Old => (old, new),
            Side::New => (new, old),
        };
        Crossing {
            from,
            partition: PARTITION,
            here,
            there,
            flip,
        }
    }

    /// What a reader has read that goes on at an offset, and what there is in all.
    fn read(&self, from: Side, next: i64) -> (BTreeSet<Place>, BTreeSet<Place>) {
        let log = &self.logs[usize::from(from == Side::New)];
        let read = log.records().filter(|seen| seen.offset < next);
        let all = self.logs.iter().flat_map(Log::records);
        (
            read.map(|seen| seen.place).collect(),
            all.map(|seen| seen.place).collect(),
        )
    }

    /// A reader that goes on at `offset` at the other side loses nothing.
    fn loses_nothing(&self, from: Side, next: i64, offset: i64) -> bool {
        let (here, there) = match from {
            Side::Old => (&self.logs[OLD], &self.logs[NEW]),
            Side::New => (&self.logs[NEW], &self.logs[OLD]),
        };
        let (read, all) = self.read(from, next);
        all.difference(&read).all(|place| {
            let at = |log: &Log| {
                let mut seen = log.records();
                seen.find(|seen| seen.place == *place)
                    .map(|s| (s.offset, s.offset >= log.start))
            };
            match (at(there), at(here)) {
                // It comes later.
                (None, _) => true,
                // Nobody can read it any more.
                (Some((_, false)), None | Some((_, false))) => true,
                (Some((at, kept)), _) => at >= offset && kept,
            }
        })
    }

    /// Nor does anything come twice.
    fn doubles_nothing(&self, from: Side, next: i64, offset: i64) -> bool {
        let there = &self.logs[usize::from(from == Side::Old)];
        let (read, _) = self.read(from, next);
        let before = there.records().filter(|seen| seen.offset < offset);
        let before: BTreeSet<Place> = before.map(|seen| seen.place).collect();
        read.is_subset(&before)
    }
}

fn lives() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..9, 0u8..12), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_offset_of_both_logs_is_translated(life in lives()) {
        let mut pair = Pair::default();
        life.into_iter().for_each(|act| pair.act(act));
        for from in Side::BOTH {
            let end = pair.logs[usize::from(from == Side::New)].end();
            for next in 0..=end {
                let spot = pair.crossing(from).translate(next).unwrap();
                let Spot { offset, doubt } = spot;
                if doubt.is_none_or(Doubt::only_doubles) {
                    prop_assert!(pair.loses_nothing(from, next, offset), "{from} {next} {spot:?}");
                }
                if doubt.is_none() {
                    prop_assert!(pair.doubles_nothing(from, next, offset), "{from} {next} {spot:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_doubted_without_need(life in lives()) {
        let mut pair = Pair::default();
        // Nothing is forgotten, nothing stays open, everything is carried.
        life.into_iter().filter(|act| act.0 != 7).for_each(|act| pair.act(act));
        pair.act((4, 0));
        pair.carry(usize::MAX);
        for from in Side::BOTH {
            let end = pair.logs[usize::from(from == Side::New)].end();
            for next in 0..=end {
                prop_assert_eq!(pair.crossing(from).translate(next).unwrap().doubt, None);
            }
        }
    }

    #[test]
    fn a_time_is_never_too_far(life in lives()) {
        let mut pair = Pair::default();
        life.into_iter().filter(|act| act.0 != 7).for_each(|act| pair.act(act));
        pair.act((4, 0));
        for from in Side::BOTH {
            let end = pair.logs[usize::from(from == Side::New)].end();
            for next in 0..=end {
                let (spot, _) = pair.crossing(from).by_time(next).unwrap();
                prop_assert!(pair.loses_nothing(from, next, spot.offset), "{from} {next} {spot:?}");
            }
        }
    }
}

/// A partition that retention has emptied: the flow knows how far its readers have come.
#[test]
fn a_reader_of_an_emptied_mirror_goes_on_where_the_flow_stands() {
    let mut pair = Pair::default();
    for act in [(0, 0), (0, 0), (8, 0), (0, 0), (0, 0), (5, 11)] {
        pair.act(act);
    }
    let end = pair.logs[OLD].end();
    pair.logs[OLD].start = end;
    let spot = pair.crossing(Side::Old).translate(end).unwrap();
    assert_eq!((spot.offset, spot.doubt), (pair.logs[NEW].end(), None));
    // Unless the flow has something open.
    pair.logs[OLD].carried = None;
    let spot = pair.crossing(Side::Old).translate(end).unwrap();
    assert_eq!(spot.doubt, Some(Doubt::Unknown));
}

#[test]
fn doubts_say_what_would_be_lost() {
    let mut pair = Pair::default();
    for _ in 0..6 {
        pair.act((0, 0));
    }
    // Two of six are carried: whoever read four would read two again.
    pair.carry(2);
    let spot = pair.crossing(Side::Old).translate(4).unwrap();
    assert_eq!((spot.offset, spot.doubt), (3, Some(Doubt::NotCarried)));
    pair.carry(usize::MAX);
    assert_eq!(pair.crossing(Side::Old).translate(4).unwrap().doubt, None);
    // The new log has forgotten what is unread.
    pair.logs[NEW].start = pair.logs[NEW].end();
    let spot = pair.crossing(Side::Old).translate(4).unwrap();
    assert_eq!(spot.doubt, Some(Doubt::Forgotten));
    let spot = pair.crossing(Side::Old).translate(99).unwrap();
    assert_eq!(spot.doubt, Some(Doubt::Beyond));
}

/// Records of the old log, a flip, records of the new one, and late ones on either side of them:
/// whoever moves loses none, and reads one twice only where that is said.
#[test]
fn late_records_are_neither_lost_nor_doubled_in_silence() {
    let (mut old, mut new) = (Log::default(), Log::default());
    let native = |side, offset| Some(Place::new(PARTITION, side, offset));
    let late = |offset| Some(Place::late(PARTITION, offset));
    // Old: o0 o1 | n2 L3 n3 L5 n5; new: o0 o1 | n2 n3 L3 n5 L5.
    for place in [
        native(Side::Old, 0),
        native(Side::Old, 1),
        native(Side::New, 2),
    ] {
        old.push(place, 0);
    }
    old.push(late(3), 0);
    old.push(native(Side::New, 3), 0);
    old.push(late(5), 0);
    old.push(native(Side::New, 5), 0);
    for place in [
        native(Side::Old, 0),
        native(Side::Old, 1),
        native(Side::New, 2),
    ] {
        new.push(place, 0);
    }
    new.push(native(Side::New, 3), 0);
    new.push(late(3), 0);
    new.push(native(Side::New, 5), 0);
    new.push(late(5), 0);
    let flip = Some(Flip {
        old_end: 2,
        new_start: 2,
    });
    for (from, here, there) in [(Side::Old, &old, &new), (Side::New, &new, &old)] {
        for next in 0..=here.end() {
            let (mut left, mut gone_to) = (here.clone(), there.clone());
            (left.carried, gone_to.carried) = (Some(6), Some(6));
            let mut crossing = Crossing {
                from,
                partition: PARTITION,
                here: &mut left,
                there: &mut gone_to,
                flip,
            };
            let spot = crossing.translate(next).unwrap();
            let read: Vec<Place> = here
                .records()
                .filter(|seen| seen.offset < next)
                .map(|seen| seen.place)
                .collect();
            let left: Vec<Place> = there
                .records()
                .filter(|seen| seen.offset >= spot.offset)
                .map(|seen| seen.place)
                .collect();
            for seen in here.records() {
                let known = read.contains(&seen.place) || left.contains(&seen.place);
                assert!(known, "{from} {next}: {seen:?} is lost");
            }
            let twice = read.iter().any(|place| left.contains(place));
            assert_eq!(twice, spot.doubt == Some(Doubt::Late), "{from} {next}");
        }
    }
}
