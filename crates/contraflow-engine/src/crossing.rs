//! Readers that go from one log to the other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use contraflow_core::code::Code;
use contraflow_core::end::{Group, Next, Presence, Readers};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::translate::{Crossing, Doubt, Spot};
use contraflow_core::record::PairId;
use contraflow_core::side::Side;

use crate::context::Context;

/// One place, in both logs.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    /// Where a reader goes on in the log that it leaves.
    pub at: Next,
    /// Where it goes on in the other one.
    pub spot: Spot,
    /// The largest step back of timestamps in that partition, in milliseconds, when it was found
    /// by time.
    pub step_ms: Option<i64>,
}

/// Where readers begin who have said nothing of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// With its oldest record.
    Earliest,
    /// With whatever comes next.
    Latest,
    /// Nowhere: nothing is said of it in the other log either.
    None,
}

/// How a group is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// The side that it leaves.
    pub from: Side,
    /// Records may come twice.
    pub at_least_once: bool,
    /// Places are found by timestamps alone.
    pub by_time: bool,
    /// What becomes of partitions that it has said nothing of.
    pub reset: Option<Reset>,
}

/// Where readers that go on at these places of a side go on at the other one.
///
/// # Errors
/// When an end cannot be read, or the change has flipped meanwhile.
pub fn translate(
    context: &Context,
    from: Side,
    places: &[Next],
    by_time: bool,
) -> Result<Vec<Translated>> {
    let mut here = context.side(from).readers()?;
    let mut there = context.side(from.other()).readers()?;
    let flip = |readers: &mut dyn Readers, at: &Next| readers.flip(at.pair, at.partition);
    let mut logs = BTreeMap::new();
    for at in places {
        let log = (at.pair, at.partition);
        if let Entry::Vacant(vacant) = logs.entry(log) {
            let left = here.look(at.pair, at.partition)?;
            let gone_to = there.look(at.pair, at.partition)?;
            vacant.insert((flip(here.as_mut(), at)?, left, gone_to));
        }
    }
    let mut all = Vec::new();
    for &at in places {
        let Some((flip, left, gone_to)) = logs.get_mut(&(at.pair, at.partition)) else {
            continue;
        };
        let mut crossing = Crossing {
            from,
            partition: at.partition,
            here: left.as_mut(),
            there: gone_to.as_mut(),
            flip: *flip,
        };
        let (spot, step_ms) = if by_time {
            let (spot, step_ms) = crossing.by_time(at.offset)?;
            (spot, Some(step_ms))
        } else {
            (crossing.translate(at.offset)?, None)
        };
        all.push(Translated { at, spot, step_ms });
    }
    for at in places.iter().take(1) {
        if logs
            .get(&(at.pair, at.partition))
            .is_some_and(|log| log.0.is_none())
            && flip(here.as_mut(), at)?.is_some()
        {
            let message = "the change has flipped while it was asked";
            return Err(
                Error::new(Kind::Transient, Code::PLACE_INEXACT, message).hint("Ask again.")
            );
        }
    }
    Ok(all)
}

/// A group that reads a side, or has.
///
/// # Errors
/// [`Code::GROUP_UNKNOWN`] when there is none of this name.
pub fn group(context: &Context, from: Side, name: &str) -> Result<Group> {
    let groups = context.side(from).readers()?.groups()?;
    let found = groups.into_iter().find(|group| group.name == name);
    found.ok_or_else(|| {
        let message = format!("group `{name}` has read nothing of the {from} topics");
        Error::new(Kind::Precondition, Code::GROUP_UNKNOWN, message)
            .hint("`contraflow consumers list` names those that have.")
    })
}

/// Where a group goes on, for every partition of the logs that it reads.
///
/// # Errors
/// [`Code::COMMIT_MISSING`] when it has said nothing of some, and nobody said what that means.
pub fn places(
    context: &Context,
    from: Side,
    group: &Group,
    reset: Option<Reset>,
) -> Result<Vec<Next>> {
    let mut here = context.side(from).readers()?;
    let mut places = group.next.clone();
    let mut missing = Vec::new();
    for pair in context.old.role.pairs().map(|(pair, _)| pair) {
        if !group.reads.contains(&pair) {
            continue;
        }
        for partition in 0..here.partitions(pair)? {
            let said = |next: &&Next| (next.pair, next.partition) == (pair, partition);
            if group.next.iter().any(|next| said(&next)) {
                continue;
            }
            let bounds = match reset {
                None => {
                    missing.push(named(context, from, pair, partition));
                    continue;
                }
                Some(Reset::None) => continue,
                Some(_) => here.look(pair, partition)?.bounds()?,
            };
            places.push(Next {
                pair,
                partition,
                offset: match reset {
                    Some(Reset::Latest) => bounds.visible,
                    _ => bounds.start,
                },
            });
        }
    }
    places.sort_by_key(|next| (next.pair, next.partition));
    if missing.is_empty() {
        return Ok(places);
    }
    let message = format!(
        "group `{}` has committed nothing for {}",
        group.name,
        missing.join(", ")
    );
    Err(
        Error::new(Kind::Precondition, Code::COMMIT_MISSING, message)
            .detail("Where its consumers begin there, their `auto.offset.reset` decides.")
            .hint("Say which it is: `--reset earliest`, `--reset latest` or `--reset none`."),
    )
}

