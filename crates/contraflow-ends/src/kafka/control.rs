//! The control topic: authority in its first partition, checkpoints in one partition per lane.
//!
//! It is compacted, so it is read whole. Whoever writes takes the transactional id first and then
//! reads: nobody who was overtaken can commit what they believe.

use std::collections::{BTreeSet, HashMap};

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Ownership, Standing, ownership};
use contraflow_core::log::Place;
use contraflow_core::record::PairId;
use contraflow_core::side::{Direction, Side};
use rdkafka::message::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use super::barrier::{Barrier, Reading};
use super::client::unreachable;
use super::names::Names;
use super::native::TopicId;
use super::place::{self, TopicPlace};
use super::producer::{self, Outgoing, Producer};
use super::refused::{Number, Refusal};

/// Lanes of a direction, each with partitions of its own: while the transaction of one is committed
/// another one fills its own.
pub(super) const LANES: u16 = 4;
/// The partition of authority. Lanes come after it.
pub(super) const AUTHORITY: i32 = 0;

const STOPPED: &str = "stopped";
const SEALED: &str = "sealed";
const FLIP: &str = "flip";
const LATE: &str = "late";
const GIVEN_UP: &str = "given-up/";

/// What stands in the partition of authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Control {
    pub(super) old: Option<Standing>,
    pub(super) new: Option<Standing>,
    pub(super) stopped: Option<Stopped>,
    pub(super) sealed: Option<Sealed>,
    pub(super) flip: Option<Flip>,
    /// The topics of both sides, as they were when the change began.
    pub(super) topics: [Option<Vec<Known>>; 2],
    /// Up to here late writes are settled.
    pub(super) late: Option<Vec<TopicPlace>>,
    /// Late writes that are not carried.
    pub(super) given_up: Vec<GivenUp>,
}

/// A topic as it was when the change began.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) topic: String,
    pub(super) id: TopicId,
    pub(super) partitions: usize,
    /// The oldest offset of each partition: whatever came behind it is carried.
    pub(super) starts: Vec<i64>,
}

/// Late writes that are not carried, as somebody has said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct GivenUp {
    at_ms: u64,
    /// By pair, partition and offset.
    records: Vec<(u16, i32, i64)>,
}

