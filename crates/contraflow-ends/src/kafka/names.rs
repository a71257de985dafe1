//! What a change is called in a cluster.

use contraflow_core::lease::LaneId;
use contraflow_core::side::{Direction, Side};
use xxhash_rust::xxh3::xxh3_64;

/// Names that belong to one change.
#[derive(Clone, Debug)]
pub(super) struct Names {
    change: String,
    /// The control topic.
    pub(super) control: String,
    /// The topic of its letters.
    pub(super) letters: String,
    /// The change in the header of a record.
    pub(super) hash: [u8; 8],
}

impl Names {
    pub(super) fn of(change: &str) -> Names {
        Names {
            change: change.to_owned(),
            control: format!("__contraflow.{change}"),
            letters: format!("__contraflow.{change}.letters"),
            hash: xxh3_64(change.as_bytes()).to_be_bytes(),
        }
    }

    /// The transactional id of a lane.
    pub(super) fn lane(&self, direction: Direction, lane: LaneId) -> String {
        format!("contraflow-{}-{direction}-{}", self.change, lane.0)
    }

    /// What the names of transactional ids and groups of this change begin with.
    pub(super) fn prefix(&self) -> String {
        format!("contraflow-{}-", self.change)
    }

    /// The transactional id of whoever tries whether there can be transactions.
    pub(super) fn trial(&self) -> String {
        format!("{}check", self.prefix())
    }

    /// The transactional id of whoever moves authority.
    pub(super) fn coordinator(&self) -> String {
        format!("contraflow-{}-control", self.change)
    }

    /// The consumer group whose offsets are a copy of a direction's checkpoint.
    pub(super) fn group(&self, direction: Direction) -> String {
        format!("contraflow-{}-{direction}", self.change)
    }

    /// The consumer group whose offsets say how far a mirror was looked at.
    pub(super) fn standby(&self, side: Side) -> String {
        format!("contraflow-{}-standby-{side}", self.change)
    }

    /// The consumer groups of this change.
    pub(super) fn groups(&self) -> [String; 4] {
        [
            self.group(Direction::Forward),
            self.group(Direction::Reverse),
            self.standby(Side::Old),
            self.standby(Side::New),
        ]
    }

    /// Whether a consumer group is one of this change. That of another change is a reader like any
    /// other.
    pub(super) fn is_ours(&self, group: &str) -> bool {
        self.groups().iter().any(|ours| ours == group)
    }

    /// The transactional id of whoever says for others where they go on.
    pub(super) fn readers(&self) -> String {
        format!("contraflow-{}-readers", self.change)
    }

    /// The key of a side's standing in the control topic.
    pub(super) fn standing(side: Side) -> String {
        format!("standing/{side}")
    }

    /// The key of a side's topics in the control topic.
    pub(super) fn topics(side: Side) -> String {
        format!("topics/{side}")
    }

    /// The key of a lane's checkpoint in the control topic.
    pub(super) fn checkpoint(direction: Direction, lane: LaneId) -> String {
        format!("lane/{direction}/{}", lane.0)
    }
}
