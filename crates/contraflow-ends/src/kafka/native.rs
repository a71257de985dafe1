//! What the client's safe interface does not tell and its C interface does: the id of a topic,
//! which another topic of its name has not, and consumer groups of both protocols.
//!
//! This module and the one below it alone have `unsafe` in them. Every question goes through
//! [`question`]: what is made for it is destroyed there, and what is read from an answer is copied
//! before.
#![expect(
    unsafe_code,
    reason = "the safe interface of the client knows neither topic ids nor groups, and is slow"
)]

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::{Deserialize, Serialize};

use super::client::{failure, unreachable, unsupported};
use super::commits::Commits;

mod records;

pub(super) use records::{Header, Intake, Record, add, headers};

/// The 128 bits of a topic's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TopicId(pub(super) [u8; 16]);

/// What somebody may do with a topic. Who may read or write may describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Delete,
    DescribeConfigs,
}

impl Right {
    fn of(operation: c::rd_kafka_AclOperation_t) -> Option<Right> {
        use c::rd_kafka_AclOperation_t as C;
        Some(match operation {
            C::RD_KAFKA_ACL_OPERATION_READ => Right::Read,
            C::RD_KAFKA_ACL_OPERATION_WRITE => Right::Write,
            C::RD_KAFKA_ACL_OPERATION_DELETE => Right::Delete,
            C::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Right::DescribeConfigs,
            _ => return None,
        })
    }
}

/// A consumer group, as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    /// `consumer`, or `classic`.
    pub(super) kind: &'static str,
    pub(super) state: Option<&'static str>,
    /// The topics of the partitions that each member has, or is about to get.
    pub(super) members: Vec<Vec<String>>,
}

/// Where a group goes on in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// How long a broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks the cluster for the id of a topic that is there.
pub(super) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<TopicId> {
    // SAFETY: the id is copied out of the description.
    let id = unsafe { described(client, topic, false, |topic| id_of(topic)) }?;
    id.ok_or_else(|| {
        let message = format!("the brokers tell no id of topic `{topic}`: they are too old");
        Error::new(Kind::Precondition, Code::END_SETTING, message).hint(
            "Use Kafka 2.8 or newer: a topic that is made anew must be told from its namesake.",
        )
    })
}

/// What this client may do with a topic that is there: everything where nobody looks at rights.
pub(super) fn rights<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Vec<Right>> {
    // SAFETY: the rights are copied out of the description.
    let found = unsafe { described(client, topic, true, |topic| rights_of(topic)) }?;
    found.ok_or_else(|| unreachable(&format!("the rights on topic `{topic}` were not told")))
}

/// The names of all groups of consumers, of both protocols.
pub(super) fn groups<C: ClientContext>(client: &Client<C>) -> Result<Vec<String>> {
    // SAFETY: the client outlives the call; the result lives as long as its event, and so do the
    // arrays that it hands out, which have as many entries as it says.
    unsafe {
        let listed = question(
            client,
            |rk, queue| c::rd_kafka_ListConsumerGroups(rk, std::ptr::null(), queue),
            |event| {
                let result = c::rd_kafka_event_ListConsumerGroups_result(event);
                if result.is_null() {
                    return None;
                }
                let mut count = 0;
                let errors = c::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut count);
                if count > 0 {
                    return Some(Err(c::rd_kafka_error_code(*errors).into()));
                }
                let groups = c::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
                let name = |at| text(c::rd_kafka_ConsumerGroupListing_group_id(*groups.add(at)));
                Some(Ok((0..count).map(name).collect()))
            },
        )?;
        whole("asking for consumer groups", listed)
    }
}

/// Groups by their names, each with its members.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
) -> Result<Vec<Group>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<CString> = names
        .iter()
        .map(|name| text_for_c(name))
        .collect::<Result<_>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client, the names and the array of them outlive the call, which copies them; the
    // result lives as long as its event.
    unsafe {
        let described = question(
            client,
            |rk, queue| {
                let (all, count) = (pointers.as_mut_ptr(), pointers.len());
                c::rd_kafka_DescribeConsumerGroups(rk, all, count, std::ptr::null(), queue);
            },
            |event| {
                let result = c::rd_kafka_event_DescribeConsumerGroups_result(event);
                if result.is_null() {
                    return None;
                }
                let mut count = 0;
                let groups =
                    c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                Some((0..count).map(|at| group(*groups.add(at))).collect())
            },
        )?;
        whole("asking for the members of groups", described)
    }
}

