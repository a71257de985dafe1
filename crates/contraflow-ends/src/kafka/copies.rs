//! Records on their way to a topic, each with where it comes from.

use contraflow_core::code::Code;
use contraflow_core::codec::payload::Payload;
use contraflow_core::end::Letter;
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
use super::refused::{Number, Refusal};

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
    /// Hands records to the transaction that is open, numbered from 1.
    pub(super) fn send(&self, producer: &Producer, records: &[&Record]) -> Result<()> {
        let mut payload = Vec::new();
        for (number, record) in records.iter().enumerate() {
            if number == records.len() / 2 {
                self.context.probe.at(Point::BATCH_APPLY_MID)?;
            }
            let topic = self.from.get(usize::from(record.pair.0));
            let topic = topic.ok_or_else(without_envelope)?.id;
            let number = Number(number + 1);
            self.send_one(
                producer,
                (number, record),
                (topic, Turn::Theirs),
                &mut payload,
            )?;
        }
        Ok(())
    }

    /// Hands over a record of a topic, which may have been a letter. One that cannot be written is
    /// refused.
    pub(super) fn send_one(
        &self,
        producer: &Producer,
        (number, record): (Number, &Record),
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
            let reason = "the client would write the time of now for its timestamp, which is 0";
            producer.refuse(number, Code::VALUE_UNMAPPABLE, reason.to_owned());
            return Ok(());
        }
        payload.clear();
        let none = Complement::default();
        let (value, complement) = match &record.change {
            Change::Put(image) | Change::Replace(image) => {
                let fields = image.row.0.get(FIELDS.len()..).unwrap_or_default();
                let format = self.payload(topic)?;
                match format.write(fields, payload) {
                    Ok(()) => (Some(payload.as_slice()), &image.complement),
                    Err(error) if error.kind == Kind::Data => {
                        producer.refuse(number, error.code, error.message);
                        return Ok(());
                    }
                    Err(error) => return Err(unwritable(place, &error)),
                }
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
            number,
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

/// Those of these records that were refused, as letters.
pub(super) fn refused(refusals: Vec<Refusal>, sent: &[&Record]) -> Vec<Letter> {
    let letter = |refusal: Refusal| {
        let record = sent.get(refusal.number.0.checked_sub(1)?)?;
        Some(Letter {
            pair: record.pair,
            source_key: record.source_key.clone(),
            code: refusal.code,
            reason: refusal.reason,
            retry_after: None,
        })
    };
    refusals.into_iter().filter_map(letter).collect()
}

pub(super) fn without_envelope() -> Error {
    broken("a record without an envelope")
}

pub(super) fn broken(what: &str) -> Error {
    Error::new(Kind::Internal, Code::INTERNAL, what)
}

fn unwritable(place: Place, error: &Error) -> Error {
    let Place {
        partition, offset, ..
    } = place;
    let message = format!("record {offset} of partition {partition} cannot be written: {error}");
    Error::new(Kind::Hold, error.code, message)
        .detail("What follows it must not overtake it. Nothing of its batch was written.")
}
