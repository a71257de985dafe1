//! Lanes of a change whose authority moves while their owner stands still.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::codec::payload::Raw;
use contraflow_core::end::{Apply, End, Progress, Role, Switch, Table};
use contraflow_core::error::Kind;
use contraflow_core::lease::{Epoch, Gate, LaneId, Standing};
use contraflow_core::probe::Silent;
use contraflow_core::side::{Direction, Side};
use contraflow_ends::kafka::{Kafka, Payloads};

use super::broker::shared;
use crate::clock::Real;

/// Both topics of a change that has begun.
struct Begun {
    end: Kafka,
    roles: [Arc<Role>; 2],
}

fn begun(change: &str) -> Begun {
    let mut payloads = Payloads::default();
    let names = ["old", "new"].map(|side| format!("{change}-{side}"));
    for name in &names {
        super::topic(name, 1);
        payloads.insert(name, Arc::new(Raw::new("value")), None);
    }
    let clock = Arc::new(Real::start());
    let end = Kafka::new(
        &Cluster::open(&shared().servers()),
        payloads,
        clock,
        Arc::new(Silent),
    );
    let role = |side: Side, name: &String| {
        let shape = end.inspect(name, &[]).unwrap().unwrap().shape;
        Arc::new(Role {
            change: change.to_owned(),
            side,
            tables: vec![Table {
                name: name.clone(),
                native: vec![false; shape.fields.len()],
                declared: vec![None; shape.fields.len()],
                shape,
                created: false,
            }],
        })
    };
    let roles = [role(Side::Old, &names[0]), role(Side::New, &names[1])];
    for (role, gate) in [(&roles[1], Gate::Closed), (&roles[0], Gate::Open)] {
        let standing = Standing {
            gate,
            epoch: Epoch::FIRST,
            ledger: "l".to_owned(),
            mapping: "m".to_owned(),
        };
        end.structure(role).unwrap().expand(&standing).unwrap();
    }
    Begun { end, roles }
}

impl Begun {
    fn switch(&self, side: Side) -> Box<dyn Switch> {
        let role = &self.roles[usize::from(side == Side::New)];
        self.end.switch(role).unwrap()
    }

    fn apply(&self, direction: Direction) -> Box<dyn Apply> {
        let role = &self.roles[usize::from(direction.target() == Side::New)];
        self.end.apply(role).unwrap()
    }
}

/// No claim comes between: what fences the lane is the flip itself.
#[test]
fn a_lane_that_was_claimed_before_the_seal_writes_nothing_after_the_flip() {
    let begun = begun("a-lane-claimed-before");
    let mut zombie = begun.apply(Direction::Forward);
    let (mut lease, _) = zombie.claim(LaneId(0), Direction::Forward).unwrap();
    let mut old = begun.switch(Side::Old);
    old.writers_stopped().unwrap();
    let limit = Duration::from_secs(30);
    let fence = old.fence(Epoch::FIRST, limit).unwrap();
    let advance = Progress::Advance {
        through: &fence,
        seen: &fence,
    };
    zombie.apply(&[], &[], &advance, &mut lease).unwrap();
    old.seal(Epoch::FIRST, &fence, &log_end(&begun)).unwrap();
    begun
        .switch(Side::New)
        .flip(Epoch::FIRST.next(), &[])
        .unwrap();
    zombie.apply(&[], &[], &advance, &mut lease).unwrap_err();
    // It has to claim the lane anew, and neither it nor anybody else may.
    for mut writer in [zombie, begun.apply(Direction::Forward)] {
        let refused = writer.claim(LaneId(0), Direction::Forward).unwrap_err();
        assert_eq!(refused.kind, Kind::Fenced, "{refused}");
    }
}

/// The end of the new topic.
fn log_end(begun: &Begun) -> contraflow_core::position::Position {
    let mut feed = begun.end.feed(&begun.roles[1]).unwrap();
    feed.open(&contraflow_core::end::Start::Earliest).unwrap();
    feed.head().unwrap().0
}
