//! Questions to a cluster: topics, their ends, their settings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::log::Room;
use contraflow_core::side::Side;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, ANSWER_MAX, failure, unreachable};
use super::heard::{self, Asker, Heard};
use super::native::{self, TopicId};
use super::place::TopicPlace;

/// In how many parts the time for the first answer is waited for: in between is listened.
const TRIES: u32 = 10;
/// After so many of them, connections that are closed again and again are refused ones.
const TRIES_SURE: u32 = 4;

/// How often a partition is asked for that has no leader, and the pause in between: five seconds.
/// One that was just made gets it soon.
const LEADER_TRIES: u32 = 50;
const LEADER_WAIT: Duration = Duration::from_millis(100);
/// How often is asked within the time for an answer: a question to a broker that is gone is not put
/// to another one.
const SILENT_TRIES: u32 = 4;

type Admin = AdminClient<DefaultClientContext>;

/// A topic that is there.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: TopicId,
    pub(super) partitions: usize,
    pub(super) replicas: usize,
    /// The fewest replicas of a partition that are up to date.
    pub(super) in_sync: usize,
}

/// The setting that says how many replicas must have a record before its writer is answered.
pub(super) const IN_SYNC: &str = "min.insync.replicas";

/// How many brokers keep a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Safety {
    pub(super) replicas: usize,
    /// How many must have a record before its writer is answered.
    pub(super) in_sync: usize,
}

impl Safety {
    /// The higher one of each number.
    pub(super) fn max(self, other: Safety) -> Safety {
        Safety {
            replicas: self.replicas.max(other.replicas),
            in_sync: self.in_sync.max(other.in_sync),
        }
    }
}

/// Which end of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visible {
    /// What readers of committed records may see: the last stable offset.
    Committed,
    /// Open transactions too: the high watermark.
    Everything,
}

/// Somebody who asks, for all faces of an end: to connect takes longer than to ask, so each client
/// is made when it is first needed and kept.
pub(super) struct Broker {
    pub(super) cluster: Arc<Cluster>,
    committed: OnceLock<Asker>,
    everything: OnceLock<Asker>,
    admin: Mutex<Option<Arc<Admin>>>,
}

impl Broker {
    pub(super) fn new(cluster: &Arc<Cluster>) -> Broker {
        Broker {
            cluster: Arc::clone(cluster),
            committed: OnceLock::new(),
            everything: OnceLock::new(),
            admin: Mutex::default(),
        }
    }

    /// The client that asks for this end of a partition.
    fn asker(&self, visible: Visible) -> Result<&Asker> {
        let (kept, level) = match visible {
            Visible::Committed => (&self.committed, "read_committed"),
            Visible::Everything => (&self.everything, "read_uncommitted"),
        };
        let asker = kept_or(kept, || {
            // Without a group: whoever only asks has nothing to leave, and is gone at once.
            client::settings(&self.cluster)
                .set("isolation.level", level)
                .set_log_level(RDKafkaLogLevel::Info)
                .create_with_context(Heard::default())
        })?;
        // What it said of its connections before says nothing of the question that comes now.
        drop(heard::lines(asker));
        Ok(asker)
    }

    /// A topic by its name; `None` when it is not there.
    pub(super) fn topic(&self, name: &str) -> Result<Option<Topic>> {
        let metadata = self.metadata(name)?;
        let Some(found) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        if let Some(code) = found.error() {
            let code = RDKafkaErrorCode::from(code);
            let absent = [
                RDKafkaErrorCode::UnknownTopicOrPartition,
                RDKafkaErrorCode::UnknownTopic,
            ];
            if absent.contains(&code) {
                return Ok(None);
            }
            let what = format!("asking for topic `{name}`");
            return Err(failure(&what, KafkaError::MetadataFetch(code)));
        }
        Ok(Some(Topic {
            name: name.to_owned(),
            id: native::topic_id(self.consumer()?.client(), name)?,
            partitions: found.partitions().len(),
            replicas: found
                .partitions()
                .iter()
                .map(|partition| partition.replicas().len())
                .max()
                .unwrap_or(1),
            in_sync: found
                .partitions()
                .iter()
                .map(|partition| partition.isr().len())
                .min()
                .unwrap_or(1),
        }))
    }

