//! `contraflow consumers translate` and `move`.

use std::io::BufRead;
use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::end::Next;
use contraflow_core::error::{Error, Kind};
use contraflow_core::log::translate::Doubt;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;
use contraflow_core::sighting::Mark;
use contraflow_engine::context::Context;
use contraflow_engine::crossing::{self, How, Reset, Translated};
use serde::Serialize;

use crate::Exit;
use crate::output::Output;
use crate::session::Session;

/// Places read from standard input at most: every partition of a thousand large topics.
const PLACES_MAX: usize = 1_000_000;

#[derive(clap::Args, Debug)]
pub(super) struct Translate {
    /// The consumer group whose commits are translated.
    #[arg(value_name = "GROUP", required_unless_present = "at")]
    group: Option<String>,
    /// A place of a consumer that keeps its own; `-` reads one per line. The topic says which way.
    #[arg(long, value_name = "TOPIC:PARTITION:OFFSET", conflicts_with = "group")]
    at: Vec<String>,
    /// From the new topics to the old ones instead.
    #[arg(long, conflicts_with = "at")]
    back: bool,
    /// By timestamps, less the largest step back: never too far, but records come twice.
    #[arg(long)]
    by_time: bool,
    /// Where its consumers begin in partitions without a commit: their `auto.offset.reset`.
    #[arg(long, value_enum, conflicts_with = "at")]
    reset: Option<ResetArg>,
    /// As lines of comma-separated values.
    #[arg(long)]
    csv: bool,
    /// The change file, or its name.
    #[arg(long, value_name = "CHANGE")]
    pub(super) change: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub(super) struct Move {
    /// The consumer group.
    #[arg(value_name = "GROUP")]
    group: String,
    /// From the new topics to the old ones instead.
    #[arg(long)]
    back: bool,
    /// Although records come twice: also while it has members, or stands where nobody can tell.
    #[arg(long)]
    at_least_once: bool,
    /// By timestamps, less the largest step back: never too far, but records come twice.
    #[arg(long)]
    by_time: bool,
    /// Where its consumers begin in partitions without a commit: their `auto.offset.reset`.
    #[arg(long, value_enum)]
    reset: Option<ResetArg>,
    /// The change file, or its name.
    #[arg(long, value_name = "CHANGE")]
    pub(super) change: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum ResetArg {
    /// With the oldest record.
    Earliest,
    /// With whatever comes next.
    Latest,
    /// Nothing is committed for them.
    None,
}

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    group: Option<&'d str>,
    moved: bool,
    offsets: Vec<Offset<'d>>,
}

#[derive(Serialize)]
struct Offset<'d> {
    from: &'d str,
    to: &'d str,
    partition: i32,
    at: i64,
    becomes: i64,
    exact: bool,
    doubt: Option<&'static str>,
    /// The largest step back of timestamps, of a place found by time.
    step_ms: Option<i64>,
}

impl From<ResetArg> for Reset {
    fn from(reset: ResetArg) -> Reset {
        match reset {
            ResetArg::Earliest => Reset::Earliest,
            ResetArg::Latest => Reset::Latest,
            ResetArg::None => Reset::None,
        }
    }
}

fn left(back: bool) -> Side {
    if back { Side::New } else { Side::Old }
}

pub(super) fn translate(
    session: &Session,
    args: &Translate,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let context = &session.context;
    let mut offsets = Vec::new();
    match &args.group {
        Some(name) => {
            let from = left(args.back);
            let group = crossing::group(context, from, name)?;
            let places = crossing::places(context, from, &group, args.reset.map(Reset::from))?;
            let found = crossing::translate(context, from, &places, args.by_time)?;
            offsets.extend(found.iter().map(|found| offset(context, from, found)));
        }
        None => {
            let given = given(context, &args.at)?;
            for from in Side::BOTH {
                let of_side = given.iter().filter(|(side, _)| *side == from);
                let places: Vec<Next> = of_side.map(|(_, place)| *place).collect();
                let found = crossing::translate(context, from, &places, args.by_time)?;
                offsets.extend(found.iter().map(|found| offset(context, from, found)));
            }
        }
    }
    let name = args.group.as_deref();
    let sure = offsets.iter().all(|offset| offset.doubt.is_none());
    if args.csv {
        csv(name, &offsets, out)?;
    } else {
        table(&offsets, out)?;
    }
    document(name, false, offsets, out)?;
    Ok(if sure { Exit::Yes } else { Exit::No })
}

