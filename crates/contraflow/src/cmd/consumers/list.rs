//! `contraflow consumers list`.

use contraflow_core::change::consumers::Consumer;
use contraflow_core::end::{Group, User};
use contraflow_core::sighting::{Said, Sighting, Sightings, show};
use serde::Serialize;
use std::time::Duration;

use crate::Exit;
use crate::output::Output;
use crate::request::lock;
use crate::session::Session;

#[derive(Serialize)]
struct Listed<'l> {
    schema: &'static str,
    groups: Vec<Reader<'l>>,
    /// Who keeps `contract` from taking the old topics down, and why.
    in_the_way: &'l [User],
}

#[derive(Serialize)]
struct Reader<'l> {
    group: &'l str,
    /// Whether it reads the old topics, or has said how far.
    exists: bool,
    #[serde(rename = "type")]
    kind: Option<&'l str>,
    state: Option<&'l str>,
    members: usize,
    topics: Vec<&'l str>,
    behind: u64,
    /// The newest change of a committed offset that was seen; brokers do not tell the time.
    committed_at_ms: Option<u64>,
    moved: bool,
    owner: Option<&'l str>,
    deadline: Option<String>,
    offsets: Vec<Committed<'l>>,
}

#[derive(Serialize)]
struct Committed<'l> {
    topic: &'l str,
    partition: i32,
    offset: i64,
}

pub(super) fn run(session: &Session, out: &mut Output) -> anyhow::Result<Exit> {
    let context = &session.context;
    let now_ms = context.clock.unix_ms();
    let old = context.old.readers()?.groups()?;
    let new = context.new.readers()?.groups()?;
    let ledger = session.ledger()?;
    let (mut sightings, marks) = {
        let mut ledger = lock(&ledger);
        (ledger.sighted()?, ledger.marks()?)
    };
    sightings.look(now_ms, &old, &new);
    let declared = &context.consumers;
    let said = Said {
        marks: &marks,
        declared,
        gone: context.limits.readers_gone,
    };
    let in_the_way = sightings.in_the_way(now_ms, said);
    let topics = |group: &Group| {
        let names = group.reads.iter();
        names
            .map(|pair| context.old.role.table(*pair).name.as_str())
            .collect()
    };
    let mut readers: Vec<Reader<'_>> = old
        .iter()
        .map(|group| reader(group, topics(group), &sightings))
        .collect();
    for consumer in declared {
        let name = consumer.group.as_str();
        if !readers.iter().any(|reader| reader.group == name) {
            readers.push(absent(name));
        }
    }
    for reader in &mut readers {
        let declared = declared.iter().find(|known| known.group == reader.group);
        reader.owner = declared.and_then(|known| known.owner.as_deref());
        reader.deadline = declared.and_then(deadline);
        reader.moved = !sightings.is_left(reader.group, &marks);
        if let Some(group) = old.iter().find(|group| group.name == reader.group) {
            let committed = group.next.iter().map(|next| Committed {
                topic: &context.old.role.table(next.pair).name,
                partition: next.partition,
                offset: next.offset,
            });
            reader.offsets = committed.collect();
        }
    }
    tell(&readers, &in_the_way, now_ms, out)?;
    out.document(&Listed {
        schema: "contraflow.consumers/1",
        groups: readers,
        in_the_way: &in_the_way,
    })?;
    Ok(Exit::Yes)
}

fn deadline(consumer: &Consumer) -> Option<String> {
    consumer.deadline.map(|day| day.to_string())
}

fn reader<'l>(group: &'l Group, topics: Vec<&'l str>, sightings: &Sightings) -> Reader<'l> {
    let sighting = sightings.groups.get(&group.name);
    Reader {
        group: &group.name,
        exists: true,
        kind: Some(&group.kind),
        state: Some(&group.state),
        members: group.members,
        topics,
        behind: group.behind,
        committed_at_ms: sighting.and_then(|sighting: &Sighting| sighting.committed_at_ms),
        ..absent(&group.name)
    }
}

/// Somebody of whom the brokers know nothing.
fn absent(name: &str) -> Reader<'_> {
    Reader {
        group: name,
        exists: false,
        kind: None,
        state: None,
        members: 0,
        topics: Vec::new(),
        behind: 0,
        committed_at_ms: None,
        moved: false,
        owner: None,
        deadline: None,
        offsets: Vec::new(),
    }
}

fn tell(
    readers: &[Reader<'_>],
    in_the_way: &[User],
    now_ms: u64,
    out: &mut Output,
) -> anyhow::Result<()> {
    if readers.is_empty() {
        out.human("nobody reads the old topics, as far as groups say")?;
        return Ok(());
    }
    let width = readers.iter().map(|reader| reader.group.len());
    let width = width.max().unwrap_or(0).max("GROUP".len());
    out.human(&format!(
        "{:<width$}  {:<8}  {:<10}  {:>7}  {:>8}  {:<11}  TOPICS",
        "GROUP", "TYPE", "STATE", "MEMBERS", "BEHIND", "LAST COMMIT"
    ))?;
    for reader in readers {
        let name = reader.group;
        let (Some(kind), Some(state)) = (reader.kind, reader.state) else {
            let why = match reader.moved {
                true => "declared; reads the new topics only, or was said to have moved",
                false => "declared, and not known to the brokers",
            };
            out.human(format!("{name:<width$}  {why}").trim_end())?;
            owned(reader, out)?;
            continue;
        };
        let committed = reader.committed_at_ms.map_or("not seen".to_owned(), |ms| {
            format!(
                "{} ago",
                show(Duration::from_millis(now_ms.saturating_sub(ms)))
            )
        });
        let (members, behind) = (reader.members, reader.behind);
        let topics = reader.topics.join(", ");
        out.human(
            format!(
                "{name:<width$}  {kind:<8}  {state:<10}  {members:>7}  {behind:>8}  \
                 {committed:<11}  {topics}"
            )
            .trim_end(),
        )?;
        owned(reader, out)?;
    }
    for user in in_the_way {
        out.human(&format!(
            "in the way of contract: {}, {}",
            user.who, user.seen
        ))?;
    }
    Ok(())
}

fn owned(reader: &Reader<'_>, out: &mut Output) -> anyhow::Result<()> {
    let mut said = Vec::new();
    if let Some(owner) = reader.owner {
        said.push(format!("owner {owner}"));
    }
    if let Some(deadline) = &reader.deadline {
        said.push(format!("to have moved by {deadline}"));
    }
    if reader.exists && reader.moved {
        said.push("has moved".to_owned());
    }
    if !said.is_empty() {
        out.human(&format!("  {}", said.join(", ")))?;
    }
    Ok(())
}
