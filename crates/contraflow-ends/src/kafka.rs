//! Apache Kafka: topics, read by partition, written by transactions.
//!
//! Both topics of a change lie in one cluster, and so does its control topic, where authority and
//! checkpoints stand as records of the transactions that they belong to. Whoever wants to write
//! first takes the transactional id and then reads the control topic: in that order nobody who was
//! overtaken can commit what they believe. See `docs/decisions/topics-in-the-house.md`.

mod apply;
mod barrier;
mod broker;
mod client;
#[cfg(test)]
#[path = "../tests/clock.rs"]
mod clock;
mod commits;
mod control;
mod copies;
mod decide;
mod envelope;
mod excerpt;
mod feed;
mod fetched;
mod heard;
mod late;
mod letters;
mod look;
mod names;
mod native;
mod notes;
mod park;
mod place;
mod preflight;
mod producer;
mod readers;
mod refused;
mod resume;
mod rights;
mod shares;
mod structure;
mod switch;

use std::collections::HashMap;
use std::sync::Arc;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::clock::Clock;
use contraflow_core::codec::payload::Payload;
use contraflow_core::end::{
    Apply, End, Feed, Inspected, Late, Lookup, Readers, Role, Scan, Structure, Switch,
};
use contraflow_core::error::Result;
use contraflow_core::lease::LaneId;
use contraflow_core::log::{self, Place, Room};
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Probe;
use contraflow_core::record::{Key, PairId, Row};

use broker::Broker;

/// The formats of topics.
#[derive(Clone, Debug, Default)]
pub struct Payloads {
    values: HashMap<String, Arc<dyn Payload>>,
    keys: HashMap<String, Arc<dyn Payload>>,
}

impl Payloads {
    /// Notes what the payloads of a topic are, and its keys where somebody looks into them.
    pub fn insert(&mut self, topic: &str, value: Arc<dyn Payload>, key: Option<Arc<dyn Payload>>) {
        self.values.insert(topic.to_owned(), value);
        self.keys.extend(key.map(|key| (topic.to_owned(), key)));
    }

    /// What the payloads of a topic are.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Arc<dyn Payload>> {
        self.values.get(topic)
    }

    /// What the keys of a topic are.
    #[must_use]
    pub fn key(&self, topic: &str) -> Option<&Arc<dyn Payload>> {
        self.keys.get(topic)
    }
}

/// Topics of a Kafka cluster as an end.
pub struct Kafka {
    cluster: Arc<Cluster>,
    broker: Arc<Broker>,
    payloads: Arc<Payloads>,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl Kafka {
    /// An end at this cluster. Each face connects when it is first used.
    #[must_use]
    pub fn new(
        cluster: &Cluster,
        payloads: Payloads,
        clock: Arc<dyn Clock>,
        probe: Arc<dyn Probe>,
    ) -> Kafka {
        let cluster = Arc::new(cluster.clone());
        Kafka {
            broker: Arc::new(Broker::new(&cluster)),
            cluster,
            payloads: Arc::new(payloads),
            clock,
            probe,
        }
    }

    fn context(&self, role: &Arc<Role>) -> Context {
        Context {
            cluster: Arc::clone(&self.cluster),
            broker: Arc::clone(&self.broker),
            payloads: Arc::clone(&self.payloads),
            names: names::Names::of(&role.change),
            role: Arc::clone(role),
            clock: Arc::clone(&self.clock),
            probe: Arc::clone(&self.probe),
        }
    }
}

impl Kafka {
    fn inspected(&self, table: &str) -> Result<Option<Inspected>> {
        let broker = &self.broker;
        let Some(topic) = broker.topic(table)? else {
            return Ok(None);
        };
        let ends = broker.ends(&topic, broker::Visible::Everything)?;
        let starts = broker.starts(&topic)?;
        let records = ends.iter().zip(&starts).map(|(end, start)| end - start);
        let payload = self.payloads.get(table);
        let fields = payload.map_or_else(Vec::new, |payload| payload.fields().to_vec());
        let shape = log::shape(fields);
        Ok(Some(Inspected {
            declared: shape.fields.iter().map(|field| field.ty.name()).collect(),
            shape,
            primary_key: log::key_names(),
            log: Some(broker.room(&topic)?),
            rows_estimated: u64::try_from(records.sum::<i64>()).unwrap_or(0),
        }))
    }
}

/// What every face of one end shares.
#[derive(Clone)]
struct Context {
    cluster: Arc<Cluster>,
    broker: Arc<Broker>,
    payloads: Arc<Payloads>,
    names: names::Names,
    role: Arc<Role>,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl End for Kafka {
    fn address(&self) -> String {
        format!("kafka:{}", self.cluster.servers)
    }

    fn engine(&self) -> &'static str {
        "kafka"
    }

    fn inspect(&self, table: &str, _key: &[String]) -> Result<Option<Inspected>> {
        self.inspected(table).map_err(|error| {
            let client = rights::Client {
                broker: &self.broker,
                names: &names::Names::of(""),
            };
            client.explained(error, table)
        })
    }

    fn complete(&self, table: &str, row: &mut Row) {
        let values = row.0.get_mut(log::FIELDS.len()..);
        if let (Some(payload), Some(values)) = (self.payloads.get(table), values) {
            payload.complete(values);
        }
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        preflight::check(&self.broker, &self.clock, role)
    }

    fn oldest_age_ms(&self, log: &str) -> Result<Option<u64>> {
        let Some(topic) = self.broker.topic(log)? else {
            return Ok(None);
        };
        let oldest = self.broker.oldest_ms(&topic)?;
        let since = |at_ms: i64| Some(self.clock.unix_ms().saturating_sub(at_ms.try_into().ok()?));
        Ok(oldest.and_then(since))
    }

    fn creation(&self, log: &str, like: &Room) -> Option<String> {
        Some(preflight::creation(log, like))
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        place::reached(at, goal)
    }

    fn short_of(&self, at: &Position, pair: PairId, place: Place) -> Position {
        place::short_of(at, usize::from(pair.0), place.partition, place.offset)
    }

    fn lanes(&self) -> u16 {
        control::LANES
    }

    fn lane(&self, pair: PairId, key: &Key) -> LaneId {
        Place::of(key).map_or(LaneId(0), |place| control::lane(pair, place.partition))
    }

    fn furthest(&self, a: &Position, b: &Position) -> Position {
        place::furthest(a, b)
    }

    fn feed(&self, role: &Arc<Role>) -> Option<Box<dyn Feed>> {
        Some(Box::new(feed::TopicFeed::new(self.context(role))))
    }

    fn scan(&self, _role: &Arc<Role>) -> Option<Box<dyn Scan>> {
        None
    }

    fn apply(&self, role: &Arc<Role>) -> Option<Box<dyn Apply>> {
        Some(Box::new(apply::Writer::new(self.context(role))))
    }

    fn lookup(&self, role: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        Some(Box::new(letters::Kept::new(self.context(role))))
    }

    fn structure(&self, role: &Arc<Role>) -> Option<Box<dyn Structure>> {
        Some(Box::new(structure::Topics::new(self.context(role))))
    }

    fn late(&self, role: &Arc<Role>) -> Option<Box<dyn Late>> {
        Some(Box::new(late::LateWrites::new(self.context(role))))
    }

    fn readers(&self, role: &Arc<Role>) -> Option<Box<dyn Readers>> {
        Some(Box::new(readers::Groups::new(self.context(role))))
    }

    fn switch(&self, role: &Arc<Role>) -> Option<Box<dyn Switch>> {
        Some(Box::new(switch::ControlRecord::new(self.context(role))))
    }
}
