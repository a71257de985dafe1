//! `contraflow letters`: rows that could not be carried.

use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::end::StoredLetter;
use contraflow_core::error::{Error, Kind};
use contraflow_core::phase::Ask;
use contraflow_engine::runner::requests::shown;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;

/// Show rows that could not be carried, or try them again.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List the letters: table, field and reason, no values.
    List {
        /// The change file, or its name.
        #[arg(value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
    /// Show one letter with the key it blocks.
    Show {
        /// Its number.
        id: u64,
        /// The change file, or its name.
        #[arg(value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
    /// Try letters again: these, or all.
    Replay {
        /// Their numbers.
        #[arg(value_name = "ID")]
        ids: Vec<u64>,
        /// The change file, or its name.
        #[arg(long, value_name = "CHANGE")]
        change: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Listed {
    schema: &'static str,
    letters: Vec<Letter>,
}

#[derive(Serialize)]
struct Letter {
    id: u64,
    direction: String,
    table: String,
    code: Code,
    reason: String,
    since_ms: u64,
    attempts: u64,
    /// Only `show` fills it: the person asked for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Vec<String>>,
}

/// Lists, shows or replays. Exit 0 when there are none, 1 when some stand.
///
/// # Errors
/// When an end cannot be read, or there is no such letter.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let change = match &args.verb {
        Verb::Replay { ids, change } => {
            let ask = Ask::Replay { ids: ids.clone() };
            return super::ask::run("letters", change.as_ref(), &ask, out);
        }
        Verb::List { change } | Verb::Show { change, .. } => change,
    };
    let file = ChangeFile::find(change.as_deref())?;
    let session = match Session::open(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let context = &session.context;
    let there = [
        context.old.switch()?.standing()?,
        context.new.switch()?.standing()?,
    ];
    let stored = super::status::standing_letters(&session, there[0].is_some(), there[1].is_some())?;
    let letters: Vec<Letter> = match &args.verb {
        Verb::Show { id, .. } => {
            let found = stored
                .iter()
                .find(|letter| letter.id == *id)
                .ok_or_else(|| {
                    Error::new(
                        Kind::Config,
                        Code::LETTER_UNKNOWN,
                        format!("there is no letter {id}"),
                    )
                    .hint("`contraflow letters list` shows those that stand.")
                })?;
            vec![letter(&session, found, true)]
        }
        Verb::List { .. } | Verb::Replay { .. } => stored
            .iter()
            .map(|stored| letter(&session, stored, false))
            .collect(),
    };
    if letters.is_empty() {
        out.human("no letters")?;
    }
    for letter in &letters {
        out.human(&format!(
            "{:>4}  {}  {:<8} {:<20} tries {:<3} {}",
            letter.id, letter.code, letter.direction, letter.table, letter.attempts, letter.reason
        ))?;
        if let Some(key) = &letter.key {
            out.human(&format!("      key {}", key.join(",")))?;
        }
    }
    let exit = if letters.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    };
    out.document(&Listed {
        schema: "contraflow.letters/1",
        letters,
    })?;
    Ok(exit)
}

fn letter(session: &Session, stored: &StoredLetter, with_key: bool) -> Letter {
    let pair = session.context.pair(stored.letter.pair);
    let table = match stored.direction.source() {
        contraflow_core::side::Side::Old => &pair.old,
        contraflow_core::side::Side::New => &pair.new,
    };
    Letter {
        id: stored.id,
        direction: stored.direction.to_string(),
        table: table.clone(),
        code: stored.letter.code,
        reason: stored.letter.reason.clone(),
        since_ms: stored.since_ms,
        attempts: stored.attempts,
        key: with_key.then(|| stored.letter.source_key.0.iter().map(shown).collect()),
    }
}
