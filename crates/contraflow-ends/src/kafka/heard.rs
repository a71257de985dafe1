//! What a client says of its connections.
//!
//! A question that fails says only that nobody answered. Whether a password, a certificate or the
//! port is the wrong one is told beside it, as a line of the client's log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// A client that only asks, and keeps what it is told of its connections.
pub(super) type Asker = BaseConsumer<Heard>;

/// How the client marks a connection that failed.
const FAILED: &str = "FAIL";
/// What is kept at most, and listened to at once: one line for each try to connect.
const LINES_MAX: usize = 64;

/// Why connections failed, oldest first.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<String>>);

impl ClientContext for Heard {
    fn log(&self, _level: RDKafkaLogLevel, kind: &str, message: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == FAILED && lines.len() < LINES_MAX {
            lines.push(reason(message).to_owned());
        }
    }
}

impl ConsumerContext for Heard {}

/// What was heard since the last time.
pub(super) fn lines(asker: &Asker) -> Vec<String> {
    for _ in 0..LINES_MAX {
        drop(asker.poll(Duration::ZERO));
    }
    let heard = Arc::clone(asker.context());
    let mut lines = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *lines)
}

/// Of a line `[thrd:NAME]: NAME: reason (after 3ms in state UP)` the reason.
fn reason(line: &str) -> &str {
    let line = line.split_once("]: ").map_or(line, |(_, rest)| rest);
    let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
    line.rsplit_once(" (after ")
        .map_or(line, |(reason, _)| reason)
}

/// Why the cluster and this client do not come together, if one of them has refused the other. It
/// is tried again by itself: nothing is lost while somebody mends it.
pub(super) fn refusal(reason: &str, cluster: &Cluster) -> Option<Error> {
    let protocol = cluster.protocol;
    let (what, hint) = if reason.starts_with("SASL authentication error") {
        let user = cluster.login.as_ref().map(|login| login.user.to_string());
        let user = user.unwrap_or_default();
        let what = format!("user `{user}` is not logged in");
        (what, "Correct `sasl.username` and `sasl.password`.")
    } else if reason.contains("certificate verify failed") {
        let what = "the brokers' certificate is not trusted".to_owned();
        let hint = "Name the file of the authority that signed it: `ssl.ca.location`.";
        (what, hint)
    } else if reason.contains("alert") && reason.contains("certificate") {
        let what = "the brokers take no client without a certificate they trust".to_owned();
        let hint = "Name one, and its key: `ssl.certificate.location`, `ssl.key.location`.";
        (what, hint)
    } else if reason.contains("broker's supported mechanisms: ") && !reason.ends_with(": ") {
        let what = "the brokers do not log in this way".to_owned();
        (what, "Set `sasl.mechanism` to one that they have.")
    } else if ["Disconnected", "listener", "SASL state"]
        .iter()
        .any(|it| reason.contains(it))
    {
        let what = format!("the port speaks another protocol than {protocol}, as it seems");
        let hint = "Compare `security.protocol` with the brokers' `listeners` and their ports.";
        (what, hint)
    } else {
        return None;
    };
    let servers = &cluster.servers;
    let error = Error::new(
        Kind::Transient,
        Code::END_REFUSED,
        format!("`{servers}` is not reached: {what}"),
    );
    Some(error.detail(format!("{what}: {reason}.")).hint(hint))
}

#[cfg(test)]
mod tests;
