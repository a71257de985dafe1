//! Consumer groups of the topics of a side, and offsets found by where records come from.
//!
//! Places grow along a partition, so the offset behind a place is found by halves: a few dozen
//! records are looked at, however long the log is.

use std::collections::HashSet;

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
use super::control::Control;
use super::envelope::Telling;
use super::glance::{Glance, Span};
use super::names::Names;
use super::structure::reads_topic;

pub(super) struct Groups {
    context: Context,
}

/// A partition that is looked at record by record.
struct Look {
    topic: Topic,
    consumer: BaseConsumer,
    telling: Telling,
    partition: i32,
}

impl Look {
    /// The first record at or after an offset that has a place in the order of the log: what was
    /// written late has none.
    fn first(&self, offset: i64) -> Result<Option<(i64, Place)>> {
        self.find(offset, |place| !place.is_late())
    }

    /// The first record at or after an offset that is wanted.
    fn find(&self, offset: i64, wanted: impl Fn(Place) -> bool) -> Result<Option<(i64, Place)>> {
        let topic = &self.topic.name;
        let fail = |error| failure(&format!("reading topic `{topic}`"), error);
        let mut from = TopicPartitionList::new();
        let offset = Offset::Offset(offset);
        let added = from.add_partition_offset(topic, self.partition, offset);
        added.map_err(fail)?;
        self.consumer.assign(&from).map_err(fail)?;
        loop {
            let message = match self.consumer.poll(ANSWER_MAX) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => return Err(fail(error)),
                None => return Err(client::unreachable("a record was not handed out in time")),
            };
            let source = self.telling.read(&message).source;
            let offset = message.offset();
            let place = self.telling.place(self.partition, offset, source.as_ref());
            if wanted(place) {
                return Ok(Some((offset, place)));
            }
        }
    }
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
        let mut settings = client::consumer(&self.context.servers, group);
        settings
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "5");
        let made = settings.create();
        made.map_err(|error| failure("making a client", error))
    }

    /// A partition of a pair's topic, to be looked at record by record.
    fn look(&self, broker: &Broker, pair: PairId, partition: i32) -> Result<Look> {
        let control = Control::read(&self.context)?;
        Ok(Look {
            topic: self.topic(broker, pair)?,
            consumer: self.consumer("contraflow")?,
            telling: Telling::new(&self.context, pair, control.as_ref()),
            partition,
        })
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
        let broker = Broker::new(&self.context.servers)?;
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
        let broker = Broker::new(&self.context.servers)?;
        let look = self.look(&broker, next.pair, next.partition)?;
        let place = usize::try_from(next.partition).unwrap_or(usize::MAX);
        let start = broker.starts(&look.topic)?.get(place).copied().unwrap_or(0);
        let mut back = 1;
        // Markers have no place: the step back doubles until a record is met, then its followers
        // are looked at one by one.
        loop {
            let from = (next.offset - back).max(start);
            let mut last = None;
            let mut at = from;
            while let Some((offset, place)) = look.first(at)? {
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

    fn unread_late(&mut self, next: Next) -> Result<HashSet<Place>> {
        let mut unread = HashSet::new();
        let control = Control::read(&self.context)?;
        if control
            .as_ref()
            .is_none_or(|control| control.late.is_none())
        {
            return Ok(unread);
        }
        let broker = Broker::new(&self.context.servers)?;
        let topic = self.topic(&broker, next.pair)?;
        let telling = Telling::new(&self.context, next.pair, control.as_ref());
        let partition = usize::try_from(next.partition).unwrap_or(usize::MAX);
        let ends = broker.ends(&topic, Visible::Committed)?;
        let to = ends.get(partition).copied().unwrap_or(0);
        let from = next
            .offset
            .max(broker.starts(&topic)?.get(partition).copied().unwrap_or(0));
        if from >= to {
            return Ok(unread);
        }
        let span = Span {
            partition,
            from,
            to,
        };
        Glance::new(&self.context, &topic.name)?.at(&[span], |_, message| {
            let source = telling.read(message).source;
            let place = telling.place(next.partition, message.offset(), source.as_ref());
            if place.is_late() {
                unread.insert(place);
            }
            true
        })?;
        Ok(unread)
    }

    fn offset_behind(
        &mut self,
        pair: PairId,
        partition: i32,
        place: Option<Place>,
        unread_late: &HashSet<Place>,
    ) -> Result<i64> {
        let broker = Broker::new(&self.context.servers)?;
        let look = self.look(&broker, pair, partition)?;
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let of = |offsets: Vec<i64>| offsets.get(index).copied().unwrap_or(0);
        let mut low = of(broker.starts(&look.topic)?);
        let mut high = of(broker.ends(&look.topic, Visible::Committed)?);
        while low < high {
            let middle = low + (high - low) / 2;
            match look.first(middle)? {
                Some((offset, found)) if offset < high && Some(found) <= place => low = offset + 1,
                Some(_) | None => high = middle,
            }
        }
        // Late ones that were read are not read again where nothing else lies before them.
        while let Some((offset, found)) = look.find(high, |_| true)?
            && found.is_late()
            && !unread_late.contains(&found)
        {
            high = offset + 1;
        }
        // And none is passed by: where they were written, one may lie before what was read since.
        let written_here = unread_late.iter().filter(|_| look.telling.has_late());
        Ok(written_here.map(|late| late.offset).fold(high, i64::min))
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
