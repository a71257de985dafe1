//! `contraflow consumers`: who still reads the old topics, and where they go on in the new ones.

mod list;
mod places;

use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind};
use contraflow_core::ledger::Entry;
use contraflow_core::side::Side;
use contraflow_core::sighting::Mark;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::request::lock;
use crate::session::Session;

/// Show and move the consumers of the topics.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Who reads the old topics: members, lag, commits, owners and deadlines.
    List {
        /// The change file, or its name.
        #[arg(value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
    /// Where consumers would go on in the other topics: exact, record by record.
    Translate(places::Translate),
    /// Have a consumer group go on in the other topics, exactly where it stands.
    Move(places::Move),
    /// Say that a group has moved: it keeps nobody from `contract` until it is seen again.
    Mark {
        /// The consumer group.
        #[arg(value_name = "GROUP")]
        group: String,
        /// Say that it has not.
        #[arg(long)]
        undo: bool,
        /// The change file, or its name.
        #[arg(long, value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
}

/// What says no without anything being wrong.
const REFUSALS: [Code; 4] = [
    Code::GROUP_UNKNOWN,
    Code::GROUP_ACTIVE,
    Code::PLACE_INEXACT,
    Code::COMMIT_MISSING,
];

#[derive(Serialize)]
struct Marked<'m> {
    schema: &'static str,
    group: &'m str,
    marked: bool,
}

/// Shows or moves. Exit 0 when it was done, 1 when it cannot be done as things are.
///
/// # Errors
/// When the cluster or the ledger cannot be used.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let change = match &args.verb {
        Verb::List { change } | Verb::Mark { change, .. } => change,
        Verb::Translate(translate) => &translate.change,
        Verb::Move(moved) => &moved.change,
    };
    let file = ChangeFile::find(change.as_deref())?;
    let session = match Session::ends(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let done = match &args.verb {
        Verb::List { .. } => list::run(&session, out),
        Verb::Translate(translate) => places::translate(&session, translate, out),
        Verb::Move(moved) => places::go_over(&session, moved, out),
        Verb::Mark { group, undo, .. } => mark(&session, group, *undo, out),
    };
    done.or_else(|error| match error.downcast_ref::<Error>() {
        // An expected no, which asks for another act of whoever asked.
        Some(own) if REFUSALS.contains(&own.code) => {
            out.failed(&error);
            Ok(Exit::No)
        }
        _ => Err(error),
    })
}

fn mark(session: &Session, name: &str, undo: bool, out: &mut Output) -> anyhow::Result<Exit> {
    let mark = match undo {
        true => None,
        false => Some(mark_of(session, name)?),
    };
    keep(session, name, mark.as_ref())?;
    out.human(&match undo {
        true => format!("group {name} has not moved"),
        false => format!("group {name} has moved; it counts again when it is seen again"),
    })?;
    out.document(&Marked {
        schema: "contraflow.consumers.mark/1",
        group: name,
        marked: !undo,
    })?;
    Ok(Exit::Yes)
}

/// Keeps in the ledger that a group has moved, or that it has not.
fn keep(session: &Session, name: &str, mark: Option<&Mark>) -> Result<(), Error> {
    let moved = if mark.is_some() { "has" } else { "has not" };
    let ledger = session.ledger()?;
    let mut ledger = lock(&ledger);
    ledger.mark(name, mark)?;
    ledger.record(&Entry {
        at_ms: session.context.clock.unix_ms(),
        kind: "note".to_owned(),
        text: format!("group {name} {moved} moved, somebody says"),
    })
}

/// A mark of this moment.
fn mark_of(session: &Session, name: &str) -> anyhow::Result<Mark> {
    let context = &session.context;
    let at_ms = context.clock.unix_ms();
    let groups = context.side(Side::Old).readers()?.groups()?;
    let group = groups.into_iter().find(|group| group.name == name);
    let declared = || context.consumers.iter().any(|known| known.group == name);
    match group {
        Some(group) if group.members > 0 => {
            let message = format!("group `{name}` has {} members", group.members);
            let error = Error::new(Kind::Precondition, Code::GROUP_ACTIVE, message);
            Err(error
                .hint("Stop its consumers, then say that it has moved.")
                .into())
        }
        Some(group) => Ok(Mark {
            at_ms,
            next: group.next,
        }),
        None if declared() => Ok(Mark {
            at_ms,
            next: Vec::new(),
        }),
        None => {
            let message = format!("group `{name}` reads nothing of the old topics");
            let error = Error::new(Kind::Precondition, Code::GROUP_UNKNOWN, message);
            let hint = "`contraflow consumers list` names those that do; a reader without a group \
                        can be declared under `consumers`.";
            Err(error.hint(hint).into())
        }
    }
}
