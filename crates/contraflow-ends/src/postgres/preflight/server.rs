//! The server, our role, and the log that is kept for a change that is carried already.

use contraflow_core::code::Code;
use contraflow_core::error::{Problem, Result};
use contraflow_core::preflight::Preflight;
use postgres::Client;

use super::super::connection::failure;
use super::super::names::quote;

/// The oldest server whose `pgoutput` has messages.
const VERSION_MIN: i32 = 140_000;

/// What our own role may do.
pub(super) struct Us {
    pub(super) name: String,
    /// Sessions may run as replicas: triggers and foreign keys stay quiet.
    pub(super) replica: bool,
    pub(super) bypasses: bool,
}

pub(super) fn check(client: &mut Client, carried: bool, preflight: &mut Preflight) -> Result<Us> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::int, current_setting('wal_level'),
               (select count(*) from pg_replication_slots),
               current_setting('max_replication_slots')::bigint,
               (select count(*) from pg_stat_replication),
               current_setting('max_wal_senders')::bigint,
               r.rolreplication or r.rolsuper, r.rolsuper, r.rolname::text,
               has_database_privilege(current_database(), 'create'), current_database()::text,
               r.rolbypassrls or r.rolsuper, pg_is_in_recovery(),
               current_setting('synchronous_standby_names'),
               current_setting('max_slot_wal_keep_size'), current_setting('server_version')
             from pg_roles r where r.rolname = current_user",
            &[],
        )
        .map_err(failure)?;
    settings(&row, preflight);
    capacity(&row, carried, preflight);
    rights(&row, carried, preflight);
    let superuser: bool = row.get(7);
    let replica = superuser || may_be_replica(client, row.get(0))?;
    Ok(Us {
        name: row.get(8),
        replica,
        bypasses: row.get(11),
    })
}

/// Notes one thing that is fine or has a fixing statement.
fn needs(
    preflight: &mut Preflight,
    what: impl Into<String>,
    fine: bool,
    problem: impl FnOnce() -> Problem,
) {
    preflight.note(what, (!fine).then(problem));
}

fn settings(row: &postgres::Row, preflight: &mut Preflight) {
    let (version, shown): (i32, &str) = (row.get(0), row.get(15));
    let wrong = |message: String| Problem::error(Code::END_SETTING, message);
    needs(
        preflight,
        format!("PostgreSQL {shown}"),
        version >= VERSION_MIN,
        || {
            wrong(format!("the server is PostgreSQL {}", version / 10_000))
                .hint("PostgreSQL 14 or newer can be followed.")
        },
    );
    needs(
        preflight,
        "the server is a primary",
        !row.get::<_, bool>(12),
        || {
            let message = "the server is a standby";
            Problem::error(Code::END_READ_ONLY, message).hint("Name the primary in the URL.")
        },
    );
    let level: &str = row.get(1);
    needs(
        preflight,
        format!("wal_level: {level}"),
        level == "logical",
        || {
            wrong(format!(
                "`wal_level` is `{level}`: the log does not say what was written"
            ))
            .hint("`alter system set wal_level = logical`, then restart the server.")
        },
    );
    let standbys: &str = row.get(13);
    needs(
        preflight,
        format!("synchronous_standby_names: '{standbys}'"),
        !standbys.contains('*') && !standbys.contains("contraflow"),
        || {
            let message = "`synchronous_standby_names` takes our feed for a standby: commits \
                           would wait for us";
            wrong(message.to_owned())
                .hint("Name the standbys in `synchronous_standby_names`, without `*`.")
        },
    );
}

/// What there must be enough of.
fn capacity(row: &postgres::Row, carried: bool, preflight: &mut Preflight) {
    let wrong = |message: &str| Problem::error(Code::END_SETTING, message);
    let taken = |used: usize| (row.get::<_, i64>(used), row.get::<_, i64>(used + 1));
    let (used, all) = taken(2);
    needs(
        preflight,
        format!("max_replication_slots: {used} of {all} taken"),
        carried || used < all,
        || {
            wrong("no replication slot is free").hint(
                "Raise `max_replication_slots` and restart the server, or drop a slot nobody uses.",
            )
        },
    );
    let (used, all) = taken(4);
    needs(
        preflight,
        format!("max_wal_senders: {used} of {all} taken"),
        carried || used < all,
        || wrong("no walsender is free").hint("Raise `max_wal_senders` and restart the server."),
    );
    let keeps: &str = row.get(14);
    needs(
        preflight,
        format!("max_slot_wal_keep_size: {keeps}"),
        carried || keeps != "-1",
        || {
            let message = "`max_slot_wal_keep_size` is -1: while a change is held or nobody runs \
                           it, the server keeps its log until the disk is full";
            Problem::warning(Code::END_SETTING, message).hint(
                "Set it to what the disk can spare: beyond it the change is lost and not the \
                 server.",
            )
        },
    );
}

fn rights(row: &postgres::Row, carried: bool, preflight: &mut Preflight) {
    let (us, database): (&str, &str) = (row.get(8), row.get(10));
    needs(
        preflight,
        format!("role {us}: may replicate"),
        row.get(6),
        || {
            Problem::error(Code::END_SETTING, format!("role `{us}` may not replicate"))
                .hint(format!("`alter role {} replication`", quote(us)))
        },
    );
    needs(
        preflight,
        format!("role {us}: may create in database {database}"),
        carried || row.get(9),
        || {
            let message =
                format!("role `{us}` may not create the schema `contraflow` and a publication");
            Problem::error(Code::END_READ_ONLY, message).hint(format!(
                "`grant create on database {} to {}`",
                quote(database),
                quote(us)
            ))
        },
    );
}

fn may_be_replica(client: &mut Client, version: i32) -> Result<bool> {
    if version < 150_000 {
        return Ok(false);
    }
    client
        .query_one(
            "select has_parameter_privilege('session_replication_role', 'set')",
            &[],
        )
        .map(|row| row.get(0))
        .map_err(failure)
}

/// How much log the server keeps for a change that is carried, and whether it still does.
pub(super) fn check_slot(client: &mut Client, slot: &str, preflight: &mut Preflight) -> Result<()> {
    let found = client
        .query_opt(
            "select active, coalesce(wal_status, 'lost'),
               pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))
             from pg_replication_slots where slot_name = $1 and database = current_database()",
            &[&slot],
        )
        .map_err(failure)?;
    let gone = |message: &str| {
        Problem::error(Code::FEED_LOST, message)
            .hint("What was written since is unknown: `contraflow abort`, then run anew.")
    };
    let Some(row) = found else {
        let problem = gone("the slot of the change is gone");
        preflight.note("the slot of the change", Some(problem));
        return Ok(());
    };
    let (active, status): (bool, &str) = (row.get(0), row.get(1));
    let kept: Option<&str> = row.get(2);
    let reader = if active { "read" } else { "nobody reads it" };
    let what = format!(
        "the slot of the change: {reader}, {} of log kept",
        kept.unwrap_or("nothing")
    );
    let problem = match status {
        "lost" => Some(gone("the slot of the change was given up by the server")),
        "unreserved" => Some(
            Problem::warning(
                Code::FEED_LOST,
                "the server is about to give up the slot of the change",
            )
            .hint("Run the change, or raise `max_slot_wal_keep_size`."),
        ),
        _ => None,
    };
    preflight.note(what, problem);
    Ok(())
}