pub(super) fn go_over(session: &Session, args: &Move, out: &mut Output) -> anyhow::Result<Exit> {
    let context = &session.context;
    let name = &args.group;
    let from = left(args.back);
    let how = How {
        from,
        at_least_once: args.at_least_once,
        by_time: args.by_time,
        reset: args.reset.map(Reset::from),
    };
    let at_ms = context.clock.unix_ms();
    let (group, found) = crossing::go_over(context, name, how)?;
    let next = group.next;
    let mark = Mark { at_ms, next };
    super::keep(session, name, (!args.back).then_some(&mark))?;
    let offsets: Vec<Offset<'_>> = found
        .iter()
        .map(|found| offset(context, from, found))
        .collect();
    table(&offsets, out)?;
    document(Some(name), true, offsets, out)?;
    Ok(Exit::Yes)
}

fn offset<'d>(context: &'d Context, from: Side, found: &Translated) -> Offset<'d> {
    let Translated { at, spot, step_ms } = *found;
    let name = |side: Side| context.side(side).role.table(at.pair).name.as_str();
    Offset {
        from: name(from),
        to: name(from.other()),
        partition: at.partition,
        at: at.offset,
        becomes: spot.offset,
        exact: spot.doubt.is_none() && step_ms.is_none(),
        doubt: spot.doubt.map(Doubt::words),
        step_ms,
    }
}

fn table(offsets: &[Offset<'_>], out: &mut Output) -> anyhow::Result<()> {
    for offset in offsets {
        let Offset {
            from,
            to,
            partition,
            at,
            becomes,
            ..
        } = offset;
        let note = match (offset.doubt, offset.step_ms) {
            (Some(doubt), _) => format!("  not exact: {doubt}"),
            (None, Some(step)) => format!("  by time, which went back by {step} ms at most"),
            (None, None) => String::new(),
        };
        out.human(&format!(
            "{from} {partition}: {at}  ->  {to} {partition}: {becomes}{note}"
        ))?;
    }
    Ok(())
}

fn csv(group: Option<&str>, offsets: &[Offset<'_>], out: &mut Output) -> anyhow::Result<()> {
    out.human("group,from,partition,offset,to,to_offset,exact")?;
    for offset in offsets {
        let Offset {
            from,
            to,
            partition,
            at,
            becomes,
            exact,
            ..
        } = offset;
        let group = quoted(group.unwrap_or_default());
        out.human(&format!(
            "{group},{from},{partition},{at},{to},{becomes},{exact}"
        ))?;
    }
    Ok(())
}

/// A field of comma-separated values. Names of topics need no quotes, those of groups may.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

fn document(
    group: Option<&str>,
    moved: bool,
    offsets: Vec<Offset<'_>>,
    out: &mut Output,
) -> anyhow::Result<()> {
    let schema = if moved {
        "contraflow.consumers.move/1"
    } else {
        "contraflow.consumers.translate/1"
    };
    out.document(&Document {
        schema,
        group,
        moved,
        offsets,
    })?;
    Ok(())
}

/// A topic of the change.
struct Topic<'c> {
    side: Side,
    pair: PairId,
    name: &'c str,
    partitions: i32,
}

/// Places as typed, with the side that each belongs to.
fn given(context: &Context, texts: &[String]) -> anyhow::Result<Vec<(Side, Next)>> {
    let mut topics = Vec::new();
    for side in Side::BOTH {
        let bound = context.side(side);
        let mut readers = bound.readers()?;
        for (pair, table) in bound.role.pairs() {
            topics.push(Topic {
                side,
                pair,
                name: &table.name,
                partitions: readers.partitions(pair)?,
            });
        }
    }
    let mut places = Vec::new();
    for text in texts {
        if text != "-" {
            places.push(place(&topics, text)?);
            continue;
        }
        for line in std::io::stdin().lock().lines().take(PLACES_MAX) {
            let line = line?;
            if !line.trim().is_empty() {
                places.push(place(&topics, line.trim())?);
            }
        }
    }
    Ok(places)
}

fn place(topics: &[Topic<'_>], text: &str) -> Result<(Side, Next), Error> {
    let bad = |message: String| {
        let error = Error::new(Kind::Config, Code::VALUE_INVALID, message);
        error.hint("Write `TOPIC:PARTITION:OFFSET`, or the three with commas.")
    };
    let mut parts = text.rsplitn(3, [':', ',']);
    let (offset, partition, name) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.and_then(|part| part.trim().parse::<i64>().ok());
    let (Some(offset), Some(partition), Some(name)) = (
        number(offset).filter(|offset| *offset >= 0),
        number(partition).and_then(|partition| i32::try_from(partition).ok()),
        name,
    ) else {
        return Err(bad(format!("`{text}` is no place of a topic")));
    };
    let Some(topic) = topics.iter().find(|topic| topic.name == name) else {
        return Err(bad(format!("`{name}` is no topic of this change")));
    };
    if !(0..topic.partitions).contains(&partition) {
        let count = topic.partitions;
        return Err(bad(format!(
            "`{name}` has {count} partitions, no {partition}"
        )));
    }
    let next = Next {
        pair: topic.pair,
        partition,
        offset,
    };
    Ok((topic.side, next))
}
