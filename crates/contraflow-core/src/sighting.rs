//! What was seen of the readers of the old logs, look by look: who stands in the way of taking
//! them down, and since when nobody does.
//!
//! Time in which nobody looked proves nothing, so it does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::change::consumers::Consumer;
use crate::change::quantity::show_duration;
use crate::end::{Group, Next, User};

/// How long may pass between two looks before the time between them counts as unwatched.
pub const UNWATCHED: Duration = Duration::from_secs(60);
/// A reader that was not seen for so long is forgotten: longer than any agreed time.
const FORGOTTEN: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sightings {
    /// Since when the logs are watched, in milliseconds since 1970, later by all the time in which
    /// they were not.
    pub since_ms: u64,
    /// The newest look; 0 before the first one.
    pub looked_ms: u64,
    /// Readers, by name.
    pub groups: BTreeMap<String, Sighting>,
}

/// What was seen of one reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The newest look that found members or another committed offset; 0 when none did.
    pub active_ms: u64,
    /// The newest look that found members.
    pub members_ms: Option<u64>,
    /// The newest look that found another committed offset than the one before.
    pub committed_ms: Option<u64>,
    /// When that was, whether or not somebody looked all the time since; `None` when it was so at
    /// the first look already.
    pub committed_at_ms: Option<u64>,
    /// The newest look that found it stopped before the end, with nothing said of the new log.
    pub behind_ms: Option<u64>,
    /// The newest look that found another offset committed in the new log.
    pub moved_ms: Option<u64>,
    /// What the newest look found.
    pub now: Now,
    next: Vec<Next>,
    next_new: Vec<Next>,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Now {
    /// So many members read the old log.
    Members(usize),
    /// It has so many members, and what they read is not shown.
    Unknown(usize),
    /// It reads the old log, or has, and whether it has members is not shown.
    Hidden,
    /// Nobody is there, and so many records are left, markers included.
    Behind(u64),
    /// Nobody is there, and nothing is left.
    Idle,
}

/// Somebody said that a reader has moved. It counts until the reader is seen again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where it went on in the old log at that time.
    pub next: Vec<Next>,
}

/// Marks, by the names of readers.
pub type Marks = BTreeMap<String, Mark>;

/// What people say of readers.
#[derive(Clone, Copy, Debug)]
pub struct Said<'s> {
    /// Who was said to have moved.
    pub marks: &'s Marks,
    /// Who was declared.
    pub declared: &'s [Consumer],
    /// For how long nobody must have read.
    pub gone: Duration,
}

impl Sightings {
    /// Takes in what a look has found at both logs.
    pub fn look(&mut self, now_ms: u64, old: &[Group], new: &[Group]) {
        self.skip_unwatched(now_ms);
        for group in old {
            let on_new = new.iter().find(|other| other.name == group.name);
            let sighting = self.groups.entry(group.name.clone()).or_default();
            sighting.look(now_ms, group, on_new);
        }
        for group in new {
            if old.iter().any(|other| other.name == group.name) {
                continue;
            }
            // It reads the new log only: it has moved.
            let sighting = self.groups.entry(group.name.clone()).or_default();
            sighting.leave();
            sighting.look_at_new(now_ms, Some(group));
        }
        let there = |name: &String| {
            let both = old.iter().chain(new);
            both.into_iter().any(|group| group.name == *name)
        };
        let forgotten_ms = millis(FORGOTTEN);
        self.groups.retain(|name, sighting| {
            if !there(name) {
                sighting.leave();
            }
            there(name) || now_ms.saturating_sub(sighting.last_ms()) < forgotten_ms
        });
        self.looked_ms = now_ms;
    }

    /// Time in which nobody looked moves everything that was seen before towards now.
    fn skip_unwatched(&mut self, now_ms: u64) {
        if self.looked_ms == 0 {
            self.since_ms = now_ms;
            return;
        }
        let between = now_ms.saturating_sub(self.looked_ms);
        if between <= millis(UNWATCHED) {
            return;
        }
        self.since_ms += between;
        for sighting in self.groups.values_mut() {
            sighting.active_ms += between;
            let times = [
                &mut sighting.members_ms,
                &mut sighting.committed_ms,
                &mut sighting.behind_ms,
                &mut sighting.moved_ms,
            ];
            for ms in times.into_iter().flatten() {
                *ms += between;
            }
        }
    }

    /// Everybody who stands in the way, and why, at this moment.
    #[must_use]
    pub fn in_the_way(&self, now_ms: u64, said: Said<'_>) -> Vec<User> {
        let mut users = Vec::new();
        for (name, sighting) in &self.groups {
            if said
                .marks
                .get(name)
                .is_some_and(|mark| sighting.is_marked(mark))
            {
                continue;
            }
            if let Some(seen) = sighting.stands(now_ms, said.gone) {
                let who = format!("group {name}");
                users.push(User { who, seen });
            }
        }
        for consumer in said.declared {
            let name = &consumer.group;
            if !self.groups.contains_key(name) && !said.marks.contains_key(name) {
                let who = format!("group {name}");
                let seen = "declared and never seen; say so when it has moved".to_owned();
                users.push(User { who, seen });
            }
        }
        let watched = Duration::from_millis(now_ms.saturating_sub(self.since_ms));
        if watched < said.gone {
            users.push(User {
                who: "whoever reads now and then".to_owned(),
                seen: format!(
                    "watched for {} of {}",
                    show(watched),
                    show_duration(said.gone)
                ),
            });
        }
        users
    }

