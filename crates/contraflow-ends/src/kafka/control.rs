//! The control topic: authority in its first partition, checkpoints in one partition per lane.
//!
//! It is compacted, so it is read whole. Whoever writes takes the transactional id first and then
//! reads: nobody who was overtaken can commit what they believe.

use std::collections::HashMap;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Ownership, Standing, ownership};
use contraflow_core::position::Position;
use contraflow_core::side::{Direction, Side};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use super::client::{self, failure, unreachable};
use super::names::Names;
use super::place::{self, TopicPlace};
use super::producer::{Outgoing, Producer};

/// Lanes of a direction.
pub(super) const LANES: u16 = 1;
/// The partition of authority. Lanes come after it.
const AUTHORITY: i32 = 0;
/// How long reading the topic, or seeing what was just written to it, may take.
const READ_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);

const STOPPED: &str = "stopped";
const SEALED: &str = "sealed";
const FLIP: &str = "flip";

/// What stands in the partition of authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Control {
    pub(super) old: Option<Standing>,
    pub(super) new: Option<Standing>,
    pub(super) stopped: Option<Stopped>,
    pub(super) sealed: Option<Sealed>,
    pub(super) flip: Option<Flip>,
}

/// Somebody said that the producers have stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Stopped {
    pub(super) at_ms: u64,
    /// The ends of the old topics then.
    pub(super) ends: Vec<TopicPlace>,
}

/// Both sides are closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The ends of the old topics, all of which was carried.
    pub(super) old_ends: Vec<TopicPlace>,
    /// Up to here the new topics were compared.
    pub(super) new_compared: Vec<TopicPlace>,
}

/// The change has flipped. Written once, with what showed that it may.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Flip {
    pub(super) at_ms: u64,
    pub(super) epoch: u64,
    /// The ends of the old topics.
    pub(super) old_ends: Vec<TopicPlace>,
    /// Where the new topics have records of their own.
    pub(super) new_starts: Vec<TopicPlace>,
    /// Who had stopped, since when, at which ends.
    pub(super) stopped: Option<Stopped>,
}

/// How far a lane has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) token: u64,
    pub(super) sequence: u64,
    pub(super) next: Vec<TopicPlace>,
}

impl Checkpoint {
    pub(super) fn position(&self) -> Position {
        place::encode(&self.next)
    }
}

impl Control {
    /// Reads the partition of authority; `None` when there is no control topic.
    pub(super) fn read(context: &Context) -> Result<Option<Control>> {
        let Some(found) = read(context, AUTHORITY)? else {
            return Ok(None);
        };
        Ok(Some(Control {
            old: value(&found, &Names::standing(Side::Old))?,
            new: value(&found, &Names::standing(Side::New))?,
            stopped: value(&found, STOPPED)?,
            sealed: value(&found, SEALED)?,
            flip: value(&found, FLIP)?,
        }))
    }

    pub(super) fn standing(&self, side: Side) -> Option<&Standing> {
        match side {
            Side::Old => self.old.as_ref(),
            Side::New => self.new.as_ref(),
        }
    }

    pub(super) fn ownership(&self) -> Ownership {
        ownership(self.old.as_ref(), self.new.as_ref())
    }
}

/// The checkpoint of a lane.
pub(super) fn checkpoint(
    context: &Context,
    direction: Direction,
    lane: LaneId,
) -> Result<Option<Checkpoint>> {
    match read(context, partition(lane))? {
        Some(found) => value(&found, &Names::checkpoint(direction, lane)),
        None => Ok(None),
    }
}

/// The partition of a lane.
pub(super) fn partition(lane: LaneId) -> i32 {
    AUTHORITY + 1 + i32::from(lane.0)
}

/// Partitions of the control topic.
pub(super) fn partitions() -> usize {
    1 + usize::from(LANES)
}

/// A record of the control topic on its way.
pub(super) struct Note {
    partition: i32,
    key: String,
    /// `None` takes it away.
    value: Option<Vec<u8>>,
}

impl Note {
    pub(super) fn standing(side: Side, standing: Option<&Standing>) -> Note {
        Note {
            partition: AUTHORITY,
            key: Names::standing(side),
            value: standing.map(bytes),
        }
    }

    pub(super) fn stopped(stopped: &Stopped) -> Note {
        Note::authority(STOPPED, bytes(stopped))
    }

    pub(super) fn sealed(sealed: &Sealed) -> Note {
        Note::authority(SEALED, bytes(sealed))
    }