impl GivenUp {
    pub(super) fn new(at_ms: u64, places: &[(PairId, Place)]) -> GivenUp {
        let name = |(pair, place): &(PairId, Place)| (pair.0, place.partition, place.offset);
        GivenUp {
            at_ms,
            records: places.iter().map(name).collect(),
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (PairId, Place)> {
        let place = |&(pair, partition, offset): &(u16, i32, i64)| {
            (PairId(pair), Place::late(partition, offset))
        };
        self.records.iter().map(place)
    }
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
    /// The places, once there are any.
    pub(super) fn places(self) -> Option<Vec<TopicPlace>> {
        Some(self.next).filter(|next| !next.is_empty())
    }
}

impl Control {
    /// Reads the partition of authority; `None` when there is no control topic.
    pub(super) fn read(context: &Context) -> Result<Option<Control>> {
        let found = Contents::read(context, &[AUTHORITY], None)?;
        found.as_ref().map(Contents::control).transpose()
    }

    pub(super) fn standing(&self, side: Side) -> Option<&Standing> {
        match side {
            Side::Old => self.old.as_ref(),
            Side::New => self.new.as_ref(),
        }
    }

    /// The topics of a side, once it was expanded.
    pub(super) fn topics(&self, side: Side) -> Option<&[Known]> {
        let [old, new] = &self.topics;
        match side {
            Side::Old => old.as_deref(),
            Side::New => new.as_deref(),
        }
    }

    /// Up to where late writes are settled; `None` before the flip.
    pub(super) fn settled(&self) -> Option<&[TopicPlace]> {
        let flip = self.flip.as_ref()?;
        Some(self.late.as_ref().unwrap_or(&flip.old_ends))
    }

    pub(super) fn ownership(&self) -> Ownership {
        ownership(self.old.as_ref(), self.new.as_ref())
    }
}

/// Whether a topic of ours has a partition for every lane, if it is there.
///
/// # Errors
/// A hold when it has not.
pub(super) fn has_room(context: &Context, name: &str, wanted: usize) -> Result<()> {
    let found = context.broker.topic(name)?;
    let Some(topic) = found.filter(|topic| topic.partitions < wanted) else {
        return Ok(());
    };
    let has = topic.partitions;
    let message = format!("topic `{name}` has {has} partitions, lanes need {wanted}");
    let hint = format!("`kafka-topics.sh --alter --topic {name} --partitions {wanted}`.");
    Err(Error::new(Kind::Hold, Code::END_SETTING, message)
        .at(context.role.side)
        .detail("It was made by another version, or restored otherwise.")
        .hint(hint))
}

/// The lane that carries a partition of a pair: small topics share the lanes out too.
pub(super) fn lane(pair: PairId, partition: i32) -> LaneId {
    let number = i64::from(pair.0) + i64::from(partition);
    let lane = number.rem_euclid(i64::from(LANES));
    LaneId(u16::try_from(lane).expect("there are fewer than 65 536 lanes"))
}

/// All lanes of a direction.
pub(super) fn lanes() -> impl Iterator<Item = LaneId> {
    (0..LANES).map(LaneId)
}

/// How far the lanes of a direction are together: what one has carried the others leave alone.
pub(super) fn carried(
    context: &Context,
    direction: Direction,
    barrier: Option<&Barrier>,
) -> Result<Option<Vec<TopicPlace>>> {
    let partitions: Vec<i32> = lanes().map(partition).collect();
    let found = Contents::read(context, &partitions, barrier)?.unwrap_or_default();
    let mut carried: Option<Vec<TopicPlace>> = None;
    for lane in lanes() {
        let of_lane = found.checkpoint(direction, lane)?;
        if let Some(places) = of_lane.and_then(Checkpoint::places) {
            carried = Some(match carried {
                Some(others) => place::later(&others, &places),
                None => places,
            });
        }
    }
    Ok(carried)
}

/// The checkpoint of a lane.
pub(super) fn checkpoint(
    context: &Context,
    direction: Direction,
    lane: LaneId,
) -> Result<Option<Checkpoint>> {
    match Contents::read(context, &[partition(lane)], None)? {
        Some(found) => found.checkpoint(direction, lane),
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

    /// Nobody says so any more.
    pub(super) fn not_stopped() -> Note {
        Note {
            partition: AUTHORITY,
            key: STOPPED.to_owned(),
            value: None,
        }
    }

    pub(super) fn sealed(sealed: &Sealed) -> Note {
        Note::authority(SEALED, bytes(sealed))
    }

    pub(super) fn flip(flip: &Flip) -> Note {
        Note::authority(FLIP, bytes(flip))
    }

    pub(super) fn topics(side: Side, topics: &[Known]) -> Note {
        Note::authority(&Names::topics(side), bytes(&topics))
    }

    pub(super) fn late(settled: &[TopicPlace]) -> Note {
        Note::authority(LATE, bytes(&settled))
    }

    /// The `number`th time that something was given up.
    pub(super) fn given_up(number: usize, given_up: &GivenUp) -> Note {
        Note::authority(&format!("{GIVEN_UP}{number}"), bytes(given_up))
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
            number: Number::OURS,
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
pub(super) struct Coordinator {
    context: Context,
    producer: Producer,
    /// Everything that was committed before lies before it.
    pub(super) barrier: Barrier,
    pub(super) control: Control,
}

impl Coordinator {
    /// Takes the right to move authority, and reads how it stands.
    pub(super) fn take(context: &Context) -> Result<Coordinator> {
        Coordinator::take_for(context, producer::BATCH_BYTES, &[AUTHORITY])
    }

    /// As [`Coordinator::take`], with batches of so many bytes, and a barrier in these partitions.
    pub(super) fn take_for(
        context: &Context,
        batch_bytes: u64,
        partitions: &[i32],
    ) -> Result<Coordinator> {
        let id = context.names.coordinator();
        let producer = Producer::take_for(context, &id, batch_bytes)?;
        let barrier = Barrier::commit(&producer, context, in_control(context, partitions))?;
        let found = Contents::read(context, &[AUTHORITY], Some(&barrier))?;
        Ok(Coordinator {
            context: context.clone(),
            producer,
            barrier,
            control: found.unwrap_or_default().control()?,
        })
    }

    /// What was refused of a write that failed because of it.
    pub(super) fn refused(&self) -> Vec<Refusal> {
        self.producer.refused()
    }

    /// Writes in one transaction, and waits until everybody can see it: a commit that was answered
    /// becomes visible a little later.
    pub(super) fn write(
        &self,
        notes: &[Note],
        more: impl FnOnce(&Producer) -> Result<()>,
    ) -> Result<()> {
        let partitions: BTreeSet<i32> = notes.iter().map(|note| note.partition).collect();
        let partitions: Vec<i32> = partitions.into_iter().collect();
        let (context, name) = (&self.context, &self.context.names.control);
        let reading = Reading::new_in(context, name, &partitions)?;
        self.producer.begin()?;
        for note in notes {
            note.send(&self.producer, context)?;
        }
        more(&self.producer)?;
        let at = in_control(context, &partitions);
        let barrier = Barrier::send(&self.producer, context, at)?;
        self.producer.commit()?;
        let gone = || unreachable("the control topic is not there any more");
        reading.ok_or_else(gone)?.read(Some(&barrier), |_| {})
    }
}

/// These partitions of the control topic.
pub(super) fn in_control(context: &Context, partitions: &[i32]) -> Vec<(String, i32)> {
    let name = &context.names.control;
    let at = |partition: &i32| (name.clone(), *partition);
    partitions.iter().map(at).collect()
}

/// Everything that stands in partitions of the control topic, by key: no two have one in common.
#[derive(Default)]
pub(super) struct Contents(HashMap<String, Vec<u8>>);

impl Contents {
    /// Reads partitions, as far as the barrier where there is one; `None` when there is no control
    /// topic.
    pub(super) fn read(
        context: &Context,
        partitions: &[i32],
        barrier: Option<&Barrier>,
    ) -> Result<Option<Contents>> {
        let Some(reading) = Reading::whole(context, &context.names.control, partitions)? else {
            return Ok(None);
        };
        let mut found = HashMap::new();
        reading.read(barrier, |message| {
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            match message.payload() {
                Some(value) => found.insert(key, value.to_vec()),
                None => found.remove(&key),
            };
        })?;
        Ok(Some(Contents(found)))
    }

    /// How authority stands, if its partition was read.
    pub(super) fn control(&self) -> Result<Control> {
        let Contents(found) = self;
        let mut given_up = Vec::new();
        for key in found.keys().filter(|key| key.starts_with(GIVEN_UP)) {
            given_up.extend(value(found, key)?);
        }
        Ok(Control {
            old: value(found, &Names::standing(Side::Old))?,
            new: value(found, &Names::standing(Side::New))?,
            stopped: value(found, STOPPED)?,
            sealed: value(found, SEALED)?,
            flip: value(found, FLIP)?,
            topics: [
                value(found, &Names::topics(Side::Old))?,
                value(found, &Names::topics(Side::New))?,
            ],
            late: value(found, LATE)?,
            given_up,
        })
    }

    /// How far a lane has come, if its partition was read.
    pub(super) fn checkpoint(
        &self,
        direction: Direction,
        lane: LaneId,
    ) -> Result<Option<Checkpoint>> {
        value(&self.0, &Names::checkpoint(direction, lane))
    }
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