    /// What the cluster says of a topic. The first question of all, so the one that finds out
    /// whether they come together.
    fn metadata(&self, topic: &str) -> Result<Metadata> {
        let asker = self.consumer()?;
        let mut heard = Vec::new();
        for tried in 1..=TRIES {
            let asked = asker.fetch_metadata(Some(topic), ANSWER_MAX / TRIES);
            if let Ok(metadata) = asked {
                return Ok(metadata);
            }
            heard.extend(heard::lines(asker));
            // A broker that goes away closes connections too; one that comes back is found.
            let sure =
                |reason: &&String| tried >= TRIES_SURE || !reason.starts_with("Disconnected");
            let told = heard.iter().filter(sure);
            let refused = told
                .filter_map(|reason| heard::refusal(reason, &self.cluster))
                .next();
            if let Some(refused) = refused {
                return Err(refused);
            }
        }
        let error = unreachable("the cluster does not answer");
        Err(match heard.last() {
            Some(reason) => error.detail(format!("{reason}.")),
            None => error,
        })
    }

    /// A topic that must be there.
    pub(super) fn named(&self, name: &str, side: Side) -> Result<Topic> {
        self.topic(name)?.ok_or_else(|| {
            let message = format!("there is no topic `{name}`");
            Error::new(Kind::Precondition, Code::TABLE_MISSING, message).at(side)
        })
    }

    /// The name of the cluster.
    ///
    /// # Errors
    /// When no client can be made.
    pub(super) fn cluster_id(&self) -> Result<Option<String>> {
        Ok(self.consumer()?.client().fetch_cluster_id(ANSWER_MAX))
    }

    /// The end of each partition.
    pub(super) fn ends(&self, topic: &Topic, visible: Visible) -> Result<Vec<i64>> {
        offsets(self.asker(visible)?, topic, Offset::End)
    }

    /// Learns anew who leads a topic.
    pub(super) fn look_again(&self, topic: &Topic) -> Result<()> {
        for visible in [Visible::Committed, Visible::Everything] {
            let asker = self.asker(visible)?;
            // Whoever does not answer tells nothing new.
            drop(asker.fetch_metadata(Some(&topic.name), ANSWER_MAX / SILENT_TRIES));
        }
        Ok(())
    }

    /// The oldest offset of each partition.
    pub(super) fn starts(&self, topic: &Topic) -> Result<Vec<i64>> {
        offsets(self.asker(Visible::Everything)?, topic, Offset::Beginning)
    }

    /// The end of a topic as a place of it.
    pub(super) fn end(&self, topic: &Topic, visible: Visible) -> Result<TopicPlace> {
        Ok(TopicPlace {
            topic: topic.name.clone(),
            id: topic.id,
            next: self.ends(topic, visible)?,
        })
    }

    /// Asks the controller. A client goes on asking one that is gone, so after that a new client
    /// is asked.
    fn administer<T>(&self, ask: impl Fn(&Admin) -> KafkaResult<T>) -> KafkaResult<T> {
        let mut silent = 1..SILENT_TRIES;
        loop {
            let kept = self.kept_admin().clone();
            let admin = match kept {
                Some(admin) => admin,
                None => Arc::new(client::settings(&self.cluster).create()?),
            };
            let asked = ask(&admin);
            let again = is_silent(&asked) && silent.next().is_some();
            *self.kept_admin() = (!again).then_some(admin);
            if !again {
                return asked;
            }
        }
    }

