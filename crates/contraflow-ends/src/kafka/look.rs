//! One partition of a topic, looked at record by record: a few dozen records are read to find a
//! place, however long the log is.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::error::{Error, Result};
use contraflow_core::log::Keyed;
use contraflow_core::log::translate::{Bounds, Look, Seen};
use contraflow_core::record::PairId;
use contraflow_core::side::Side;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::Context;
use super::broker::{Broker, Topic, Visible};
use super::client::{self, ANSWER_MAX, Brief, failure, unreachable};
use super::control::{self, Control};
use super::envelope::Telling;

/// How long transactions that are open are waited for: those of the flow last a part of a second.
const SETTLE_MAX: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(20);

/// Somebody who reads single records.
pub(super) struct Glance {
    context: Context,
    consumer: Brief,
}

impl Glance {
    pub(super) fn new(context: Context) -> Result<Glance> {
        let mut settings = client::consumer(&context.cluster, "contraflow");
        settings
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "5");
        let consumer = settings.create();
        let consumer = Brief(consumer.map_err(|error| failure("making a client", error))?);
        Ok(Glance { context, consumer })
    }

    /// The first record of a partition at or after an offset.
    pub(super) fn first_from(
        &self,
        topic: &Topic,
        partition: i32,
        offset: i64,
    ) -> Result<Option<BorrowedMessage<'_>>> {
        self.read_from(topic, partition, offset)?;
        self.next(topic)
    }

    /// The keys of the newest records that an application wrote.
    pub(super) fn keys(
        &self,
        broker: &Broker,
        (topic, telling): (&Topic, &Telling),
        most: usize,
    ) -> Result<Vec<Keyed>> {
        let each = i64::try_from(most.div_ceil(topic.partitions.max(1))).unwrap_or(i64::MAX);
        let starts = broker.starts(topic)?;
        let ends = broker.ends(topic, Visible::Committed)?;
        let mut from = TopicPartitionList::new();
        let mut open = 0;
        for (partition, (start, end)) in (0..).zip(starts.into_iter().zip(ends)) {
            if start < end {
                let offset = Offset::Offset(start.max(end - each));
                let added = from.add_partition_offset(&topic.name, partition, offset);
                added.map_err(|error| self.failed(topic, error))?;
                open += 1;
            }
        }
        let assigned = self.consumer.assign(&from);
        assigned.map_err(|error| self.failed(topic, error))?;
        let mut found = Vec::new();
        // Writers may be faster than this: enough is enough.
        while open > 0 && found.len() < most.saturating_mul(2) {
            let Some(message) = self.next(topic)? else {
                open -= 1;
                continue;
            };
            let source = telling.read(&message).source;
            let key = message.key().filter(|_| source.is_none());
            found.extend(key.map(|key| Keyed {
                partition: message.partition(),
                key: key.to_vec(),
            }));
        }
        Ok(found)
    }

    /// Begins to read at an offset.
    fn read_from(&self, topic: &Topic, partition: i32, offset: i64) -> Result<()> {
        let mut from = TopicPartitionList::new();
        let added = from.add_partition_offset(&topic.name, partition, Offset::Offset(offset));
        added.map_err(|error| self.failed(topic, error))?;
        let assigned = self.consumer.assign(&from);
        assigned.map_err(|error| self.failed(topic, error))
    }

    /// The next record; `None` behind the last one that can be seen.
    fn next(&self, topic: &Topic) -> Result<Option<BorrowedMessage<'_>>> {
        match client::poll(&self.consumer) {
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Err(error)) => Err(self.failed(topic, error)),
            None => Err(unreachable("a record was not handed out in time")),
        }
    }

    fn failed(&self, topic: &Topic, error: KafkaError) -> Error {
        let what = format!("reading topic `{}`", topic.name);
        failure(&what, error).at(self.context.role.side)
    }
}

pub(super) struct Partition {
    glance: Glance,
    telling: Telling,
    /// Whether anything that was written late was settled.
    has_late: bool,
    broker: Arc<Broker>,
    topic: Topic,
    pair: PairId,
    partition: i32,
}

impl Partition {
    pub(super) fn new(context: Context, pair: PairId, partition: i32) -> Result<Partition> {
        let broker = Arc::clone(&context.broker);
        let topic = broker.named(&context.role.table(pair).name, context.role.side)?;
        let control = Control::read(&context)?;
        Ok(Partition {
            telling: Telling::new(&context, pair, control.as_ref()),
            has_late: control.is_some_and(|control| control.late.is_some()),
            glance: Glance::new(context)?,
            broker,
            topic,
            pair,
            partition,
        })
    }

