//! Everything that could stand in the way of a topic, looked at without side effects.

use std::collections::HashMap;
use std::sync::Arc;

use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::Role;
use contraflow_core::error::{Problem, Result};
use contraflow_core::log::{HEADER_BYTES, Room, alter};
use contraflow_core::preflight::{Looked, Preflight};
use contraflow_core::side::{Direction, Side};

use super::broker::{Broker, IN_SYNC, Safety, Topic, Visible};
use super::commits::Commits;
use super::names::Names;
use super::rights::Client;

/// What a setting of a topic must be.
struct Wanted {
    name: &'static str,
    value: &'static str,
    why: &'static str,
}

/// The settings of a topic that is written.
const WRITTEN: [Wanted; 1] = [Wanted {
    name: "message.timestamp.type",
    value: "CreateTime",
    why: "the broker would replace the timestamps of the records",
}];

/// Looks at the topics of a role.
pub(super) fn check(broker: &Broker, clock: &Arc<dyn Clock>, role: &Role) -> Result<Vec<Looked>> {
    let mut all = Preflight::default();
    all.note(
        format!("cluster {}", broker.cluster_id()?.unwrap_or_default()),
        None,
    );
    let names = Names::of(&role.change);
    let control = match broker.topic(&names.control) {
        Ok(found) => found,
        // Whoever may not see it has not made it.
        Err(error) if error.code == Code::RIGHTS_MISSING => None,
        Err(error) => return Err(error),
    };
    let begun = control.is_some();
    let control = control.map(|topic| broker.safety(&topic)).transpose()?;
    let names = &names;
    let client = Client { broker, names };
    let mut topics = Vec::new();
    for (_, table) in role.pairs() {
        let name = &table.name;
        let Some(topic) = broker.topic(name)? else {
            let message = format!("there is no topic `{name}`");
            let problem = Problem::error(Code::TABLE_MISSING, message);
            all.note(format!("topic `{name}`"), Some(problem));
            continue;
        };
        let partitions = topic.partitions;
        all.note(format!("topic `{name}` with {partitions} partitions"), None);
        let settings = broker.settings(name)?;
        look_at(&mut all, &topic, &settings);
        if let Some(control) = control {
            kept(&mut all, (&names.control, control), &broker.safety(&topic)?);
        }
        client.topic(&mut all, &topic, role.side)?;
        if role.side == Side::New && !begun {
            empty(&mut all, broker, &topic)?;
        }
        topics.push(topic);
    }
    if role.side == Side::New && !begun {
        let group = names.group(Direction::Forward);
        let commits = Commits::new(&broker.cluster, &group, Arc::clone(clock))?;
        client.beginning(&mut all, &topics, &commits)?;
    }
    Ok(all.at(role.side))
}

fn look_at(all: &mut Preflight, topic: &Topic, settings: &HashMap<String, String>) {
    let name = &topic.name;
    for wanted in &WRITTEN {
        let found = settings.get(wanted.name).map_or("", String::as_str);
        let problem = (found != wanted.value).then(|| {
            let message = format!(
                "`{}` of topic `{name}` is {found}: {}",
                wanted.name, wanted.why
            );
            Problem::error(Code::END_SETTING, message).hint(alter(name, wanted.name, wanted.value))
        });
        all.note(format!("`{}` of `{name}` is {found}", wanted.name), problem);
    }
    let least = settings
        .get("min.insync.replicas")
        .map_or("", String::as_str);
    let problem = (!suffices(topic, least.parse().unwrap_or(1))).then(|| {
        let message = format!(
            "topic `{name}` takes no write: {} of its {} replicas are in step, \
             `min.insync.replicas` is {least}",
            topic.in_sync, topic.replicas
        );
        let hint = "Bring the brokers back that have the others.";
        Problem::error(Code::END_SETTING, message).hint(hint)
    });
    all.note(
        format!("`min.insync.replicas` of `{name}` is {least}"),
        problem,
    );
}

/// Whether a write is taken: brokers ask for no more replicas than there are.
fn suffices(topic: &Topic, least: usize) -> bool {
    topic.in_sync >= least.min(topic.replicas)
}

/// The command that makes a topic with room for what another one holds. A record is a header
/// larger there.
pub(super) fn creation(topic: &str, like: &Room) -> String {
    let Room {
        partitions,
        record_bytes_max,
        ..
    } = like;
    let bytes = record_bytes_max + HEADER_BYTES;
    let limit = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
    let (ms, kept) = (limit(like.kept_ms), limit(like.kept_bytes));
    format!(
        "`kafka-topics.sh --create --topic {topic} --partitions {partitions} \
         --config message.timestamp.type=CreateTime --config max.message.bytes={bytes} \
         --config retention.ms={ms} --config retention.bytes={kept}`."
    )
}

fn empty(all: &mut Preflight, broker: &Broker, topic: &Topic) -> Result<()> {
    let name = &topic.name;
    let is_empty = broker.ends(topic, Visible::Everything)? == broker.starts(topic)?;
    let problem = (!is_empty).then(|| {
        let message = format!("the new topic `{name}` holds records already");
        let hint = "Name an empty topic: what it holds can be told from nothing that is carried.";
        Problem::error(Code::TARGET_NOT_EMPTY, message).hint(hint)
    });
    all.note(format!("new topic `{name}` is empty"), problem);
    Ok(())
}

/// Who loses the control topic does not know where to go on: it must be kept as well as the topics.
fn kept(all: &mut Preflight, (name, control): (&str, Safety), topic: &Safety) {
    let problem = (control.max(*topic) != control).then(|| {
        let Safety { replicas, in_sync } = *topic;
        let message = format!("topic `{name}` is kept by fewer brokers than the topics themselves");
        let hint = format!(
            "Give it {replicas} replicas by `kafka-reassign-partitions.sh`, and {}",
            alter(name, IN_SYNC, &in_sync.to_string())
        );
        Problem::error(Code::END_SETTING, message).hint(hint)
    });
    let text = format!("`{name}` is kept by {} brokers", control.replicas);
    all.note(text, problem);
}