/// Everything that a group has committed, once no transaction is about to change it. Asked through
/// [`Commits`] only: a client that has no group of its own crashes on the answer of a coordinator
/// that has moved (librdkafka 2.12.1, `rd_kafka_handle_OffsetFetch`).
pub(super) fn committed(commits: &Commits, group: &str) -> Result<Vec<Committed>> {
    let (name, client) = (text_for_c(group)?, commits.client());
    // SAFETY: the client has a group and outlives the call. Options and request are destroyed once,
    // after the question that they were made for; the result lives as long as its event.
    unsafe {
        let options = c::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
        );
        let refused = c::rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
        if !refused.is_null() {
            c::rd_kafka_error_destroy(refused);
        }
        let mut request = c::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
        let found = question(
            client,
            |rk, queue| {
                c::rd_kafka_ListConsumerGroupOffsets(rk, &raw mut request, 1, options, queue);
            },
            |event| {
                let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                if result.is_null() {
                    return None;
                }
                let mut count = 0;
                let groups =
                    c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
                (count == 1).then(|| offsets(*groups))
            },
        );
        c::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        c::rd_kafka_AdminOptions_destroy(options);
        match found? {
            // Deleted since it was listed, or a group that keeps no offsets.
            Some(Err(RDKafkaErrorCode::GroupIdNotFound)) => Ok(Vec::new()),
            found => whole(&format!("asking for the offsets of group `{group}`"), found),
        }
    }
}

