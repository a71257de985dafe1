//! Positions: the next offset of every partition of every topic of a role, and the topics' ids.

use contraflow_core::position::Position;

use serde::{Deserialize, Serialize};

use super::native::TopicId;

/// Where one topic is read next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TopicPlace {
    pub(super) topic: String,
    /// Which topic of this name it is.
    pub(super) id: TopicId,
    /// The next offset of each partition.
    pub(super) next: Vec<i64>,
}

/// Encodes the places of a role's topics, in the order of the pairs.
pub(super) fn encode(places: &[TopicPlace]) -> Position {
    let mut bytes = Vec::new();
    for place in places {
        let name = u16::try_from(place.topic.len()).expect("a topic's name has 249 bytes at most");
        bytes.extend(name.to_be_bytes());
        bytes.extend(place.topic.as_bytes());
        bytes.extend(place.id.0);
        let count = u32::try_from(place.next.len()).expect("a topic has fewer partitions");
        bytes.extend(count.to_be_bytes());
        for offset in &place.next {
            bytes.extend(offset.to_be_bytes());
        }
    }
    Position::new(bytes)
}

/// Decodes what [`encode`] has made; `None` for anything else.
pub(super) fn decode(position: &Position) -> Option<Vec<TopicPlace>> {
    let mut rest = position.as_bytes();
    let mut places = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let (name, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (id, after) = after.split_first_chunk()?;
        let (count, mut after) = after.split_first_chunk()?;
        let mut next = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let (offset, left) = after.split_first_chunk()?;
            next.push(i64::from_be_bytes(*offset));
            after = left;
        }
        rest = after;
        places.push(TopicPlace {
            topic: std::str::from_utf8(name).ok()?.to_owned(),
            id: TopicId(*id),
            next,
        });
    }
    Some(places)
}

/// Everything up to `at`, but nothing of a partition from an offset on.
pub(super) fn short_of(at: &Position, topic: usize, partition: i32, offset: i64) -> Position {
    let Some(mut places) = decode(at) else {
        return at.clone();
    };
    let partition = usize::try_from(partition).unwrap_or(usize::MAX);
    let next = places
        .get_mut(topic)
        .and_then(|place| place.next.get_mut(partition));
    if let Some(next) = next {
        *next = (*next).min(offset);
    }
    encode(&places)
}

/// The later place of each partition, of topics that are in both.
pub(super) fn later(places: &[TopicPlace], others: &[TopicPlace]) -> Vec<TopicPlace> {
    let mut places = places.to_vec();
    for (place, other) in places.iter_mut().zip(others) {
        if place.id == other.id {
            for (next, other) in place.next.iter_mut().zip(&other.next) {
                *next = (*next).max(*other);
            }
        }
    }
    places
}

/// As [`later`], of positions; the first of them where one is of something else.
pub(super) fn furthest(a: &Position, b: &Position) -> Position {
    match (decode(a), decode(b)) {
        (Some(places), Some(others)) => encode(&later(&places, &others)),
        _ => a.clone(),
    }
}

/// Whether a feed at `at` has passed `goal`, in the same topics.
pub(super) fn reached(at: &Position, goal: &Position) -> bool {
    let (Some(at), Some(goal)) = (decode(at), decode(goal)) else {
        return false;
    };
    let passed = |(at, goal): (&TopicPlace, &TopicPlace)| {
        let same = at.id == goal.id && at.next.len() == goal.next.len();
        same && at.next.iter().zip(&goal.next).all(|(at, goal)| at >= goal)
    };
    at.len() == goal.len() && at.iter().zip(&goal).all(passed)
}

#[cfg(test)]
mod tests;