/// Has a group go on at the other side. Nothing is lost; nothing comes twice either, unless `how`
/// allows it.
///
/// # Errors
/// [`Code::GROUP_UNKNOWN`], [`Code::COMMIT_MISSING`]; [`Code::GROUP_ACTIVE`] when somebody reads
/// who must not, also when they came meanwhile; [`Code::PLACE_INEXACT`] when it cannot be told.
pub fn go_over(context: &Context, name: &str, how: How) -> Result<(Group, Vec<Translated>)> {
    let (from, to) = (how.from, how.from.other());
    let group = group(context, from, name)?;
    shares_by_offsets(&group)?;
    let doubles = how.at_least_once || how.by_time;
    if group.members > 0 && !doubles {
        let message = format!("group `{name}` has {} members", group.members);
        return Err(active(message).hint(
            "Stop its consumers, then move it; or let records come twice: `--at-least-once`.",
        ));
    }
    let places = places(context, from, &group, how.reset)?;
    let found = translate(context, from, &places, how.by_time)?;
    certain(context, from, &found, doubles)?;
    let next: Vec<Next> = found.iter().map(over_there).collect();
    not_back(context, to, name, &next, doubles)?;
    let presence = match doubles {
        false => Presence::Empty,
        true => Presence::Members,
    };
    context.side(to).readers()?.go_on(name, &next, presence)?;
    stayed(context, &group, &next, how)?;
    Ok((group, found))
}

fn over_there(found: &Translated) -> Next {
    Next {
        offset: found.spot.offset,
        ..found.at
    }
}

/// Members of a group that takes single records have no place.
fn shares_by_offsets(group: &Group) -> Result<()> {
    if group.kind != "share" {
        return Ok(());
    }
    let message = format!(
        "group `{}` is a share group, which has no place",
        group.name
    );
    Err(Error::new(Kind::Precondition, Code::PLACE_INEXACT, message)
        .detail("Its members take single records, in any order.")
        .hint(
            "Start it on the other topic when it has read all, then `contraflow consumers mark`.",
        ))
}

/// Every place is exact, or whoever asked takes it as it is.
fn certain(context: &Context, from: Side, found: &[Translated], doubles: bool) -> Result<()> {
    let doubted = |found: &Translated| {
        let doubt = found.spot.doubt?;
        (!doubles || !doubt.only_doubles()).then_some((found.at, doubt))
    };
    let doubts: Vec<(Next, Doubt)> = found.iter().filter_map(doubted).collect();
    let Some((_, worst)) = doubts.iter().max_by_key(|(_, doubt)| !doubt.only_doubles()) else {
        return Ok(());
    };
    let told = |(at, doubt): &(Next, Doubt)| {
        format!(
            "{}: {}",
            named(context, from, at.pair, at.partition),
            doubt.words()
        )
    };
    let told: Vec<String> = doubts.iter().map(told).collect();
    let message = format!(
        "where it goes on cannot be told for {} partitions",
        doubts.len()
    );
    Err(Error::new(Kind::Precondition, Code::PLACE_INEXACT, message)
        .detail(format!("{}. Nothing was committed.", told.join("; ")))
        .hint(hint(*worst)))
}

fn hint(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::NotCarried => {
            "Ask again when the flow has caught up: `contraflow wait --for lag`; or let records \
             come twice: `--at-least-once`."
        }
        Doubt::Unknown | Doubt::Late => "Let records come twice: `--at-least-once`.",
        Doubt::Forgotten => "Let it read on where it is until it has passed them.",
        Doubt::Beyond => "Find out what became of the topic, and set the group's offsets by hand.",
    }
}

/// It has not gone on further over there already, and nobody reads there in its name.
fn not_back(context: &Context, to: Side, name: &str, next: &[Next], doubles: bool) -> Result<()> {
    let groups = context.side(to).readers()?.groups()?;
    let Some(there) = groups.iter().find(|group| group.name == name) else {
        return Ok(());
    };
    if there.members > 0 && there.is_known {
        let message = format!("group `{name}` reads the {to} topics already");
        let hint = "Stop its consumers there; what they commit would overwrite where it goes on.";
        return Err(active(message).hint(hint));
    }
    let further = next.iter().filter(|next| {
        let same = |there: &&Next| (there.pair, there.partition) == (next.pair, next.partition);
        let mut committed = there.next.iter();
        committed.any(|there| same(&there) && there.offset > next.offset)
    });
    let further = further.count();
    if further == 0 || doubles {
        return Ok(());
    }
    let message =
        format!("group `{name}` has gone on further in the {to} topics, in {further} partitions");
    Err(Error::new(Kind::Precondition, Code::PLACE_INEXACT, message)
        .detail("It would read again what it has read there. Nothing was committed.")
        .hint("Start its consumers there as they are; or have it read again: `--at-least-once`."))
}

/// Nobody came between the look and the commit.
fn stayed(context: &Context, before: &Group, next: &[Next], how: How) -> Result<()> {
    let (from, to) = (how.from, how.from.other());
    let again = |side: Side| -> Result<Option<Group>> {
        let groups = context.side(side).readers()?.groups()?;
        Ok(groups.into_iter().find(|group| group.name == before.name))
    };
    let there = again(to)?;
    let kept = |next: &Next| {
        let mut committed = there.iter().flat_map(|group| &group.next);
        committed.any(|found| found == next)
    };
    let here = again(from)?;
    let still = how.at_least_once
        || how.by_time
        || here.is_some_and(|here| here.members == 0 && here.next == before.next);
    if still && next.iter().all(kept) {
        return Ok(());
    }
    let message = format!("group `{}` went on reading while it was moved", before.name);
    Err(active(message)
        .detail("What it has read since then comes again where it goes on now.")
        .hint("Stop its consumers, then move it again."))
}

fn active(message: String) -> Error {
    Error::new(Kind::Precondition, Code::GROUP_ACTIVE, message)
}

fn named(context: &Context, side: Side, pair: PairId, partition: i32) -> String {
    format!("{} {partition}", context.side(side).role.table(pair).name)
}
