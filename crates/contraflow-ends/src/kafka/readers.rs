//! Consumer groups of the topics of a side, and offsets found by where records come from.
//!
//! Places grow along a partition, so the offset behind a place is found by halves: a few dozen
//! records are looked at, however long the log is.

use contraflow_core::code::Code;
use contraflow_core::end::{Group, Next, Readers};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::Place;
use contraflow_core::record::PairId;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::client::{self, ANSWER_MAX, failure};
use super::envelope;
use super::names::Names;
use super::structure::reads_topic;

pub(super) struct Groups {
    context: Context,
}

impl Groups {
    pub(super) fn new(context: Context) -> Groups {
        Groups { context }
    }

    fn topic(&self, broker: &Broker, pair: PairId) -> Result<Topic> {
        let name = &self.context.role.table(pair).name;
        broker.topic(name)?.ok_or_else(|| {
            let message = format!("there is no topic `{name}`");
            Error::new(Kind::Precondition, Code::TABLE_MISSING, message).at(self.context.role.side)
        })
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        let mut settings = client::consumer(&self.context.cluster, group);
        settings
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "5");
        let made = settings.create();
        made.map_err(|error| failure("making a client", error))
    }

    /// The first record at or after an offset.
    fn probe(
        &self,
        consumer: &BaseConsumer,
        topic: &Topic,
        partition: i32,
        offset: i64,
    ) -> Result<Option<(i64, Place)>> {
        let fail = |error| failure(&format!("reading topic `{}`", topic.name), error);
        let mut from = TopicPartitionList::new();
        let added = from.add_partition_offset(&topic.name, partition, Offset::Offset(offset));
        added.map_err(fail)?;
        consumer.assign(&from).map_err(fail)?;
        let message = match consumer.poll(ANSWER_MAX) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) => return Err(fail(error)),
            None => return Err(client::unreachable("a record was not handed out in time")),
        };
        let source = envelope::read(&message, self.context.names.hash).source;
        let place = match source {
            Some(source) => Place::new(partition, source.direction.source(), source.offset),
            None => Place::new(partition, self.context.role.side, message.offset()),
        };
        Ok(Some((message.offset(), place)))
    }

    /// Where a group goes on in the topics of this side, as far as it has said.
    fn committed(&self, topics: &[(PairId, Topic)], group: &str) -> Result<Vec<Next>> {
        let fail = |error| failure(&format!("asking for the offsets of group `{group}`"), error);
        let consumer = self.consumer(group)?;
        let mut found = Vec::new();
        for (pair, topic) in topics {
            let mut asked = TopicPartitionList::new();
            let last = i32::try_from(topic.partitions).unwrap_or(i32::MAX) - 1;
            asked.add_partition_range(&topic.name, 0, last);
            let committed = consumer
                .committed_offsets(asked, ANSWER_MAX)
                .map_err(fail)?;
            for element in committed.elements() {
                if let Offset::Offset(offset) = element.offset() {
                    let (pair, partition) = (*pair, element.partition());
                    found.push(Next {
                        pair,
                        partition,
                        offset,
                    });
                }
            }
        }
        Ok(found)
    }
}

impl Readers for Groups {
    fn groups(&mut self) -> Result<Vec<Group>> {
        let broker = Broker::new(&self.context.cluster)?;
        let mut topics = Vec::new();
        for (pair, _) in self.context.role.pairs() {
            topics.push((pair, self.topic(&broker, pair)?));
        }
        let listed = broker.consumer().fetch_group_list(None, ANSWER_MAX);
        let listed = listed.map_err(|error| failure("asking for consumer groups", error))?;
        let mut groups = Vec::new();
        for group in listed.groups() {
            if Names::is_ours(group.name()) {
                continue;
            }
            let reads = |assignment: Option<&[u8]>| {
                let mut topics = topics.iter();
                topics.any(|(_, topic)| reads_topic(assignment.unwrap_or_default(), &topic.name))
            };
            let members = group.members().iter();
            let members = members.filter(|member| reads(member.assignment())).count();
            let next = self.committed(&topics, group.name())?;
            if members == 0 && next.is_empty() {
                continue;
            }
            let mut behind = 0;
            for (pair, topic) in &topics {
                let ends = broker.ends(topic, Visible::Committed)?;
                for next in next.iter().filter(|next| next.pair == *pair) {
                    let end = usize::try_from(next.partition).map_or(0, |place| ends[place]);
                    behind += u64::try_from(end - next.offset).unwrap_or(0);
                }
            }
            groups.push(Group {
                name: group.name().to_owned(),
                members,
                next,
                behind,
            });
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    fn last_before(&mut self, next: Next) -> Result<Option<Place>> {
        let broker = Broker::new(&self.context.cluster)?;
        let topic = self.topic(&broker, next.pair)?;
        let consumer = self.consumer("contraflow")?;
        let place = usize::try_from(next.partition).unwrap_or(usize::MAX);
        let start = broker.starts(&topic)?.get(place).copied().unwrap_or(0);
        let mut back = 1;
        // Markers have no place: the step back doubles until a record is met, then its followers
        // are looked at one by one.
        loop {
            let from = (next.offset - back).max(start);
            let mut last = None;
            let mut at = from;
            while let Some((offset, place)) = self.probe(&consumer, &topic, next.partition, at)? {
                if offset >= next.offset {
                    break;
                }
                last = Some(place);
                at = offset + 1;
            }
            if last.is_some() || from == start {
                return Ok(last);
            }
            back *= 2;
        }
    }

    fn offset_behind(&mut self, pair: PairId, partition: i32, place: Option<Place>) -> Result<i64> {
        let broker = Broker::new(&self.context.cluster)?;
        let topic = self.topic(&broker, pair)?;
        let consumer = self.consumer("contraflow")?;
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let of = |offsets: Vec<i64>| offsets.get(index).copied().unwrap_or(0);
        let mut low = of(broker.starts(&topic)?);
        let mut high = of(broker.ends(&topic, Visible::Committed)?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.probe(&consumer, &topic, partition, middle)? {
                Some((offset, found)) if offset < high && Some(found) <= place => low = offset + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(high)
    }

    fn go_on(&mut self, group: &str, next: &[Next]) -> Result<()> {
        let consumer = self.consumer(group)?;
        let mut offsets = TopicPartitionList::new();
        for next in next {
            let topic = &self.context.role.table(next.pair).name;
            let offset = Offset::Offset(next.offset);
            let added = offsets.add_partition_offset(topic, next.partition, offset);
            added.map_err(|error| failure("naming an offset", error))?;
        }
        match consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => Ok(()),
            Err(KafkaError::ConsumerCommit(
                RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration,
            )) => Err(has_members(group)),
            Err(error) => Err(failure("committing offsets", error)),
        }
    }
}

fn has_members(group: &str) -> Error {
    let message = format!("group `{group}` has members");
    Error::new(Kind::Precondition, Code::END_BUSY, message)
        .detail("What they commit would overwrite where the group goes on.")
        .hint("Stop its consumers, then move it.")
}
