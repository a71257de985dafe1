//! The id of a topic: a topic that was deleted and made anew under its name has another.
//!
//! The client's safe interface does not tell it, its C interface does. This is the one module with
//! `unsafe` in it; every pointer is made, used and destroyed in one function.
#![expect(
    unsafe_code,
    reason = "the safe interface of the client has no topic ids"
)]

use std::ffi::CString;
use std::time::Duration;

use contraflow_core::error::Result;
use rdkafka::bindings as c;
use rdkafka::client::ClientContext;
use serde::{Deserialize, Serialize};

use super::client::{unreachable, unsupported};

/// The 128 bits of a topic's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TopicId(pub(super) [u8; 16]);

/// How long a broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks the cluster for the id of a topic that is there.
pub(super) fn ask<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    topic: &str,
) -> Result<TopicId> {
    let Ok(name) = CString::new(topic) else {
        return Err(unsupported("a topic's name holds a zero byte"));
    };
    let limit_ms = i32::try_from(ANSWER_MAX.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call. `names` and `name` live until the collection, which
    // copies them, is made. Queue, collection and event are ours and destroyed exactly once, in
    // the reverse order of their making, after the last use of what they own.
    unsafe {
        let mut names = [name.as_ptr()];
        let queue = c::rd_kafka_queue_new(client.native_ptr());
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        c::rd_kafka_DescribeTopics(client.native_ptr(), topics, std::ptr::null(), queue);
        let event = c::rd_kafka_queue_poll(queue, limit_ms);
        let id = if event.is_null() {
            None
        } else {
            read(c::rd_kafka_event_DescribeTopics_result(event))
        };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_TopicCollection_destroy(topics);
        c::rd_kafka_queue_destroy(queue);
        id.ok_or_else(|| unreachable(&format!("the id of topic `{topic}` was not told")))
    }
}

/// The id in a result about one topic.
///
/// # Safety
/// The result is null, or belongs to an event that lives.
unsafe fn read(result: *const c::rd_kafka_DescribeTopics_result_t) -> Option<TopicId> {
    if result.is_null() {
        return None;
    }
    // SAFETY: the result lives; the array it hands out has `count` entries and lives as long.
    unsafe {
        let mut count = 0;
        let found = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if found.is_null() || count != 1 {
            return None;
        }
        let uuid = c::rd_kafka_TopicDescription_topic_id(*found);
        if uuid.is_null() {
            return None;
        }
        let high = c::rd_kafka_Uuid_most_significant_bits(uuid).to_be_bytes();
        let low = c::rd_kafka_Uuid_least_significant_bits(uuid).to_be_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high);
        id[8..].copy_from_slice(&low);
        (id != [0; 16]).then_some(TopicId(id))
    }
}