    pub(super) fn flip(flip: &Flip) -> Note {
        Note::authority(FLIP, bytes(flip))
    }

    pub(super) fn checkpoint(direction: Direction, lane: LaneId, at: &Checkpoint) -> Note {
        Note {
            partition: partition(lane),
            key: Names::checkpoint(direction, lane),
            value: Some(bytes(at)),
        }
    }

    fn authority(key: &str, value: Vec<u8>) -> Note {
        Note {
            partition: AUTHORITY,
            key: key.to_owned(),
            value: Some(value),
        }
    }

    /// Writes it with the transaction that is open.
    pub(super) fn send(&self, producer: &Producer, context: &Context) -> Result<()> {
        producer.send(Outgoing {
            topic: &context.names.control,
            partition: self.partition,
            timestamp: None,
            key: Some(self.key.as_bytes()),
            payload: self.value.as_deref(),
            headers: None,
        })
    }
}

/// Whoever moves authority, alone.
pub(super) struct Coordinator<'c> {
    context: &'c Context,
    pub(super) producer: Producer,
    pub(super) control: Control,
}

impl<'c> Coordinator<'c> {
    /// Takes the right to move authority, and reads how it stands.
    pub(super) fn take(context: &'c Context) -> Result<Coordinator<'c>> {
        let producer = Producer::take(&context.cluster, &context.names.coordinator())?;
        let control = Control::read(context)?.unwrap_or_default();
        Ok(Coordinator {
            context,
            producer,
            control,
        })
    }

    /// Writes in one transaction, and waits until everybody can see it: a commit that was answered
    /// becomes visible a little later.
    pub(super) fn write(
        &self,
        notes: &[Note],
        more: impl FnOnce(&Producer) -> Result<()>,
    ) -> Result<()> {
        self.producer.begin()?;
        for note in notes {
            note.send(&self.producer, self.context)?;
        }
        more(&self.producer)?;
        self.producer.commit()?;
        let deadline = self.context.clock.elapsed() + READ_MAX;
        while self.context.clock.elapsed() < deadline {
            let mut visible = true;
            for note in notes {
                let found = read(self.context, note.partition)?.unwrap_or_default();
                visible &= found.get(&note.key) == note.value.as_ref();
            }
            if visible {
                return Ok(());
            }
            self.context.clock.sleep(LOOK);
        }
        Err(unreachable("what was committed does not become visible"))
    }
}

/// Everything that stands in a partition, by key.
fn read(context: &Context, partition: i32) -> Result<Option<HashMap<String, Vec<u8>>>> {
    let topic = &context.names.control;
    let fail = |error| failure(&format!("reading `{topic}`"), error);
    let mut settings = client::consumer(&context.cluster, "contraflow");
    settings
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "5");
    let consumer: BaseConsumer = settings.create().map_err(fail)?;
    let metadata = consumer.fetch_metadata(Some(topic), client::ANSWER_MAX);
    let metadata = metadata.map_err(fail)?;
    let mut topics = metadata.topics().iter();
    let found = topics.find(|found| found.name() == topic);
    match found.map(|found| found.error().map(RDKafkaErrorCode::from)) {
        None | Some(Some(RDKafkaErrorCode::UnknownTopicOrPartition)) => return Ok(None),
        Some(Some(code)) => return Err(fail(KafkaError::MetadataFetch(code))),
        Some(None) => {}
    }
    let mut from = TopicPartitionList::new();
    let added = from.add_partition_offset(topic, partition, Offset::Beginning);
    added.map_err(fail)?;
    consumer.assign(&from).map_err(fail)?;
    let mut found = HashMap::new();
    let deadline = context.clock.elapsed() + READ_MAX;
    while context.clock.elapsed() < deadline {
        match consumer.poll(POLL) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Some(found)),
            Some(Err(error)) => return Err(fail(error)),
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                match message.payload() {
                    Some(value) => found.insert(key, value.to_vec()),
                    None => found.remove(&key),
                };
            }
        }
    }
    Err(unreachable(&format!("`{topic}` cannot be read to its end")))
}

fn value<T: DeserializeOwned>(found: &HashMap<String, Vec<u8>>, key: &str) -> Result<Option<T>> {
    let parse = |bytes: &Vec<u8>| {
        serde_json::from_slice(bytes).map_err(|error| {
            let message = format!("the record `{key}` of the control topic is damaged");
            Error::new(Kind::Hold, Code::END_FAILED, message).because(error)
        })
    };
    found.get(key).map(parse).transpose()
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields become JSON")
}
