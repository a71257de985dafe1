//! Records that cannot be written while others can: the broker says so of each, and of some it is
//! known before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use contraflow_core::code::Code;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, NoCustomPartitioner, ProducerContext};

/// What a record is called while it is on its way: its place among those of its transaction,
/// counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(pub(super) usize);

impl Number {
    /// A record of ours. It is not refused alone: without it nothing can go on.
    pub(super) const OURS: Number = Number(0);
}

/// One record that cannot be written, and why.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) number: Number,
    pub(super) code: Code,
    pub(super) reason: String,
    /// It is its size. A batch counts as one record, so that may be said of all in one.
    pub(super) too_large: bool,
}

/// Those of the transaction that is open, which cannot be committed any more.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Vec<Refusal>>);

impl Refusals {
    fn all(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_there(&self) -> bool {
        !self.all().is_empty()
    }

    pub(super) fn add(&self, refusal: Refusal) {
        self.all().push(refusal);
    }

    /// Forgets them.
    pub(super) fn take(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.all())
    }
}

impl ClientContext for Refusals {}

impl ProducerContext<NoCustomPartitioner> for Refusals {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let number = Number(number);
        if let Err((error, record)) = result
            && number != Number::OURS
        {
            let bytes = record.key_len() + record.payload_len();
            self.all().extend(refusal(number, error, bytes));
        }
    }
}

/// What the broker says of one record. All else is of its batch, or of the connection.
fn refusal(number: Number, error: &KafkaError, bytes: usize) -> Option<Refusal> {
    use RDKafkaErrorCode as C;
    let error = error.rdkafka_error_code()?;
    let too_large = matches!(error, C::MessageSizeTooLarge | C::MessageBatchTooLarge);
    let reason = match error {
        C::MessageSizeTooLarge | C::MessageBatchTooLarge => {
            format!("its {bytes} bytes are more than the topic takes (`max.message.bytes`)")
        }
        C::InvalidTimestamp => "the topic does not take its timestamp".to_owned(),
        C::InvalidRecord => format!("the broker refuses it: {error}"),
        _ => return None,
    };
    Some(Refusal {
        number,
        code: Code::CONSTRAINT_VIOLATED,
        reason,
        too_large,
    })
}
