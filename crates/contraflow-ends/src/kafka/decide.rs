//! What may follow from what stands in the control topic, as pure decisions.
//!
//! Whoever acts on one has taken the transactional id that it writes with *before* it read what it
//! decides on, and writes in one transaction of that id: then nobody who was overtaken meanwhile
//! can commit. `decide/tests.rs` checks what these decisions add up to, under every order of steps.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::fenced;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{Epoch, Gate, Ownership, Standing};
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};

use super::client::unreachable;
use super::control::{Checkpoint, Control, Flip, Known, Sealed, Stopped};
use super::place::{self, TopicPlace};

/// For how long it counts that somebody said the producers have stopped: whoever said so may have
/// started them again since. A turn that failed makes it void at once.
const STOPPED_MAX: Duration = Duration::from_secs(60 * 60);

/// Both ends of the topics of a side: what is visible, and what is there.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) visible: Vec<TopicPlace>,
    pub(super) written: Vec<TopicPlace>,
}

/// What stands when authority has moved, all of it written at once.
#[derive(Clone, Debug)]
pub(super) struct Flipped {
    pub(super) flip: Flip,
    pub(super) standing: Standing,
    /// Where the way back begins.
    pub(super) checkpoint: Checkpoint,
}

/// The epoch in which records may be carried to a side.
///
/// # Errors
/// When it is not the mirror, or the change has flipped and would run forward.
pub(super) fn carry(control: &Control, side: Side, direction: Direction) -> Result<Epoch> {
    if control.flip.is_some() && direction == Direction::Forward {
        return Err(fenced(
            "the change has flipped, it never runs forward again",
        ));
    }
    match control.ownership() {
        Ownership::Held { by, epoch, .. } if by == direction.source() && side != by => Ok(epoch),
        _ => Err(fenced("this end is not the mirror in this direction")),
    }
}

/// Where a lane goes on by what is noted; `None` when nobody has noted where it begins.
///
/// # Errors
/// When the way back has no start: the flip writes it to another partition than authority, which
/// may become visible a moment earlier.
pub(super) fn resume(
    control: &Control,
    direction: Direction,
    checkpoint: Option<Checkpoint>,
) -> Result<Option<Vec<TopicPlace>>> {
    let flip = control.flip.as_ref();
    match (direction, checkpoint.and_then(Checkpoint::places)) {
        (_, Some(places)) => Ok(Some(places)),
        (Direction::Forward, None) => Ok(control.topics(Side::Old).map(begins)),
        (Direction::Reverse, None) => match flip {
            // The checkpoint was lost since.
            Some(flip) => Ok(Some(flip.new_starts.clone())),
            None => Err(unreachable("where the way back begins is not visible yet")),
        },
    }
}

/// Where topics began when the change did.
fn begins(topics: &[Known]) -> Vec<TopicPlace> {
    let place = |known: &Known| TopicPlace {
        topic: known.topic.clone(),
        id: known.id,
        next: known.starts.clone(),
    };
    topics.iter().map(place).collect()
}

/// What was said of the producers, while it counts.
pub(super) fn said(control: &Control, now_ms: u64) -> Option<&Stopped> {
    let stopped = control.stopped.as_ref();
    stopped.filter(|stopped| {
        u128::from(now_ms.saturating_sub(stopped.at_ms)) <= STOPPED_MAX.as_millis()
    })
}

/// What is noted when somebody says that the producers of a side have stopped.
///
/// # Errors
/// When the side is not the one that is written.
pub(super) fn stopped(control: &Control, side: Side, ends: Ends, now_ms: u64) -> Result<Stopped> {
    let standing = control.standing(side);
    if standing.is_none_or(|standing| standing.gate != Gate::Open) {
        return Err(fenced("the end whose writers stop is not open"));
    }
    Ok(Stopped {
        at_ms: now_ms,
        ends: ends.written,
    })
}

