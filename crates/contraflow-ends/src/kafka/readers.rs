//! Consumer groups of the topics of a side: who reads, how far they have come, and saying for them
//! where they go on.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Group, Next, Presence, Readers};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::Keyed;
use contraflow_core::log::translate::{Flip, Look};
use contraflow_core::record::PairId;
use contraflow_core::side::Direction;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::GroupInfo;
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::client::{self, ANSWER_MAX, failure};
use super::commits::Commits;
use super::control::Control;
use super::envelope::Telling;
use super::look::{Glance, Partition};
use super::native;
use super::place::TopicPlace;
use super::producer::Producer;
use super::shares;

/// How long groups that share out their partitions anew are waited for: most need a second.
const REBALANCE_MAX: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);
/// A gap of so many offsets may hold markers only, which nobody reads: it is looked at.
const GAP: i64 = 1_000;

pub(super) struct Groups {
    context: Context,
}

/// The topics of this side, and who asks about them.
struct Asked {
    broker: Arc<Broker>,
    commits: Commits,
    glance: Glance,
    topics: Vec<Read>,
}

/// A topic of this side, and its end.
struct Read {
    pair: PairId,
    topic: Topic,
    ends: Vec<i64>,
}

impl Groups {
    pub(super) fn new(context: Context) -> Groups {
        Groups { context }
    }

    fn topic(&self, broker: &Broker, pair: PairId) -> Result<Topic> {
        let role = &self.context.role;
        broker.named(&role.table(pair).name, role.side)
    }

    fn commits(&self) -> Result<Commits> {
        let Context {
            cluster,
            names,
            clock,
            ..
        } = &self.context;
        Commits::new(cluster, &names.group(Direction::Forward), Arc::clone(clock))
    }

    fn asked(&self) -> Result<Asked> {
        let broker = &self.context.broker;
        let of = |pair| -> Result<Read> {
            let topic = self.topic(broker, pair)?;
            let ends = broker.ends(&topic, Visible::Committed)?;
            Ok(Read { pair, topic, ends })
        };
        let topics = self.context.role.pairs().map(|(pair, _)| of(pair));
        Ok(Asked {
            topics: topics.collect::<Result<_>>()?,
            glance: Glance::new(self.context.clone())?,
            commits: self.commits()?,
            broker: Arc::clone(broker),
        })
    }

    /// All groups with their members, once those that rebalance have had time to finish.
    fn described(&self, broker: &Broker, names: &[String]) -> Result<Vec<native::Group>> {
        let client = broker.consumer()?.client();
        let mut groups = native::describe(client, names)?;
        let deadline = self.context.clock.elapsed() + REBALANCE_MAX;
        while self.context.clock.elapsed() < deadline && groups.iter().any(|g| hidden(g) > 0) {
            self.context.clock.sleep(LOOK);
            for group in groups.iter_mut().filter(|group| hidden(group) > 0) {
                let again = native::describe(client, std::slice::from_ref(&group.name))?;
                if let Some(again) = again.into_iter().next() {
                    *group = again;
                }
            }
        }
        Ok(groups)
    }

    /// Groups that the client cannot describe: share groups, and those of streams.
    fn others(&self, asked: &Asked, described: &[String], found: &mut Vec<Group>) -> Result<()> {
        let listed = asked.broker.consumer()?.fetch_group_list(None, ANSWER_MAX);
        let listed = listed.map_err(|error| failure("asking for consumer groups", error))?;
        let mut names: Vec<&str> = listed.groups().iter().map(GroupInfo::name).collect();
        names.retain(|name| {
            !self.context.names.is_ours(name) && !described.iter().any(|known| known == name)
        });
        if names.is_empty() {
            return Ok(());
        }
        let shares = shares::read(&self.context, &asked.broker)?;
        for name in names {
            let shared = shares.get(name);
            let (next, behind) = asked.committed(name)?;
            let reads = asked.topics.iter().filter(|read| {
                shared.is_some_and(|topics| topics.contains(&read.topic.id))
                    || next.iter().any(|next| next.pair == read.pair)
            });
            let reads: Vec<PairId> = reads.map(|read| read.pair).collect();
            if reads.is_empty() {
                continue;
            }
            let kind = if shared.is_some() { "share" } else { "other" };
            found.push(Group {
                name: name.to_owned(),
                kind: kind.to_owned(),
                state: "Unknown".to_owned(),
                members: 0,
                is_known: false,
                reads,
                next,
                behind,
            });
        }
        Ok(())
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        let made = client::consumer(&self.context.cluster, group).create();
        made.map_err(|error| failure("making a client", error))
    }
}

