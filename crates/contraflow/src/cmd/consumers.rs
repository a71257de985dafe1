//! `contraflow consumers`: who still reads the old topics, and where they go on in the new ones.

use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::end::{Group, Next};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::side::Side;
use contraflow_engine::context::Context;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;

/// Show and move the consumers of the topics.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Who reads the old topics, with members, commits and lag.
    List(Which),
    /// Where a group would go on in the new topics: exact, record by record.
    Translate(Moved),
    /// Have a group without members go on in the new topics, exactly where it stands.
    Move(Moved),
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    change: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct Moved {
    /// The consumer group.
    #[arg(value_name = "GROUP")]
    group: String,
    /// From the new topics to the old ones instead.
    #[arg(long)]
    back: bool,
    /// The change file, or its name.
    #[arg(long, value_name = "CHANGE")]
    change: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listed<'l> {
    schema: &'static str,
    groups: Vec<Named<'l>>,
}

#[derive(Serialize)]
struct Named<'l> {
    group: &'l str,
    members: usize,
    behind: u64,
}

#[derive(Serialize)]
struct Translated<'t> {
    schema: &'static str,
    group: &'t str,
    moved: bool,
    offsets: Vec<Offset<'t>>,
}

#[derive(Serialize)]
struct Offset<'t> {
    from: &'t str,
    to: &'t str,
    partition: i32,
    at: i64,
    becomes: i64,
}

/// Shows or moves. Exit 0 when it was done, 1 when the group is not there.
///
/// # Errors
/// When the cluster cannot be asked, or the group has members.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let change = match &args.verb {
        Verb::List(which) => &which.change,
        Verb::Translate(moved) | Verb::Move(moved) => &moved.change,
    };
    let file = ChangeFile::find(change.as_deref())?;
    let session = match Session::ends(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    match &args.verb {
        Verb::List(_) => list(&session.context, out),
        Verb::Translate(moved) => translate(&session.context, moved, false, out),
        Verb::Move(moved) => translate(&session.context, moved, true, out),
    }
}

fn list(context: &Context, out: &mut Output) -> anyhow::Result<Exit> {
    let groups = context.old.readers()?.groups()?;
    for group in &groups {
        let Group {
            name,
            members,
            behind,
            ..
        } = group;
        out.human(&format!("{name:<30} {members} members, {behind} behind"))?;
    }
    if groups.is_empty() {
        out.human("nobody reads the old topics, as far as groups say")?;
    }
    let groups = groups.iter().map(|group| Named {
        group: &group.name,
        members: group.members,
        behind: group.behind,
    });
    out.document(&Listed {
        schema: "contraflow.consumers/1",
        groups: groups.collect(),
    })?;
    Ok(Exit::Yes)
}

fn translate(
    context: &Context,
    moved: &Moved,
    commits: bool,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let (from, to) = match moved.back {
        false => (Side::Old, Side::New),
        true => (Side::New, Side::Old),
    };
    let name = &moved.group;
    let groups = context.side(from).readers()?.groups()?;
    let Some(group) = groups.iter().find(|group| group.name == *name) else {
        let message = format!("group `{name}` has read nothing of the {from} topics");
        let error = Error::new(Kind::Precondition, Code::LETTER_UNKNOWN, message);
        out.failed(
            &error
                .hint("`contraflow consumers list` names those that have.")
                .into(),
        );
        return Ok(Exit::No);
    };
    if commits && group.members > 0 {
        let message = format!("group `{name}` has {} members", group.members);
        let error = Error::new(Kind::Precondition, Code::END_BUSY, message);
        out.failed(&error.hint("Stop its consumers, then move it.").into());
        return Ok(Exit::No);
    }
    let next = at_other(context, from, group)?;
    if commits {
        context.side(to).readers()?.go_on(name, &next)?;
    }
    let mut offsets = Vec::new();
    for (old, new) in group.next.iter().zip(&next) {
        let offset = Offset {
            from: &context.side(from).role.table(old.pair).name,
            to: &context.side(to).role.table(new.pair).name,
            partition: old.partition,
            at: old.offset,
            becomes: new.offset,
        };
        let Offset {
            from,
            to,
            partition,
            at,
            becomes,
        } = &offset;
        out.human(&format!(
            "{from} {partition}: {at}  ->  {to} {partition}: {becomes}"
        ))?;
        offsets.push(offset);
    }
    out.document(&Translated {
        schema: "contraflow.consumers.translate/1",
        group: name,
        moved: commits,
        offsets,
    })?;
    Ok(Exit::Yes)
}

/// Where a group goes on at the other side: behind the last record that it has read.
fn at_other(context: &Context, from: Side, group: &Group) -> Result<Vec<Next>> {
    let mut here = context.side(from).readers()?;
    let mut there = context.side(from.other()).readers()?;
    let mut all = Vec::new();
    for next in &group.next {
        let last = here.last_before(*next)?;
        let late = here.unread_late(*next)?;
        let offset = there.offset_behind(next.pair, next.partition, last, &late)?;
        all.push(Next { offset, ..*next });
    }
    Ok(all)
}
