//! Everything that could stand in the way of a topic, looked at without side effects.

use std::collections::HashMap;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::code::Code;
use contraflow_core::end::Role;
use contraflow_core::error::{Problem, Result};
use contraflow_core::preflight::{Looked, Preflight};
use contraflow_core::side::Side;

use super::broker::{Broker, Topic, Visible};
use super::names::Names;

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
pub(super) fn check(cluster: &Cluster, role: &Role) -> Result<Vec<Looked>> {
    let broker = Broker::new(cluster)?;
    let mut all = Preflight::default();
    let cluster = broker.cluster().unwrap_or_default();
    all.note(format!("cluster {cluster}"), None);
    let names = Names::of(&role.change);
    let begun = broker.topic(&names.control)?.is_some();
    for (_, table) in role.pairs() {
        let name = &table.name;
        let Some(topic) = broker.topic(name)? else {
            let message = format!("there is no topic `{name}`");
            let hint = "Make it with as many partitions as its counterpart: `kafka-topics.sh \
                        --create --topic .. --partitions ..`.";
            let problem = Problem::error(Code::TABLE_MISSING, message).hint(hint);
            all.note(format!("topic `{name}`"), Some(problem));
            continue;
        };
        let partitions = topic.partitions;
        all.note(format!("topic `{name}` with {partitions} partitions"), None);
        let settings = broker.settings(name)?;
        look_at(&mut all, &topic, &settings);
        if role.side == Side::New && !begun {
            empty(&mut all, &broker, &topic)?;
        }
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

fn alter(topic: &str, setting: &str, value: &str) -> String {
    format!(
        "`kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config \
         {setting}={value}`."
    )
}