    /// Whether a group still has to move: whoever was not seen has to.
    #[must_use]
    pub fn is_left(&self, name: &str, marks: &Marks) -> bool {
        let mark = marks.get(name);
        match self.groups.get(name) {
            None => mark.is_none(),
            Some(sighting) => {
                !mark.is_some_and(|mark| sighting.is_marked(mark)) && !sighting.has_moved()
            }
        }
    }
}

impl Default for Sighting {
    fn default() -> Sighting {
        Sighting {
            active_ms: 0,
            members_ms: None,
            committed_ms: None,
            committed_at_ms: None,
            behind_ms: None,
            moved_ms: None,
            now: Now::Idle,
            next: Vec::new(),
            next_new: Vec::new(),
        }
    }
}

impl Sighting {
    fn look(&mut self, now_ms: u64, group: &Group, on_new: Option<&Group>) {
        self.look_at_new(now_ms, on_new);
        if self.next != group.next {
            self.next.clone_from(&group.next);
            self.committed_at_ms = (self.active_ms > 0).then_some(now_ms);
            self.committed_ms = Some(now_ms);
            self.active_ms = now_ms;
        }
        self.now = match (group.members, group.is_known) {
            (0, false) => Now::Hidden,
            (0, true) if group.behind > 0 => Now::Behind(group.behind),
            (0, true) => Now::Idle,
            (members, true) => Now::Members(members),
            (members, false) => Now::Unknown(members),
        };
        match self.now {
            // A stranger that shares out its partitions right now has not read because of that.
            Now::Unknown(_) if self.next.is_empty() => {}
            Now::Members(_) | Now::Unknown(_) => {
                self.active_ms = now_ms;
                self.members_ms = Some(now_ms);
            }
            Now::Behind(_) if !self.has_moved() => self.behind_ms = Some(now_ms),
            Now::Hidden | Now::Behind(_) | Now::Idle => {}
        }
    }

    fn look_at_new(&mut self, now_ms: u64, on_new: Option<&Group>) {
        let next = on_new.map_or(&[][..], |group| &group.next);
        if self.next_new != next {
            self.next_new = next.to_vec();
            self.moved_ms = (!next.is_empty()).then_some(now_ms);
        }
    }

    /// It is not at the old log any more.
    fn leave(&mut self) {
        self.now = Now::Idle;
        self.next.clear();
    }

    /// It was said to have moved, and was not seen since.
    fn is_marked(&self, mark: &Mark) -> bool {
        let stayed = self.next.is_empty() || self.next == mark.next;
        stayed && self.members_ms.is_none_or(|ms| ms <= mark.at_ms)
    }

    /// It has said later of the new log than of the old one where it goes on, for every partition.
    fn has_moved(&self) -> bool {
        let covered = |next: &Next| {
            let mut new = self.next_new.iter();
            new.any(|new| (new.pair, new.partition) == (next.pair, next.partition))
        };
        let reads = matches!(self.now, Now::Members(_) | Now::Unknown(_));
        let later = self.moved_ms > self.committed_ms;
        !reads && later && self.next.iter().all(covered)
    }

    fn last_ms(&self) -> u64 {
        self.active_ms.max(self.behind_ms.unwrap_or(0))
    }

    /// Why it stands in the way, if it does.
    fn stands(&self, now_ms: u64, gone: Duration) -> Option<String> {
        match self.now {
            Now::Members(members) => {
                let s = if members == 1 { "" } else { "s" };
                return Some(format!("{members} member{s} now"));
            }
            Now::Unknown(members) => {
                return Some(format!(
                    "{members} members now; what they read is not shown"
                ));
            }
            Now::Hidden if !self.has_moved() => {
                return Some(
                    "whether it has members is not shown; say so when it has moved".into(),
                );
            }
            Now::Behind(records) if !self.has_moved() => {
                return Some(format!(
                    "stopped with {records} records left, and not moved"
                ));
            }
            Now::Hidden | Now::Behind(_) | Now::Idle => {}
        }
        let last = self.last_ms();
        let ago = Duration::from_millis(now_ms.saturating_sub(last));
        (last > 0 && ago < gone && !self.has_moved()).then(|| {
            let (ago, gone) = (show(ago), show_duration(gone));
            format!("gone for {ago} of {gone}")
        })
    }
}

/// A time for people: in its largest unit, rounded down.
#[must_use]
pub fn show(time: Duration) -> String {
    let s = time.as_secs();
    let (number, unit) = match s {
        0..60 => (s, "s"),
        60..3_600 => (s / 60, "m"),
        3_600..86_400 => (s / 3_600, "h"),
        _ => (s / 86_400, "d"),
    };
    format!("{number}{unit}")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