/// Sends what waits to be sent, and waits at most so long until the brokers have all of it. Says
/// whether they have. The binding itself looks ten times a second only, or does not rest.
pub(super) fn flushed<C: ClientContext>(client: &Client<C>, limit: Duration) -> bool {
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call, which keeps nothing of it.
    let left = unsafe { c::rd_kafka_flush(client.native_ptr(), limit_ms) };
    matches!(left, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
}

/// One question: it is asked on a queue of its own, and its answer is read.
///
/// # Safety
/// `ask` hands the queue to nothing but the question, and keeps what the question needs alive;
/// `read` keeps nothing of the event.
unsafe fn question<C: ClientContext, T>(
    client: &Client<C>,
    ask: impl FnOnce(*mut c::rd_kafka_t, *mut c::rd_kafka_queue_t),
    read: impl FnOnce(*mut c::rd_kafka_event_t) -> T,
) -> Result<T> {
    let limit_ms = i32::try_from(ANSWER_MAX.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: queue and event are ours and destroyed exactly once, in the reverse order of their
    // making, after the last use of what they own.
    unsafe {
        let queue = c::rd_kafka_queue_new(client.native_ptr());
        ask(client.native_ptr(), queue);
        let event = c::rd_kafka_queue_poll(queue, limit_ms);
        let answer = if event.is_null() {
            Err(unreachable("the brokers did not answer in time"))
        } else {
            match c::rd_kafka_event_error(event) {
                c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(read(event)),
                code => Err(failure(
                    "asking the brokers",
                    KafkaError::Global(code.into()),
                )),
            }
        };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// An answer that was of the right kind, and no failure.
fn whole<T>(what: &str, answer: Option<std::result::Result<T, RDKafkaErrorCode>>) -> Result<T> {
    let answer =
        answer.ok_or_else(|| unreachable(&format!("{what}: the answer is of another kind")))?;
    answer.map_err(|code| failure(what, KafkaError::Global(code)))
}

/// Asks for the description of one topic, with the rights on it if wanted, and reads it.
///
/// # Safety
/// `read` keeps nothing of the description.
unsafe fn described<C: ClientContext, T>(
    client: &Client<C>,
    topic: &str,
    with_rights: bool,
    read: impl FnOnce(*const c::rd_kafka_TopicDescription_t) -> Option<T>,
) -> Result<Option<T>> {
    let name = text_for_c(topic)?;
    // SAFETY: the client outlives the call. `names` and `name` live until the collection, which
    // copies them, is made; collection and options are destroyed once, after the question that
    // they were made for. The array of topics has `count` entries and lives as long as its event.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = c::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let wanted = i32::from(with_rights);
        let refused = c::rd_kafka_AdminOptions_set_include_authorized_operations(options, wanted);
        if !refused.is_null() {
            c::rd_kafka_error_destroy(refused);
        }
        let found = question(
            client,
            |rk, queue| c::rd_kafka_DescribeTopics(rk, topics, options, queue),
            |event| {
                let result = c::rd_kafka_event_DescribeTopics_result(event);
                if result.is_null() {
                    return None;
                }
                let mut count = 0;
                let found = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                if found.is_null() || count != 1 {
                    return None;
                }
                read(*found)
            },
        );
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        found
    }
}

/// The id in a description; none of brokers that know none.
///
/// # Safety
/// The topic belongs to an event that lives.
unsafe fn id_of(topic: *const c::rd_kafka_TopicDescription_t) -> Option<TopicId> {
    // SAFETY: the topic lives, and its id as long.
    let (high, low) = unsafe {
        let uuid = c::rd_kafka_TopicDescription_topic_id(topic);
        if uuid.is_null() {
            return None;
        }
        let high = c::rd_kafka_Uuid_most_significant_bits(uuid);
        (high, c::rd_kafka_Uuid_least_significant_bits(uuid))
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    (id != [0; 16]).then_some(TopicId(id))
}

/// The rights in a description that was asked for with them.
///
/// # Safety
/// The topic belongs to an event that lives.
unsafe fn rights_of(topic: *const c::rd_kafka_TopicDescription_t) -> Option<Vec<Right>> {
    // SAFETY: the topic lives; the array it hands out has `count` entries and lives as long.
    unsafe {
        let mut count = 0;
        let all = c::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        if all.is_null() {
            return None;
        }
        let all = std::slice::from_raw_parts(all, count);
        Some(all.iter().filter_map(|right| Right::of(*right)).collect())
    }
}

/// A group in a result.
///
/// # Safety
/// The group belongs to an event that lives.
unsafe fn group(
    found: *const c::rd_kafka_ConsumerGroupDescription_t,
) -> std::result::Result<Group, RDKafkaErrorCode> {
    use c::rd_kafka_consumer_group_state_t as State;
    use c::rd_kafka_consumer_group_type_t as Type;
    // SAFETY: the group lives, and so does everything that it hands out.
    unsafe {
        let error = c::rd_kafka_ConsumerGroupDescription_error(found);
        if !error.is_null() && !matches!(code_of(error), RDKafkaErrorCode::NoError) {
            return Err(code_of(error));
        }
        let state = match c::rd_kafka_ConsumerGroupDescription_state(found) {
            State::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => Some("PreparingRebalance"),
            State::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => {
                Some("CompletingRebalance")
            }
            State::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => Some("Stable"),
            State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => Some("Dead"),
            State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => Some("Empty"),
            // The newer protocol has states that this client has no name for.
            _ => None,
        };
        let kind = match c::rd_kafka_ConsumerGroupDescription_type(found) {
            Type::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER => "consumer",
            _ => "classic",
        };
        let members = 0..c::rd_kafka_ConsumerGroupDescription_member_count(found);
        let topics = |at| {
            let member = c::rd_kafka_ConsumerGroupDescription_member(found, at);
            let mut topics = assigned(c::rd_kafka_MemberDescription_assignment(member));
            topics.extend(assigned(c::rd_kafka_MemberDescription_target_assignment(
                member,
            )));
            topics
        };
        Ok(Group {
            name: text(c::rd_kafka_ConsumerGroupDescription_group_id(found)),
            kind,
            state,
            members: members.map(topics).collect(),
        })
    }
}

/// The topics of an assignment.
///
/// # Safety
/// The assignment is null, or belongs to an event that lives.
unsafe fn assigned(assignment: *const c::rd_kafka_MemberAssignment_t) -> Vec<String> {
    if assignment.is_null() {
        return Vec::new();
    }
    // SAFETY: the assignment lives, and so does its list.
    unsafe {
        let all = partitions(c::rd_kafka_MemberAssignment_partitions(assignment));
        all.into_iter().map(|place| place.topic).collect()
    }
}

/// The offsets in a result about one group.
///
/// # Safety
/// The group belongs to an event that lives.
unsafe fn offsets(
    group: *const c::rd_kafka_group_result_t,
) -> std::result::Result<Vec<Committed>, RDKafkaErrorCode> {
    // SAFETY: the group lives, and so does everything that it hands out.
    unsafe {
        let error = c::rd_kafka_group_result_error(group);
        if !error.is_null() {
            return Err(code_of(error));
        }
        let all = partitions(c::rd_kafka_group_result_partitions(group));
        Ok(all.into_iter().filter(|place| place.offset >= 0).collect())
    }
}

/// # Safety
/// The list is null, or belongs to an event that lives.
unsafe fn partitions(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<Committed> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list lives and has as many entries as it says.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let entry = |at| {
            let entry = &*(*list).elems.add(at);
            Committed {
                topic: text(entry.topic),
                partition: entry.partition,
                offset: entry.offset,
            }
        };
        (0..count).map(entry).collect()
    }
}

/// # Safety
/// The error lives.
unsafe fn code_of(error: *const c::rd_kafka_error_t) -> RDKafkaErrorCode {
    // SAFETY: the error lives.
    unsafe { c::rd_kafka_error_code(error) }.into()
}

/// # Safety
/// The text is null, or ends with a zero byte and lives.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it ends with a zero byte and lives.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

fn text_for_c(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| unsupported("a name holds a zero byte"))
}