impl Readers for Groups {
    fn groups(&mut self) -> Result<Vec<Group>> {
        let asked = self.asked()?;
        let mut names = native::groups(asked.broker.consumer()?.client())?;
        names.retain(|name| !self.context.names.is_ours(name));
        let mut found = Vec::new();
        for group in self.described(&asked.broker, &names)? {
            let (next, behind) = asked.committed(&group.name)?;
            let group = reader(&asked.topics, group, next, behind);
            if group.members > 0 || !group.next.is_empty() {
                found.push(group);
            }
        }
        self.others(&asked, &names, &mut found)?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn partitions(&mut self, pair: PairId) -> Result<i32> {
        let broker = &self.context.broker;
        let topic = self.topic(broker, pair)?;
        Ok(i32::try_from(topic.partitions).unwrap_or(i32::MAX))
    }

    fn keys(&mut self, pair: PairId, most: usize) -> Result<Vec<Keyed>> {
        let broker = &self.context.broker;
        let topic = self.topic(broker, pair)?;
        let control = Control::read(&self.context)?;
        let telling = Telling::new(&self.context, pair, control.as_ref());
        let glance = Glance::new(self.context.clone())?;
        glance.keys(broker, (&topic, &telling), most)
    }

    fn look(&mut self, pair: PairId, partition: i32) -> Result<Box<dyn Look>> {
        Ok(Box::new(Partition::new(
            self.context.clone(),
            pair,
            partition,
        )?))
    }

    fn flip(&mut self, pair: PairId, partition: i32) -> Result<Option<Flip>> {
        let control = Control::read(&self.context)?;
        let Some(flip) = control.and_then(|control| control.flip) else {
            return Ok(None);
        };
        let of = |places: &[TopicPlace]| {
            let place = places.get(usize::from(pair.0))?;
            let partition = usize::try_from(partition).ok()?;
            place.next.get(partition).copied()
        };
        match (of(&flip.old_ends), of(&flip.new_starts)) {
            (Some(old_end), Some(new_start)) => Ok(Some(Flip { old_end, new_start })),
            _ => {
                let message = "the record of the flip says nothing of this partition";
                Err(Error::new(Kind::Hold, Code::END_FAILED, message))
            }
        }
    }

    fn go_on(&mut self, group: &str, next: &[Next], presence: Presence) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for next in next {
            let topic = &self.context.role.table(next.pair).name;
            let offset = Offset::Offset(next.offset);
            let added = offsets.add_partition_offset(topic, next.partition, offset);
            added.map_err(|error| failure("naming an offset", error))?;
        }
        if next.is_empty() {
            return Ok(());
        }
        let consumer = self.consumer(group)?;
        let committed = match presence {
            Presence::Empty => consumer
                .commit(&offsets, CommitMode::Sync)
                .map_err(|error| (error.rdkafka_error_code(), failure("committing", error))),
            Presence::Members => {
                // Brokers take offsets from a transaction whether or not the group has members.
                let producer = Producer::take(&self.context, &self.context.names.readers())?;
                producer.begin()?;
                producer.offsets(&consumer, &offsets)?;
                return producer.commit();
            }
        };
        committed.map_err(|(code, error)| match code {
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
                has_members(group)
            }
            _ => error,
        })
    }
}

impl Asked {
    /// Where a group goes on in the topics, and how many records are left there.
    fn committed(&self, group: &str) -> Result<(Vec<Next>, u64)> {
        let all = self.commits.of(group)?;
        let (mut next, mut behind) = (Vec::new(), 0);
        for place in all {
            let mut topics = self.topics.iter();
            let Some(read) = topics.find(|read| read.topic.name == place.topic) else {
                continue;
            };
            let end = usize::try_from(place.partition).ok();
            let Some(end) = end.and_then(|at| read.ends.get(at)) else {
                continue;
            };
            behind += self.left(read, &place, *end)?;
            next.push(Next {
                pair: read.pair,
                partition: place.partition,
                offset: place.offset,
            });
        }
        next.sort_by_key(|next| (next.pair, next.partition));
        Ok((next, behind))
    }

    /// How many records lie between a place and the end, markers included unless there are only
    /// those: nothing is left then.
    fn left(&self, read: &Read, place: &native::Committed, end: i64) -> Result<u64> {
        let gap = end - place.offset;
        let Ok(left @ 1..) = u64::try_from(gap) else {
            return Ok(0);
        };
        if gap > GAP {
            return Ok(left);
        }
        let start = self.broker.starts(&read.topic)?;
        let at = usize::try_from(place.partition).unwrap_or(usize::MAX);
        let from = start.get(at).map_or(0, |start| place.offset.max(*start));
        let next = self.glance.first_from(&read.topic, place.partition, from)?;
        Ok(next.map_or(0, |_| left))
    }
}

/// Members of which nobody can see what they read: they share it out anew.
fn hidden(group: &native::Group) -> usize {
    if matches!(group.state, Some("Stable" | "Empty" | "Dead")) {
        return 0;
    }
    let members = group.members.iter();
    members.filter(|topics| topics.is_empty()).count()
}

fn reader(read: &[Read], group: native::Group, next: Vec<Next>, behind: u64) -> Group {
    let has = |topics: &[String], read: &Read| topics.contains(&read.topic.name);
    let members = group.members.iter();
    let showing = members.filter(|topics| read.iter().any(|read| has(topics, read)));
    let (showing, hidden) = (showing.count(), hidden(&group));
    let reads = read.iter().filter(|read| {
        next.iter().any(|next| next.pair == read.pair)
            || group.members.iter().any(|topics| has(topics, read))
    });
    Group {
        reads: reads.map(|read| read.pair).collect(),
        kind: group.kind.to_owned(),
        state: group.state.unwrap_or("Unknown").to_owned(),
        members: showing + hidden,
        is_known: showing > 0 || hidden == 0,
        name: group.name,
        next,
        behind,
    }
}

fn has_members(group: &str) -> Error {
    let message = format!("group `{group}` has members");
    Error::new(Kind::Precondition, Code::GROUP_ACTIVE, message)
        .detail("What they commit would overwrite where the group goes on.")
        .hint("Stop its consumers, then move it; or let records come twice: `--at-least-once`.")
}
