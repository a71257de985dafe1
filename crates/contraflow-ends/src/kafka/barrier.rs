//! Topics of ours, read to behind a record of ours.
//!
//! Where a partition ends is what the broker believes that is asked. One that has just begun to
//! lead waits with its answer until it knows; one that leads no longer and has not heard of it
//! shows less than is there. Whoever decides by what it reads commits a barrier first, which only
//! the one that leads can take, and reads until it comes: by then everything was read that had
//! been committed before.

use std::collections::BTreeSet;
use std::time::Duration;

use contraflow_core::error::Result;
use rdkafka::message::Message;

use super::Context;
use super::broker::{Topic, Visible};
use super::client::unreachable;
use super::excerpt::{Excerpt, Span};
use super::native::Record;
use super::producer::{Outgoing, Producer};
use super::refused::Number;

/// How long seeing what was just written may take.
const SEEN_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// Deletes a key that nobody has written: nothing that stands in a topic is changed by it, and the
/// broker cleans it away.
pub(super) struct Barrier {
    key: String,
    /// Topics and partitions of them.
    at: Vec<(String, i32)>,
}

impl Barrier {
    /// Writes one to these partitions with the transaction that is open.
    pub(super) fn send(
        producer: &Producer,
        context: &Context,
        at: Vec<(String, i32)>,
    ) -> Result<Barrier> {
        // Unlike any that lies there already: none of the same id can have been begun in the moment
        // in which this one is.
        let (clock, process) = (&context.clock, std::process::id());
        let (now, runs) = (clock.unix_ms(), clock.elapsed().as_nanos());
        let key = format!("barrier/{now}/{process}/{runs}");
        for (topic, partition) in &at {
            producer.send(Outgoing {
                number: Number::OURS,
                topic,
                partition: *partition,
                timestamp: None,
                key: Some(key.as_bytes()),
                payload: None,
                headers: None,
            })?;
        }
        Ok(Barrier { key, at })
    }

    /// Commits one to these partitions, as far as their topics are there.
    pub(super) fn commit(
        producer: &Producer,
        context: &Context,
        mut at: Vec<(String, i32)>,
    ) -> Result<Barrier> {
        let mut absent = Vec::new();
        for name in at.iter().map(|(topic, _)| topic).collect::<BTreeSet<_>>() {
            if context.broker.topic(name)?.is_none() {
                absent.push(name.clone());
            }
        }
        at.retain(|(topic, _)| !absent.contains(topic));
        producer.begin()?;
        let barrier = Barrier::send(producer, context, at)?;
        producer.commit()?;
        Ok(barrier)
    }

    fn is(&self, message: &Record<'_>) -> bool {
        message.key() == Some(self.key.as_bytes())
    }
}

/// Partitions of a topic of ours, and how far they were read.
pub(super) struct Reading<'r> {
    context: &'r Context,
    topic: Topic,
    /// The next offset by partition.
    open: Vec<(i32, i64)>,
}

impl<'r> Reading<'r> {
    /// Some partitions of a topic from their beginning; `None` when it is not there.
    pub(super) fn whole(
        context: &'r Context,
        name: &str,
        partitions: &[i32],
    ) -> Result<Option<Reading<'r>>> {
        let Some(topic) = context.broker.topic(name)? else {
            return Ok(None);
        };
        let starts = context.broker.starts(&topic)?;
        let from = |partition: &i32| (*partition, offset(&starts, *partition));
        Ok(Some(Reading {
            open: partitions.iter().map(from).collect(),
            context,
            topic,
        }))
    }

    /// What comes to them from now on, as far as is known of their ends.
    pub(super) fn new_in(
        context: &'r Context,
        name: &str,
        partitions: &[i32],
    ) -> Result<Option<Reading<'r>>> {
        let Some(mut reading) = Reading::whole(context, name, partitions)? else {
            return Ok(None);
        };
        let ends = context.broker.ends(&reading.topic, Visible::Committed)?;
        for (partition, next) in &mut reading.open {
            *next = offset(&ends, *partition);
        }
        Ok(Some(reading))
    }

    /// Hands what was committed to `take`, each partition in its order: up to the end, and as far
    /// as the barrier where there is one.
    ///
    /// # Errors
    /// When the barrier cannot be seen for half a minute.
    pub(super) fn read(
        mut self,
        barrier: Option<&Barrier>,
        mut take: impl FnMut(&Record<'_>),
    ) -> Result<()> {
        let (context, name) = (self.context, self.topic.name.clone());
        let awaited = barrier.iter().flat_map(|barrier| &barrier.at);
        let awaited = awaited.filter(|(topic, _)| *topic == name);
        let mut hidden: BTreeSet<i32> = awaited.map(|(_, partition)| *partition).collect();
        hidden.retain(|hidden| self.open.iter().any(|(partition, _)| partition == hidden));
        let deadline = context.clock.elapsed() + SEEN_MAX;
        loop {
            let spans = self.spans()?;
            if !spans.is_empty() {
                Excerpt::new(context, &name)?.at(&spans, |_, message| {
                    match barrier.is_some_and(|barrier| barrier.is(message)) {
                        true => drop(hidden.remove(&message.partition())),
                        false => take(message),
                    }
                    true
                })?;
            }
            if hidden.is_empty() {
                return Ok(());
            }
            if context.clock.elapsed() >= deadline {
                return Err(unreachable("what was committed does not become visible"));
            }
            context.clock.sleep(LOOK);
            // Whoever was asked may not lead any more.
            context.broker.look_again(&self.topic)?;
        }
    }

    /// What can be seen by now and was not read, which counts as read from here on.
    fn spans(&mut self) -> Result<Vec<Span>> {
        let ends = self.context.broker.ends(&self.topic, Visible::Committed)?;
        let span = |(partition, next): &mut (i32, i64)| {
            let (from, to) = (*next, offset(&ends, *partition));
            *next = to.max(from);
            (from < to).then(|| Span {
                partition: usize::try_from(*partition).unwrap_or(usize::MAX),
                from,
                to,
            })
        };
        Ok(self.open.iter_mut().filter_map(span).collect())
    }
}

fn offset(of: &[i64], partition: i32) -> i64 {
    let partition = usize::try_from(partition).unwrap_or(usize::MAX);
    of.get(partition).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