    fn kept_admin(&self) -> MutexGuard<'_, Option<Arc<Admin>>> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of a topic.
    pub(super) fn settings(&self, topic: &str) -> Result<HashMap<String, String>> {
        let which = [ResourceSpecifier::Topic(topic)];
        let asked =
            self.administer(|admin| client::wait(admin.describe_configs(&which, &options())));
        let fail = |error| failure("asking for a topic's settings", error);
        let mut found = HashMap::new();
        for resource in asked.map_err(fail)? {
            let resource = resource.map_err(|code| fail(KafkaError::AdminOp(code)))?;
            for entry in resource.entries {
                found.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Whether a topic keeps no more than the newest record of each key.
    pub(super) fn compacts(&self, topic: &str) -> Result<bool> {
        Ok(cleanup(&self.settings(topic)?).contains("compact"))
    }

    /// How many brokers keep a topic.
    pub(super) fn safety(&self, topic: &Topic) -> Result<Safety> {
        let settings = self.settings(&topic.name)?;
        let in_sync = settings.get(IN_SYNC).and_then(|value| value.parse().ok());
        Ok(Safety {
            replicas: topic.replicas,
            in_sync: in_sync.unwrap_or(1),
        })
    }

    /// When the oldest record of each partition was written, as its timestamp says.
    pub(super) fn oldest_ms(&self, topic: &Topic) -> Result<Option<i64>> {
        let fail = |error| failure(&format!("reading topic `{}`", topic.name), error);
        let mut settings = client::consumer(&self.cluster, "contraflow");
        settings
            .set("enable.partition.eof", "true")
            // One batch of each partition is enough.
            .set("fetch.message.max.bytes", "1");
        let consumer: BaseConsumer = settings.create().map_err(fail)?;
        let mut from = TopicPartitionList::new();
        let last = i32::try_from(topic.partitions).unwrap_or(i32::MAX) - 1;
        from.add_partition_range(&topic.name, 0, last);
        from.set_all_offsets(Offset::Beginning).map_err(fail)?;
        consumer.assign(&from).map_err(fail)?;
        let (mut seen, mut oldest) = (vec![false; topic.partitions], None);
        while seen.contains(&false) {
            let partition = match client::poll(&consumer) {
                None => return Err(unreachable("the oldest records are not handed out")),
                Some(Err(KafkaError::PartitionEOF(partition))) => partition,
                Some(Err(error)) => return Err(fail(error)),
                Some(Ok(message)) => {
                    let at_ms = message.timestamp().to_millis().filter(|at_ms| *at_ms >= 0);
                    let place = usize::try_from(message.partition()).unwrap_or(usize::MAX);
                    if seen.get(place) == Some(&false) {
                        oldest = oldest.min(at_ms).or(at_ms).or(oldest);
                    }
                    message.partition()
                }
            };
            let place = usize::try_from(partition).unwrap_or(usize::MAX);
            if let Some(seen) = seen.get_mut(place) {
                *seen = true;
            }
        }
        Ok(oldest)
    }

    /// What a topic can hold.
    pub(super) fn room(&self, topic: &Topic) -> Result<Room> {
        let settings = self.settings(&topic.name)?;
        let number = |name: &str| {
            settings
                .get(name)
                .and_then(|value| value.parse::<u64>().ok())
        };
        Ok(Room {
            partitions: topic.partitions,
            record_bytes_max: number("max.message.bytes").unwrap_or(0),
            // No limit is written as -1.
            kept_ms: number("retention.ms"),
            kept_bytes: number("retention.bytes"),
            past_max_ms: number("message.timestamp.before.max.ms"),
            future_max_ms: number("message.timestamp.after.max.ms"),
            cleanup: cleanup(&settings),
        })
    }

    /// Makes a topic unless it is there.
    pub(super) fn create(
        &self,
        name: &str,
        size: (usize, usize),
        settings: &[(&str, &str)],
    ) -> Result<()> {
        match self.creation(name, size, settings, &options())? {
            None | Some(RDKafkaErrorCode::TopicAlreadyExists) => Ok(()),
            Some(code) => {
                let what = format!("making topic `{name}`");
                Err(failure(&what, KafkaError::AdminOp(code)))
            }
        }
    }

    /// Why a topic could not be made, if it could not. Makes none.
    pub(super) fn creatable(
        &self,
        name: &str,
        size: (usize, usize),
        settings: &[(&str, &str)],
    ) -> Result<Option<RDKafkaErrorCode>> {
        self.creation(name, size, settings, &options().validate_only(true))
    }

    fn creation(
        &self,
        name: &str,
        (partitions, replicas): (usize, usize),
        settings: &[(&str, &str)],
        options: &AdminOptions,
    ) -> Result<Option<RDKafkaErrorCode>> {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(count(replicas));
        let mut topic = NewTopic::new(name, count(partitions), replication);
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let made = self.administer(|admin| client::wait(admin.create_topics([&topic], options)));
        let made = made.map_err(|error| failure(&format!("making topic `{name}`"), error))?;
        Ok(made
            .into_iter()
            .find_map(|made| made.err().map(|(_, code)| code)))
    }

    /// Deletes topics that may be gone already.
    pub(super) fn delete(&self, names: &[&str]) -> Result<()> {
        let gone = self.administer(|admin| client::wait(admin.delete_topics(names, &options())));
        let what = "deleting topics";
        for result in gone.map_err(|error| failure(what, error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(failure(what, KafkaError::AdminOp(code))),
            }
        }
        Ok(())
    }

    /// Deletes consumer groups that may be gone already.
    pub(super) fn delete_groups(&self, names: &[&str]) -> Result<()> {
        let gone = self.administer(|admin| client::wait(admin.delete_groups(names, &options())));
        let what = "deleting consumer groups";
        for result in gone.map_err(|error| failure(what, error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, code)) => return Err(failure(what, KafkaError::AdminOp(code))),
            }
        }
        Ok(())
    }

    /// The consumer that reads what is committed.
    ///
    /// # Errors
    /// When no client can be made.
    pub(super) fn consumer(&self) -> Result<&Asker> {
        self.asker(Visible::Committed)
    }
}

/// What is kept, or made now and kept from now on.
fn kept_or<T>(kept: &OnceLock<T>, make: impl FnOnce() -> KafkaResult<T>) -> Result<&T> {
    if let Some(found) = kept.get() {
        return Ok(found);
    }
    let made = make().map_err(|error| failure("making a client", error))?;
    Ok(kept.get_or_init(|| made))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_MAX / SILENT_TRIES))
        .operation_timeout(Some(ANSWER_MAX))
}

