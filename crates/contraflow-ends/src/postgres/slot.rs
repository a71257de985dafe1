//! The slot of a side: where it is, and whether it is the one that expand made.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use postgres::Client;

use super::changes::unreadable;
use super::connection::{self, failure};
use super::place::parse_lsn;
use super::{Context, bookkeeping};

/// Looks at a slot that somebody still reads, and the pause between two.
const FREE_TRIES: u32 = 500;
const FREE_PAUSE: Duration = Duration::from_millis(10);

/// What is on disk of the log: a feed is shown nothing else.
pub(super) fn wal_position(client: &mut Client) -> Result<u64> {
    let text = connection::asked(client, "select pg_current_wal_flush_lsn()")?;
    parse_lsn(&text).ok_or_else(unreadable)
}

/// Where the slot is, if it is the one that expand made and still has everything behind it.
pub(super) fn place(client: &mut Client, context: &Context, row: &bookkeeping::Row) -> Result<u64> {
    let found = client
        .query_opt(
            "select confirmed_flush_lsn::text, coalesce(wal_status, '') = 'lost',
               (select system_identifier::text from pg_control_system()),
               ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
             from pg_replication_slots where slot_name = $1 and database = current_database()",
            &[&context.names.slot],
        )
        .map_err(failure)?;
    let Some(found) = found else {
        return Err(lost(context, "is gone"));
    };
    if found.get::<_, bool>(1) {
        return Err(lost(
            context,
            "was given up by the server (`max_slot_wal_keep_size`)",
        ));
    }
    let (system, timeline): (String, i32) = (found.get(2), found.get(3));
    let same = row
        .slot
        .as_ref()
        .is_some_and(|made| made.system == system && made.timeline == timeline);
    if !same {
        return Err(lost(context, "belongs to another server or timeline"));
    }
    let place: Option<&str> = found.get(0);
    place
        .and_then(parse_lsn)
        .ok_or_else(|| lost(context, "has no place"))
}

/// Ends whoever still reads the slot: a process of ours that was overtaken, or died a moment ago.
pub(super) fn free(client: &mut Client, context: &Context) -> Result<()> {
    for _ in 0..FREE_TRIES {
        let row = client
            .query_opt(
                "select pg_terminate_backend(active_pid) from pg_replication_slots
                 where slot_name = $1 and active_pid is not null",
                &[&context.names.slot],
            )
            .map_err(failure)?;
        if row.is_none() {
            return Ok(());
        }
        context.clock.sleep(FREE_PAUSE);
    }
    let message = "somebody else reads the slot of this change and does not end";
    Err(Error::new(Kind::Transient, Code::END_BUSY, message).at(context.role.side))
}

/// The error of a slot that no longer has what follows a place.
pub(super) fn lost(context: &Context, why: &str) -> Error {
    let message = format!("the slot of the {} end {why}", context.role.side);
    Error::new(Kind::Hold, Code::FEED_LOST, message)
        .at(context.role.side)
        .hint("What was written since is unknown: `contraflow abort`, then run anew.")
}
