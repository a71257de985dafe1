//! What groups have committed, asked of their coordinators.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::clock::Clock;
use contraflow_core::error::{Error, Result};
use rdkafka::client::Client;
use rdkafka::consumer::{Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{self, ANSWER_MAX, Brief, code_of, failure};
use super::native::{self, Committed};

/// How often a coordinator that is not ready is asked again.
const LOOK: Duration = Duration::from_millis(50);

/// Somebody who asks. It has a group, which it never joins.
pub(super) struct Commits {
    consumer: Brief,
    clock: Arc<dyn Clock>,
}

impl Commits {
    /// A client that has this group, one of ours.
    pub(super) fn new(cluster: &Cluster, group: &str, clock: Arc<dyn Clock>) -> Result<Commits> {
        let made = client::consumer(cluster, group).create();
        let consumer = Brief(made.map_err(|error| failure("making a client", error))?);
        Ok(Commits { consumer, clock })
    }

    /// Everything that a group has committed. A coordinator that only begins to know is waited
    /// for.
    pub(super) fn of(&self, group: &str) -> Result<Vec<Committed>> {
        let deadline = self.clock.elapsed() + ANSWER_MAX;
        loop {
            match native::committed(self, group) {
                Err(error) if is_moving(&error) && self.clock.elapsed() < deadline => {
                    self.clock.sleep(LOOK);
                }
                done => return done,
            }
        }
    }

    pub(super) fn client(&self) -> &Client<DefaultConsumerContext> {
        self.consumer.client()
    }
}

/// Whether the coordinator of a group has just come to a broker, or left it.
fn is_moving(error: &Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<KafkaError>());
    let moving = [
        RDKafkaErrorCode::NotCoordinator,
        RDKafkaErrorCode::CoordinatorNotAvailable,
        RDKafkaErrorCode::CoordinatorLoadInProgress,
    ];
    cause
        .and_then(code_of)
        .is_some_and(|code| moving.contains(&code))
}
