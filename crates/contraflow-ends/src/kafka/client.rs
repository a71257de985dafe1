//! Clients of a cluster: their settings, and what their failures mean.

use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::code::Code;
use contraflow_core::end::fenced;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::LaneId;
use contraflow_core::record::PairId;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::control;
use super::place::TopicPlace;

/// How long one question to a broker may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a consumer that closes is waited for before it is looked at again.
const CLOSED_WAIT: Duration = Duration::from_millis(1);

/// What every client is told: data, control and questions reach the cluster in one way.
pub(super) fn settings(cluster: &Cluster) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", cluster.servers.expose())
        .set("security.protocol", cluster.protocol)
        .set("client.id", "contraflow")
        .set("allow.auto.create.topics", "false")
        // A broker that is gone for a moment is found again at once. Half of the first pause is how
        // long a new client waits before it connects to the broker that it needs.
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "1000");
    if let Some(login) = &cluster.login {
        settings
            .set("sasl.mechanism", login.mechanism)
            .set("sasl.username", login.user.expose())
            .set("sasl.password", login.password.expose());
    }
    let mut file = |name: &str, file: &Path| {
        settings.set(name, file.to_string_lossy());
    };
    if let Some(ca) = &cluster.ca {
        file("ssl.ca.location", ca.expose());
    }
    if let Some(identity) = &cluster.identity {
        file("ssl.certificate.location", identity.certificate.expose());
        file("ssl.key.location", identity.key.expose());
        if let Some(password) = &identity.password {
            settings.set("ssl.key.password", password.expose());
        }
    }
    settings
}

/// What a consumer is told: nothing is skipped, nothing is committed behind our back.
pub(super) fn consumer(cluster: &Cluster, group: &str) -> ClientConfig {
    let mut settings = settings(cluster);
    settings
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "20")
        // Every record that waits here takes the client as much again for itself, and a small one
        // many times as much, so they are counted as well. An answer comes on top of it, and is
        // compressed.
        .set("queued.max.messages.kbytes", "2048")
        .set("queued.min.messages", "5000")
        .set("fetch.message.max.bytes", "262144")
        .set("fetch.max.bytes", "262144")
        .set("message.max.bytes", "262144");
    settings
}

/// A consumer that is gone at once when this is dropped: the binding itself looks for the end of
/// closing ten times a second only.
pub(super) struct Brief(pub(super) BaseConsumer);

impl Deref for Brief {
    type Target = BaseConsumer;

    fn deref(&self) -> &BaseConsumer {
        &self.0
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        // One that cannot be closed is closed by the binding, which says why.
        if self.0.close_queue().is_ok() {
            while !self.0.closed() {
                self.0.poll(CLOSED_WAIT);
            }
        }
    }
}

/// What a failure of a client means.
pub(super) fn failure(what: &str, error: KafkaError) -> Error {
    use RDKafkaErrorCode as C;
    let (kind, number) = match code_of(&error) {
        Some(C::ProducerFenced | C::InvalidProducerEpoch | C::Fenced | C::FencedInstanceId) => {
            return fenced(what);
        }
        Some(
            C::TopicAuthorizationFailed
            | C::GroupAuthorizationFailed
            | C::ClusterAuthorizationFailed
            | C::TransactionalIdAuthorizationFailed,
        ) => (Kind::Hold, Code::RIGHTS_MISSING),
        Some(C::OffsetOutOfRange | C::AutoOffsetReset | C::UnknownTopicId) => {
            (Kind::Hold, Code::FEED_LOST)
        }
        Some(C::MessageSizeTooLarge | C::InvalidTimestamp | C::PolicyViolation) => {
            (Kind::Hold, Code::CONSTRAINT_VIOLATED)
        }
        Some(
            C::BrokerTransportFailure
            | C::DestroyBroker
            | C::AllBrokersDown
            | C::OperationTimedOut
            | C::RequestTimedOut
            | C::TimedOutQueue
            | C::Resolve,
        ) => (Kind::Transient, Code::END_UNREACHABLE),
        _ => (Kind::Transient, Code::END_FAILED),
    };
    Error::new(kind, number, format!("{what} failed"))
        .detail(format!("{error}."))
        .because(error)
}

/// The code of a failure, wherever it came from.
pub(super) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(cause) => Some(cause.code()),
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Whether a failure says no more than that no broker is connected at this moment: a client that
/// has just begun tells it too, between one connection and the next. It goes on by itself, and
/// whoever waits for an answer waits no longer than for any other.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    code_of(error) == Some(RDKafkaErrorCode::AllBrokersDown)
}

/// The next record of a consumer, or what is the matter with it; `None` when neither came in time.
pub(super) fn poll(consumer: &BaseConsumer) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    loop {
        match consumer.poll(ANSWER_MAX) {
            Some(Err(error)) if is_passing(&error) => {}
            other => return other,
        }
    }
}

/// Places as the offsets of a consumer group, of one lane or of all.
pub(super) fn offsets(places: &[TopicPlace], of: Option<LaneId>) -> Result<TopicPartitionList> {
    let mut offsets = TopicPartitionList::new();
    for (pair, place) in (0..).map(PairId).zip(places) {
        let ours = |partition: &i32| of.is_none_or(|lane| control::lane(pair, *partition) == lane);
        let places = (0..).zip(&place.next);
        for (partition, next) in places.filter(|(partition, _)| ours(partition)) {
            let added =
                offsets.add_partition_offset(&place.topic, partition, Offset::Offset(*next));
            added.map_err(|error| failure("naming an offset", error))?;
        }
    }
    Ok(offsets)
}

/// The error of a cluster that does not answer.
pub(super) fn unreachable(what: &str) -> Error {
    Error::new(Kind::Transient, Code::END_UNREACHABLE, what)
        .hint("Look at the brokers and at `bootstrap.servers`.")
}

/// The error of something that cannot work at all.
pub(super) fn unsupported(what: &str) -> Error {
    Error::new(Kind::Precondition, Code::END_SETTING, what)
}

/// Waits for an answer that the client's own thread brings.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