/// The fenced side: its producers were said to have stopped, nothing came since, and no
/// transaction is open.
///
/// # Errors
/// When one of these does not hold, or the epoch is over.
pub(super) fn fence(
    control: &Control,
    side: Side,
    epoch: Epoch,
    ends: &Ends,
    now_ms: u64,
) -> Result<Standing> {
    let standing = expect(control, side, epoch, &[Gate::Open, Gate::Fenced])?;
    if said(control, now_ms).is_none_or(|stopped| stopped.ends != ends.written) {
        return Err(unfinished(side, "its producers write"));
    }
    if ends.visible != ends.written {
        return Err(unfinished(side, "a transaction is open"));
    }
    Ok(Standing {
        gate: Gate::Fenced,
        ..standing
    })
}

/// The closed side, once everything in it was carried and compared.
///
/// # Errors
/// When there is more in it than was drained, or it was not fenced in this epoch.
pub(super) fn seal(
    control: &Control,
    side: Side,
    epoch: Epoch,
    ends: Ends,
    drained: &Position,
    compared: &Position,
) -> Result<(Standing, Sealed)> {
    let standing = expect(control, side, epoch, &[Gate::Fenced])?;
    if place::encode(&ends.written) != *drained {
        let why = "records lie behind what was drained";
        return Err(crate::tables::expired(side, why));
    }
    let standing = Standing {
        gate: Gate::Closed,
        epoch: epoch.next(),
        ..standing
    };
    let sealed = Sealed {
        old_ends: ends.written,
        new_compared: place::decode(compared).unwrap_or_default(),
    };
    Ok((standing, sealed))
}

/// The flip, once: of two that want it the later one finds that it has happened.
///
/// # Errors
/// When the other side is not sealed for this one in this epoch.
pub(super) fn flip(control: &Control, side: Side, epoch: Epoch, now_ms: u64) -> Result<Flipped> {
    let gaining = Ownership::Sealed {
        gaining: side,
        epoch,
    };
    let (Some(sealed), true) = (&control.sealed, control.ownership() == gaining) else {
        return Err(fenced(
            "the end to be opened is not the one that gains authority",
        ));
    };
    let closed = expect(control, side, Epoch(epoch.0 - 1), &[Gate::Closed])?;
    // What was written behind the last compare is nobody's copy: it goes back.
    let starts = sealed.new_compared.clone();
    Ok(Flipped {
        flip: Flip {
            at_ms: now_ms,
            epoch: epoch.0,
            old_ends: sealed.old_ends.clone(),
            new_starts: starts.clone(),
            stopped: control.stopped.clone(),
        },
        standing: Standing {
            gate: Gate::Open,
            epoch,
            ..closed
        },
        checkpoint: Checkpoint {
            token: 0,
            sequence: 0,
            next: starts,
        },
    })
}

/// The side open again after a turn that failed; `None` when it is already. What was said of its
/// producers is void.
///
/// # Errors
/// When it was sealed, or the epoch is over.
pub(super) fn lift(control: &Control, side: Side, epoch: Epoch) -> Result<Option<Standing>> {
    let standing = expect(control, side, epoch, &[Gate::Open, Gate::Fenced])?;
    Ok((standing.gate != Gate::Open).then_some(Standing {
        gate: Gate::Open,
        ..standing
    }))
}

/// The standing of a side, if it is of this epoch and one of these gates.
fn expect(control: &Control, side: Side, epoch: Epoch, gates: &[Gate]) -> Result<Standing> {
    let standing = control.standing(side);
    let found = standing.filter(|found| found.epoch == epoch && gates.contains(&found.gate));
    found
        .cloned()
        .ok_or_else(|| fenced("authority has moved on in the control topic"))
}

fn unfinished(side: Side, why: &str) -> Error {
    let message = format!("the {side} topic is not at rest: {why}");
    Error::new(Kind::Transient, Code::TURN_FAILED, message)
        .at(side)
        .detail("Authority stayed where it was.")
        .hint("Stop the producers, say so with `contraflow producer stopped`, and ask again.")
}

#[cfg(test)]
mod tests;
