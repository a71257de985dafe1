//! The control topic and the topics themselves.

use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::codec::payload::Payload;
use contraflow_core::end::{Demands, Remove, Step, Structure};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::Standing;
use contraflow_core::probe::Point;
use contraflow_core::record::PairId;
use contraflow_core::side::Side;

use super::Context;
use super::broker::{Broker, IN_SYNC, Safety, Visible};
use super::client::unreachable;
use super::control::{self, Coordinator, Known, Note};
use super::names::Names;

/// The control topic keeps the newest record of each key; small segments are compacted soon.
pub(super) const CONTROL: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
];
/// How long a topic that was made may take to be known everywhere.
const KNOWN_MAX: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct Topics {
    context: Context,
}

impl Topics {
    pub(super) fn new(context: Context) -> Topics {
        Topics { context }
    }

    fn names(&self) -> Vec<&str> {
        let tables = self.context.role.tables.iter();
        tables.map(|table| table.name.as_str()).collect()
    }

    fn payloads(&self) -> impl Iterator<Item = &dyn Payload> {
        let all = &self.context.payloads;
        let names = self.names().into_iter();
        let formats = names.flat_map(|name| [all.key(name), all.get(name)]);
        formats.flatten().map(|format| &**format)
    }

    fn make_control(&self, broker: &Broker) -> Result<()> {
        let name = &self.context.names.control;
        if broker.topic(name)?.is_some() {
            return Ok(());
        }
        // Who loses it loses no less than the topics themselves.
        let mut safety = Safety::default();
        for table in self.names() {
            let topic = broker.named(table, self.context.role.side)?;
            safety = safety.max(broker.safety(&topic)?);
        }
        let in_sync = safety.in_sync.to_string();
        let mut settings = CONTROL.to_vec();
        settings.push((IN_SYNC, &in_sync));
        broker.create(name, (control::partitions(), safety.replicas), &settings)?;
        let deadline = self.context.clock.elapsed() + KNOWN_MAX;
        while self.context.clock.elapsed() < deadline {
            if broker.topic(name)?.is_some() {
                return Ok(());
            }
            self.context.clock.sleep(LOOK);
        }
        Err(unreachable(&format!(
            "topic `{name}` does not become known"
        )))
    }

    fn known(&self, broker: &Broker) -> Result<Vec<Known>> {
        let known = |name: &str| {
            let topic = broker.named(name, self.context.role.side)?;
            Ok(Known {
                id: topic.id,
                partitions: topic.partitions,
                starts: broker.starts(&topic)?,
                topic: topic.name,
            })
        };
        self.names().into_iter().map(known).collect()
    }

    /// A new topic that holds records was carried before, or is somebody else's: a control topic
    /// that was lost must not have the change begin anew.
    fn is_empty(&self, broker: &Broker) -> Result<()> {
        for name in self.names() {
            let topic = broker.named(name, self.context.role.side)?;
            let ends = broker.ends(&topic, Visible::Everything)?;
            if ends != broker.starts(&topic)? {
                let message = format!("the new topic `{name}` holds records already");
                let error = Error::new(Kind::Precondition, Code::TARGET_NOT_EMPTY, message);
                return Err(error.at(self.context.role.side));
            }
        }
        Ok(())
    }
}

impl Structure for Topics {
    fn statements(&self, step: Step) -> Vec<String> {
        let control = &self.context.names.control;
        let side = self.context.role.side;
        match step {
            Step::Expand => {
                let payloads = self.payloads();
                let mut all: Vec<String> = payloads.filter_map(Payload::preparation).collect();
                all.push(format!(
                    "create topic {control} (compacted) unless it is there"
                ));
                all.push(format!("write {} to {control}", Names::standing(side)));
                all
            }
            Step::Fence => vec![format!(
                "write {}: fenced to {control}",
                Names::standing(side)
            )],
            Step::Seal => vec![format!(
                "write {}: closed to {control}",
                Names::standing(side)
            )],
            Step::Flip => vec![
                format!("take the transactional ids of the forward lanes"),
                format!("write flip, {}: open to {control}", Names::standing(side)),
            ],
            Step::Clean => vec![format!(
                "delete topic {control} with the last side of the change"
            )],
            Step::Drop => {
                let delete = |name: &str| format!("delete topic {name}");
                self.names().into_iter().map(delete).collect()
            }
        }
    }

    fn demands(&self) -> Demands {
        Demands {
            declaring: "nothing: a control topic is made beside the topics",
            carrying: "nothing; records become visible with their transaction",
            fenced: "are not refused: they stop by themselves, and somebody says so",
            rights: "Read and Describe on both topics, Write on both, Create, DescribeConfigs; all \
                     on `__contraflow.*`, groups and transactional ids `contraflow-*`",
        }
    }

    fn expand(&mut self, standing: &Standing) -> Result<()> {
        self.context.probe.at(Point::EXPAND_BEFORE)?;
        let side = self.context.role.side;
        let broker = &self.context.broker;
        self.make_control(broker)?;
        self.payloads().try_for_each(Payload::prepare)?;
        let coordinator = Coordinator::take(&self.context)?;
        match coordinator.control.standing(side) {
            Some(found) if found.ledger == standing.ledger => {}
            Some(_) => return Err(crate::tables::elsewhere(side)),
            None => {
                if side == Side::New {
                    self.is_empty(broker)?;
                }
                let topics = self.known(broker)?;
                let notes = [
                    Note::topics(side, &topics),
                    Note::standing(side, Some(standing)),
                ];
                coordinator.write(&notes, |_| Ok(()))?;
            }
        }
        self.context.probe.at(Point::EXPAND_AFTER)
    }

    fn remove(&mut self, tables: Remove) -> Result<()> {
        let side = self.context.role.side;
        let broker = &self.context.broker;
        match tables {
            Remove::Tables => broker.delete(&self.names())?,
            // Topics are made by whoever owns them, never by the change.
            Remove::Created | Remove::Bookkeeping => {}
        }
        let names = &self.context.names;
        if broker.topic(&names.control)?.is_none() {
            return Ok(());
        }
        let coordinator = Coordinator::take(&self.context)?;
        if coordinator.control.standing(side).is_some() {
            coordinator.write(&[Note::standing(side, None)], |_| Ok(()))?;
        }
        if coordinator.control.standing(side.other()).is_some() {
            return Ok(());
        }
        let groups = names.groups();
        broker.delete_groups(&groups.each_ref().map(String::as_str))?;
        if broker.topic(&names.letters)?.is_some() {
            broker.delete(&[&names.letters])?;
        }
        broker.delete(&[&names.control])
    }

    fn foreign_key_violations(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn count(&mut self, pair: PairId) -> Result<u64> {
        let broker = &self.context.broker;
        let topic = broker.named(&self.context.role.table(pair).name, self.context.role.side)?;
        let ends = broker.ends(&topic, Visible::Everything)?;
        let starts = broker.starts(&topic)?;
        let records = ends.iter().zip(&starts).map(|(end, start)| end - start);
        Ok(u64::try_from(records.sum::<i64>()).unwrap_or(0))
    }
}
