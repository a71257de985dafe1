//! Apache Kafka: topics, read by partition, written by transactions.
//!
//! Both topics of a change lie in one cluster, and so does its control topic, where authority and
//! checkpoints stand as records of the transactions that they belong to. Whoever wants to write
//! first takes the transactional id and then reads the control topic: in that order nobody who was
//! overtaken can commit what they believe. See `docs/decisions/topics-in-the-house.md`.

mod apply;
mod broker;
mod client;
mod control;
mod copies;
mod decide;
mod envelope;
mod excerpt;
mod feed;
mod fetched;
mod late;
mod look;
mod names;
mod native;
mod notes;
mod place;
mod preflight;
mod producer;
mod readers;
mod resume;
mod shares;
mod structure;
mod switch;

use std::collections::HashMap;
use std::sync::Arc;

use contraflow_core::clock::Clock;
use contraflow_core::codec::payload::Payload;
use contraflow_core::end::{
    Apply, End, Feed, Inspected, Late, Lookup, Readers, Role, Scan, Structure, Switch,
};
use contraflow_core::error::Result;
use contraflow_core::log;
use contraflow_core::position::Position;
use contraflow_core::preflight::Looked;
use contraflow_core::probe::Probe;
use contraflow_core::record::Row;

use broker::Broker;

/// The formats of payloads, by topic.
pub type Payloads = HashMap<String, Arc<dyn Payload>>;

/// Topics of a Kafka cluster as an end.
pub struct Kafka {
    servers: String,
    payloads: Arc<Payloads>,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl Kafka {
    /// An end at these `bootstrap.servers`. Each face connects when it is first used.
    #[must_use]
    pub fn new(
        servers: &str,
        payloads: Payloads,
        clock: Arc<dyn Clock>,
        probe: Arc<dyn Probe>,
    ) -> Kafka {
        Kafka {
            servers: servers.to_owned(),
            payloads: Arc::new(payloads),
            clock,
            probe,
        }
    }

    fn context(&self, role: &Arc<Role>) -> Context {
        Context {
            servers: self.servers.clone(),
            payloads: Arc::clone(&self.payloads),
            names: names::Names::of(&role.change),
            role: Arc::clone(role),
            clock: Arc::clone(&self.clock),
            probe: Arc::clone(&self.probe),
        }
    }
}

/// What every face of one end shares.
#[derive(Clone)]
struct Context {
    servers: String,
    payloads: Arc<Payloads>,
    names: names::Names,
    role: Arc<Role>,
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl End for Kafka {
    fn address(&self) -> String {
        format!("kafka:{}", self.servers)
    }

    fn engine(&self) -> &'static str {
        "kafka"
    }

    fn inspect(&self, table: &str, _key: &[String]) -> Result<Option<Inspected>> {
        let broker = Broker::new(&self.servers)?;
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

    fn complete(&self, table: &str, row: &mut Row) {
        let values = row.0.get_mut(log::FIELDS.len()..);
        if let (Some(payload), Some(values)) = (self.payloads.get(table), values) {
            payload.complete(values);
        }
    }

    fn check(&self, role: &Role) -> Result<Vec<Looked>> {
        preflight::check(&self.servers, role)
    }

    fn reached(&self, at: &Position, goal: &Position) -> bool {
        place::reached(at, goal)
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

    fn lookup(&self, _role: &Arc<Role>) -> Option<Box<dyn Lookup>> {
        None
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