    fn seen(&self, message: &BorrowedMessage<'_>) -> Seen {
        let source = self.telling.read(message).source;
        let offset = message.offset();
        Seen {
            offset,
            place: self.telling.place(self.partition, offset, source.as_ref()),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
        }
    }

    /// Whether a record was a letter, and stands out of its turn.
    fn is_replayed(&self, message: &BorrowedMessage<'_>) -> bool {
        let source = self.telling.read(message).source;
        source.is_some_and(|source| source.replayed)
    }

    /// Waits until everything that is in a partition now is decided. Says whether it is.
    fn is_settled(&self, topic: &Topic, partition: i32) -> Result<bool> {
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let of = |visible| -> Result<i64> {
            let ends = self.broker.ends(topic, visible)?;
            Ok(ends.get(at).copied().unwrap_or(0))
        };
        let goal = of(Visible::Everything)?;
        let clock = &self.glance.context.clock;
        let deadline = clock.elapsed() + SETTLE_MAX;
        loop {
            if of(Visible::Committed)? >= goal {
                return Ok(true);
            }
            if clock.elapsed() >= deadline {
                return Ok(false);
            }
            clock.sleep(SETTLE);
        }
    }
}

impl Look for Partition {
    fn bounds(&mut self) -> Result<Bounds> {
        let at = usize::try_from(self.partition).unwrap_or(usize::MAX);
        let of = |offsets: Vec<i64>| offsets.get(at).copied().unwrap_or(0);
        // In this order none is before the one above it.
        Ok(Bounds {
            start: of(self.broker.starts(&self.topic)?),
            visible: of(self.broker.ends(&self.topic, Visible::Committed)?),
            end: of(self.broker.ends(&self.topic, Visible::Everything)?),
        })
    }

    fn first_from(&mut self, offset: i64) -> Result<Option<Seen>> {
        let mut message = self
            .glance
            .first_from(&self.topic, self.partition, offset)?;
        while let Some(found) = &message {
            let seen = self.seen(found);
            if !seen.place.is_late() && !self.is_replayed(found) {
                return Ok(Some(seen));
            }
            message = self.glance.next(&self.topic)?;
        }
        Ok(None)
    }

    fn late(&mut self) -> Result<Vec<Seen>> {
        let mut late = Vec::new();
        if self.has_late {
            self.each(&mut |seen| late.extend(Some(*seen).filter(|seen| seen.place.is_late())))?;
        }
        Ok(late)
    }

    fn first_since(&mut self, timestamp: i64) -> Result<Option<i64>> {
        if timestamp <= 0 {
            // The protocol gives such times a meaning of their own.
            return Ok(Some(self.bounds()?.start));
        }
        let fail = |error| self.glance.failed(&self.topic, error);
        let mut asked = TopicPartitionList::new();
        let (name, at) = (&self.topic.name, Offset::Offset(timestamp));
        let added = asked.add_partition_offset(name, self.partition, at);
        added.map_err(fail)?;
        let found = self.glance.consumer.offsets_for_times(asked, ANSWER_MAX);
        let found = found.map_err(fail)?;
        let mut elements = found.elements().into_iter();
        Ok(elements.find_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    fn each(&mut self, take: &mut dyn FnMut(&Seen)) -> Result<()> {
        let start = self.bounds()?.start;
        self.glance.read_from(&self.topic, self.partition, start)?;
        while let Some(message) = self.glance.next(&self.topic)? {
            if !self.is_replayed(&message) {
                take(&self.seen(&message));
            }
        }
        Ok(())
    }

    fn carried(&mut self) -> Result<Option<i64>> {
        let context = &self.glance.context;
        let side = context.role.side;
        let control = Control::read(context)?;
        let flipped = control.is_some_and(|control| control.flip.is_some());
        let authority = if flipped { Side::New } else { Side::Old };
        if authority == side {
            return Ok(None);
        }
        let (direction, lane) = (
            authority.direction(),
            control::lane(self.pair, self.partition),
        );
        // No topic, no change.
        let Some(control) = self.broker.topic(&context.names.control)? else {
            return Ok(None);
        };
        // A checkpoint that is seen is one of a transaction that was decided; what it wrote to this
        // partition may become visible a little later.
        if !self.is_settled(&control, control::partition(lane))? {
            return Ok(None);
        }
        let at = control::checkpoint(context, direction, lane)?;
        if !self.is_settled(&self.topic, self.partition)? {
            return Ok(None);
        }
        let next = at.and_then(|at| {
            let place = at.next.into_iter().nth(usize::from(self.pair.0))?;
            let partition = usize::try_from(self.partition).ok()?;
            place.next.get(partition).copied()
        });
        Ok(next)
    }
}