/// One end of each partition, in one question per broker. The client asks for the offset at a
/// time, and the protocol's names for both ends stand where times do.
fn offsets(consumer: &Asker, topic: &Topic, which: Offset) -> Result<Vec<i64>> {
    let fail = |error| failure(&format!("asking for the ends of `{}`", topic.name), error);
    let mut asked = TopicPartitionList::with_capacity(topic.partitions);
    for partition in 0..topic.partitions {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let added = asked.add_partition_offset(&topic.name, partition, which);
        added.map_err(fail)?;
    }
    let (mut tries, mut silent) = (0..LEADER_TRIES, 1..SILENT_TRIES);
    let answered = loop {
        let answered = consumer.offsets_for_times(asked.clone(), ANSWER_MAX / SILENT_TRIES);
        match unserved(&answered) {
            Some(which) if tries.next().is_none() => {
                return Err(without_leader(&topic.name, &which));
            }
            // Nothing comes of it: this consumer has no partitions.
            Some(_) => drop(consumer.poll(LEADER_WAIT)),
            None if is_silent(&answered) && silent.next().is_some() => {}
            None => break answered.map_err(fail)?,
        }
        // Whoever it asked may be gone, and nobody tells it who leads now.
        drop(consumer.fetch_metadata(Some(&topic.name), ANSWER_MAX / SILENT_TRIES));
    };
    let mut offsets = vec![None; topic.partitions];
    for element in answered.elements() {
        element.error().map_err(fail)?;
        let place = usize::try_from(element.partition()).unwrap_or(usize::MAX);
        if let (Some(offset), Offset::Offset(found)) = (offsets.get_mut(place), element.offset()) {
            *offset = Some(found);
        }
    }
    let whole: Option<Vec<i64>> = offsets.into_iter().collect();
    let message = format!("the broker does not say where `{}` ends", topic.name);
    whole.ok_or_else(|| unreachable(&message))
}

/// Whether whoever was asked has not answered, and may be gone.
fn is_silent<T>(answered: &KafkaResult<T>) -> bool {
    use RDKafkaErrorCode as C;
    let error = answered.as_ref().err();
    matches!(
        error.and_then(client::code_of),
        Some(C::OperationTimedOut | C::BrokerTransportFailure | C::DestroyBroker)
    )
}

/// The partition that nobody serves, as far as an answer names it.
fn unserved(answered: &KafkaResult<TopicPartitionList>) -> Option<String> {
    use RDKafkaErrorCode as C;
    let is_it = |error: &KafkaError| {
        let code = error.rdkafka_error_code();
        code.is_some_and(|code| {
            matches!(
                code,
                C::LeaderNotAvailable
                    | C::NotLeaderForPartition
                    // It has just begun to lead, and does not know yet how far it is.
                    | C::OffsetNotAvailable
                    // It has not heard of the newest leader, or is not the newest one.
                    | C::UnknownLeaderEpoch
                    | C::FencedLeaderEpoch
                    | C::UnknownTopicOrPartition
                    | C::UnknownPartition
            )
        })
    };
    match answered {
        Err(error) => is_it(error).then(|| "a partition".to_owned()),
        Ok(all) => all.elements().iter().find_map(|element| {
            let error = element.error().err()?;
            is_it(&error).then(|| format!("partition {}", element.partition()))
        }),
    }
}

fn without_leader(topic: &str, partition: &str) -> Error {
    let hint =
        format!("Bring its brokers back: `kafka-topics.sh --describe --topic {topic}` names them.");
    unreachable(&format!("{partition} of `{topic}` has no leader")).hint(hint)
}

/// The policies of a topic, in one order.
fn cleanup(settings: &HashMap<String, String>) -> String {
    let policies = settings.get("cleanup.policy").map_or("", String::as_str);
    let mut policies: Vec<&str> = policies.split(',').map(str::trim).collect();
    policies.sort_unstable();
    policies.join(",")
}
