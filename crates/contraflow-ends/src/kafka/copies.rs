//! Records on their way to a topic, each with where it comes from.

use contraflow_core::code::Code;
use contraflow_core::codec::payload::Payload;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::{Envelope, FIELDS, Place};
use contraflow_core::probe::Point;
use contraflow_core::record::{Change, Complement, Record};
use contraflow_core::side::Direction;

use super::Context;
use super::envelope::{self, Source};
use super::native::TopicId;
use super::park::Turn;
use super::place::TopicPlace;
use super::producer::{Outgoing, Producer};

/// The timestamp that the client takes for "now".
const TAKEN_FOR_NOW: i64 = 0;

/// How records become copies.
pub(super) struct Copies<'c> {
    pub(super) context: &'c Context,
    pub(super) direction: Direction,
    /// They were written after that direction had ended.
    pub(super) late: bool,
    /// The topics that they come from.
    pub(super) from: &'c [TopicPlace],
}

impl Copies<'_> {
    /// Hands records to the transaction that is open.
    pub(super) fn send(&self, producer: &Producer, records: &[&Record]) -> Result<()> {
        let mut payload = Vec::new();
        for (number, record) in records.iter().enumerate() {
            if number == records.len() / 2 {
                self.context.probe.at(Point::BATCH_APPLY_MID)?;
            }
            let topic = self.from.get(usize::from(record.pair.0));
            let topic = topic.ok_or_else(without_envelope)?.id;
            self.send_one(producer, record, (topic, Turn::Theirs), &mut payload)?;
        }
        Ok(())
    }

    /// Hands over a record of a topic, which may have been a letter.
    pub(super) fn send_one(
        &self,
        producer: &Producer,
        record: &Record,
        (from, turn): (TopicId, Turn),
        payload: &mut Vec<u8>,
    ) -> Result<()> {
        let topic = &self.context.role.table(record.pair).name;
        let envelope = Envelope::of(&record.key).ok_or_else(without_envelope)?;
        let place = envelope.place;
        if place.origin() != self.direction.source() || place.is_late() != self.late {
            return Err(broken("a record that was carried already is carried again"));
        }
        if envelope.timestamp == TAKEN_FOR_NOW {
            return Err(without_time(place));
        }
        payload.clear();
        let none = Complement::default();
        let (value, complement) = match &record.change {
            Change::Put(image) | Change::Replace(image) => {
                let fields = image.row.0.get(FIELDS.len()..).unwrap_or_default();
                let format = self.payload(topic)?;
                let written = format.write(fields, payload);
                written.map_err(|error| unwritable(place, &error))?;
                (Some(payload.as_slice()), &image.complement)
            }
            Change::Delete => (None, &none),
        };
        let source = Source {
            direction: self.direction,
            late: self.late,
            replayed: turn == Turn::Again,
            topic: from,
            partition: place.partition,
            offset: place.offset,
        };
        let hash = self.context.names.hash;
        let headers = envelope::write(&envelope.headers, &source, complement, hash)
            .ok_or_else(|| broken("headers that cannot be written"))?;
        producer.send(Outgoing {
            topic,
            partition: place.partition,
            timestamp: Some(envelope.timestamp),
            key: envelope.key.as_deref(),
            payload: value,
            headers: Some(headers),
        })
    }

    fn payload(&self, topic: &str) -> Result<&dyn Payload> {
        let found = self.context.payloads.get(topic);
        let found = found.map(|payload| &**payload);
        found.ok_or_else(|| broken("a topic without a format"))
    }
}

pub(super) fn without_envelope() -> Error {
    broken("a record without an envelope")
}

pub(super) fn broken(what: &str) -> Error {
    Error::new(Kind::Internal, Code::INTERNAL, what)
}

fn without_time(place: Place) -> Error {
    let Place {
        partition, offset, ..
    } = place;
    let message = format!("record {offset} of partition {partition} has the timestamp 0");
    Error::new(Kind::Hold, Code::VALUE_UNMAPPABLE, message)
        .detail("The client writes the time of now in its place, so it is not written.")
        .hint("Wait until retention has taken it, or delete records up to it.")
}

fn unwritable(place: Place, error: &Error) -> Error {
    let Place {
        partition, offset, ..
    } = place;
    let message = format!("record {offset} of partition {partition} cannot be written: {error}");
    Error::new(Kind::Hold, error.code, message)
        .detail("What follows it must not overtake it. Nothing of its batch was written.")
}
