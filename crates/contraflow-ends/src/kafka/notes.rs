//! How far a mirror was looked at: offsets of a consumer group, each with the id of its topic.
//!
//! They only spare work. When they are lost, the mirror is looked at from further back.

use std::time::Duration;

use contraflow_core::error::Result;
use contraflow_core::position::Position;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::Topic;
use super::client::{self, ANSWER_MAX, failure};
use super::native::TopicId;
use super::place::{self, TopicPlace};

/// How often is noted how far it was: what a start reads twice.
const NOTED_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Notes {
    group: BaseConsumer,
    /// What was noted last, and when.
    noted: Option<(Position, Duration)>,
}

impl Notes {
    pub(super) fn open(context: &Context) -> Result<Notes> {
        let group = context.names.standby(context.role.side);
        let group = client::consumer(&context.cluster, &group).create();
        Ok(Notes {
            group: group.map_err(|error| failure("making a client", error))?,
            noted: None,
        })
    }

    /// What was noted of a topic, by partition. Nothing of another one of its name.
    pub(super) fn of(&self, topic: &Topic) -> Result<Vec<(usize, i64)>> {
        let mut asked = TopicPartitionList::new();
        let last = i32::try_from(topic.partitions).unwrap_or(i32::MAX) - 1;
        asked.add_partition_range(&topic.name, 0, last);
        let noted = self.group.committed_offsets(asked, ANSWER_MAX);
        let noted = noted.map_err(|error| failure("asking what was noted", error))?;
        let mine = text(topic.id);
        let mut found = Vec::new();
        for element in noted.elements() {
            let partition = usize::try_from(element.partition());
            if let (Ok(partition), Offset::Offset(offset)) = (partition, element.offset())
                && element.metadata() == mine
            {
                found.push((partition, offset));
            }
        }
        Ok(found)
    }

    /// Notes a place now and then.
    pub(super) fn note(&mut self, through: &Position, now: Duration) -> Result<()> {
        if let Some((last, at)) = &self.noted
            && (last == through || now.saturating_sub(*at) < NOTED_EVERY)
        {
            return Ok(());
        }
        let fail = |error| failure("noting how far a mirror was looked at", error);
        let mut offsets = TopicPartitionList::new();
        for TopicPlace { topic, id, next } in place::decode(through).unwrap_or_default() {
            for (partition, next) in (0..).zip(next) {
                let mut element = offsets.add_partition(&topic, partition);
                element.set_offset(Offset::Offset(next)).map_err(fail)?;
                element.set_metadata(text(id));
            }
        }
        self.group
            .commit(&offsets, CommitMode::Async)
            .map_err(fail)?;
        self.noted = Some((through.clone(), now));
        Ok(())
    }
}

fn text(id: TopicId) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
