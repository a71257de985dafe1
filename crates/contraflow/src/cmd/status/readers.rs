//! What `status` says of the readers of the old topics: who still has to move, and by when.

use std::time::Duration;

use contraflow_core::change::consumers::Consumer;
use contraflow_core::end::User;
use contraflow_core::error::Result;
use contraflow_core::ledger::Ledger;
use contraflow_core::sighting::{Said, show};
use contraflow_engine::context::Context;
use serde::Serialize;

/// How long before a deadline it is reminded of.
const NEAR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is known of readers without asking the brokers.
#[derive(Default, Serialize)]
pub(super) struct Readers {
    /// Who stood in the way of `contract` at the newest look, and why.
    pub(super) in_the_way: Vec<User>,
    /// Deadlines that are near or over, of groups that still have to move.
    pub(super) reminders: Vec<Reminder>,
}

/// A deadline that is near or over.
#[derive(Serialize)]
pub(super) struct Reminder {
    group: String,
    owner: Option<String>,
    deadline: String,
    /// When it ends, in milliseconds since 1970.
    ends_ms: i64,
    is_over: bool,
}

impl Readers {
    /// Reads what the ledger remembers of the looks at a change whose old end knows its readers.
    pub(super) fn remembered(context: &Context, ledger: &mut dyn Ledger) -> Result<Readers> {
        if context.old.end.readers(&context.old.role).is_none() {
            return Ok(Readers::default());
        }
        let (sightings, marks) = (ledger.sighted()?, ledger.marks()?);
        let now_ms = context.clock.unix_ms();
        let said = Said {
            marks: &marks,
            declared: &context.consumers,
            gone: context.limits.readers_gone,
        };
        let left = context.consumers.iter();
        let left = left.filter(|known| sightings.is_left(&known.group, &marks));
        Ok(Readers {
            in_the_way: sightings.in_the_way(now_ms, said),
            reminders: left
                .filter_map(|known| Reminder::of(known, now_ms))
                .collect(),
        })
    }
}

impl Reminder {
    fn of(consumer: &Consumer, now_ms: u64) -> Option<Reminder> {
        let deadline = consumer.deadline?;
        let (ends_ms, now_ms) = (deadline.end_ms(), i64::try_from(now_ms).ok()?);
        let near_ms = i64::try_from(NEAR.as_millis()).unwrap_or(i64::MAX);
        (ends_ms - now_ms < near_ms).then(|| Reminder {
            group: consumer.group.clone(),
            owner: consumer.owner.clone(),
            deadline: deadline.to_string(),
            ends_ms,
            is_over: ends_ms <= now_ms,
        })
    }

    /// For people.
    pub(super) fn line(&self, now_ms: u64) -> String {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let between = (self.ends_ms - now_ms).unsigned_abs();
        let between = show(Duration::from_millis(between));
        let when = match self.is_over {
            true => format!("OVER since {between}"),
            false => format!("{between} left"),
        };
        let owner = self.owner.as_ref();
        let owner = owner.map_or(String::new(), |owner| format!(", owner {owner}"));
        let Reminder {
            group, deadline, ..
        } = self;
        format!("group {group} has to move by {deadline}: {when}{owner}")
    }
}
