//! Records as the client hands them out, many at once. By the binding each is an event of its own,
//! which is made, waited for and destroyed: more work than the record itself.
//!
//! The client's own words, statistics and failures, come on a queue of theirs, for whoever takes
//! many records is told nothing else.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedHeaders, Message, OwnedHeaders, Timestamp};

use crate::kafka::client::{Brief, is_passing};

/// Records that are taken at once at most: enough that taking them costs nothing, few enough that
/// huge ones are counted before more are taken.
const TAKEN_MAX: usize = 256;
/// Headers of a record at most: whether their keys are whole takes time by the square of them.
const HEADERS_MAX: usize = 10_000;

/// A consumer, by its queues.
pub(in crate::kafka) struct Intake {
    records: Queue,
    words: Queue,
    /// Goes after its queues.
    consumer: Brief,
}

/// A queue of a client.
struct Queue(NonNull<c::rd_kafka_queue_t>);

// SAFETY: a queue of the client has a lock of its own.
unsafe impl Send for Queue {}

impl Queue {
    /// # Safety
    /// The queue is of a client that outlives it, and counted for us.
    unsafe fn of(queue: *mut c::rd_kafka_queue_t) -> KafkaResult<Queue> {
        let none = || KafkaError::ClientCreation("the client has no such queue".to_owned());
        NonNull::new(queue).map(Queue).ok_or_else(none)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it was counted for us when it was asked for, and its client lives.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

impl Intake {
    /// Of a consumer that nobody else polls.
    pub(in crate::kafka) fn of(consumer: Brief) -> KafkaResult<Intake> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client goes after its queues, by the order of the fields. That words do not
        // come among the records any more changes nothing else.
        unsafe {
            let records = Queue::of(c::rd_kafka_queue_get_consumer(client))?;
            let words = Queue::of(c::rd_kafka_queue_get_main(client))?;
            c::rd_kafka_queue_forward(words.0.as_ptr(), ptr::null_mut());
            Ok(Intake {
                records,
                words,
                consumer,
            })
        }
    }

    /// What to assign partitions to.
    pub(in crate::kafka) fn consumer(&self) -> &BaseConsumer {
        &self.consumer
    }

    /// Hands the statistics that came to `hear`.
    pub(in crate::kafka) fn listen(&self, mut hear: impl FnMut(&[u8])) -> KafkaResult<()> {
        loop {
            // SAFETY: the event is ours until it is destroyed, once; what it holds is not kept.
            let failed = unsafe {
                let event = c::rd_kafka_queue_poll(self.words.0.as_ptr(), 0);
                if event.is_null() {
                    return Ok(());
                }
                let code = match c::rd_kafka_event_type(event) {
                    c::RD_KAFKA_EVENT_STATS => {
                        hear(CStr::from_ptr(c::rd_kafka_event_stats(event)).to_bytes());
                        None
                    }
                    c::RD_KAFKA_EVENT_ERROR => Some(c::rd_kafka_event_error(event).into()),
                    // Lines of its log.
                    _ => None,
                };
                c::rd_kafka_event_destroy(event);
                code
            };
            if let Some(error) = failed.map(KafkaError::MessageConsumption)
                && !is_passing(&error)
            {
                return Err(error);
            }
        }
    }

    /// Records that are there, at most so many of them; if there is none, the first one that comes
    /// in so long.
    pub(in crate::kafka) fn take(
        &self,
        most: usize,
        wait: Duration,
    ) -> KafkaResult<Vec<Record<'_>>> {
        let there = self.take_within(most, Duration::ZERO)?;
        if !there.is_empty() || wait.is_zero() {
            return Ok(there);
        }
        self.take_within(most.min(1), wait)
    }

    fn take_within(&self, most: usize, wait: Duration) -> KafkaResult<Vec<Record<'_>>> {
        let mut taken = [ptr::null_mut(); TAKEN_MAX];
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has room for as many as are asked for, and the queue lives.
        let count = unsafe {
            let (queue, room) = (self.records.0.as_ptr(), most.min(TAKEN_MAX));
            c::rd_kafka_consume_batch_queue(queue, wait_ms, taken.as_mut_ptr(), room)
        };
        let taken = taken.iter().take(usize::try_from(count).unwrap_or(0));
        let records: Vec<Record<'_>> = taken
            .filter_map(|taken| NonNull::new(*taken))
            .map(Record::of)
            .collect();
        match records.iter().find_map(Record::failure) {
            Some(failure) => Err(failure),
            None => Ok(records),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // A client that goes throws away what is left of its words, and waits for ever for records
        // that nobody took, unless they are on one way with them.
        // SAFETY: both queues live.
        unsafe { c::rd_kafka_queue_forward(self.words.0.as_ptr(), self.records.0.as_ptr()) };
    }
}

/// One record, in the memory of the client.
pub(in crate::kafka) struct Record<'i> {
    message: NonNull<c::rd_kafka_message_t>,
    headers: Headers,
    /// The client has to live.
    client: PhantomData<&'i Intake>,
}

/// What the client makes of a record's headers.
enum Headers {
    None,
    /// They live as long as the record.
    There(NonNull<c::rd_kafka_headers_t>),
    /// They are too many for it.
    Unread,
}

/// One header of a record that lives. No client that we know writes a key that is not text, and no
/// broker refuses one.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Header<'m> {
    pub(in crate::kafka) key: &'m [u8],
    pub(in crate::kafka) value: Option<&'m [u8]>,
}

impl Record<'_> {
    /// A message that was taken: it is ours.
    fn of(message: NonNull<c::rd_kafka_message_t>) -> Self {
        use c::rd_kafka_resp_err_t as Said;
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives as long as this. What it says of its headers is theirs, or
        // nothing.
        let said = unsafe { c::rd_kafka_message_headers(message.as_ptr(), &raw mut headers) };
        let headers = match (said, NonNull::new(headers)) {
            (Said::RD_KAFKA_RESP_ERR_NO_ERROR, Some(headers)) => Headers::There(headers),
            (Said::RD_KAFKA_RESP_ERR__NOENT, _) => Headers::None,
            _ => Headers::Unread,
        };
        Record {
            message,
            headers,
            client: PhantomData,
        }
    }

    /// Whether the headers are told as they are. The client ends a key at its first zero byte.
    pub(in crate::kafka) fn has_whole_headers(&self) -> bool {
        match &self.headers {
            Headers::None => true,
            Headers::There(_) => self.headers().is_some_and(are_whole),
            Headers::Unread => false,
        }
    }

    fn message(&self) -> &c::rd_kafka_message_t {
        // SAFETY: it is ours until this is dropped.
        unsafe { self.message.as_ref() }
    }

    /// Failures come among the records.
    fn failure(&self) -> Option<KafkaError> {
        let code = self.message().err;
        let fine = matches!(code, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        (!fine).then(|| KafkaError::MessageConsumption(code.into()))
    }

    fn bytes(&self, start: *mut std::ffi::c_void, count: usize) -> Option<&[u8]> {
        // SAFETY: the client says how many bytes lie there; they live as long as the message.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), count) })
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        // SAFETY: it was taken once, and nothing of it is left.
        unsafe { c::rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}

impl Message for Record<'_> {
    type Headers = BorrowedHeaders;

    fn key(&self) -> Option<&[u8]> {
        self.bytes(self.message().key, self.message().key_len)
    }

    fn payload(&self) -> Option<&[u8]> {
        self.bytes(self.message().payload, self.message().len)
    }

    unsafe fn payload_mut(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn topic(&self) -> &str {
        // SAFETY: the message keeps its topic, whose name ends with a zero byte.
        let name = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(self.message().rkt)) };
        name.to_str().expect("names of topics are ASCII")
    }

    fn partition(&self) -> i32 {
        self.message().partition
    }

    fn offset(&self) -> i64 {
        self.message().offset
    }

    fn timestamp(&self) -> Timestamp {
        use c::rd_kafka_timestamp_type_t as Of;
        let mut of = Of::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives.
        let ms = unsafe { c::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut of) };
        match of {
            _ if ms == -1 => Timestamp::NotAvailable,
            Of::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::NotAvailable,
            Of::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::CreateTime(ms),
            Of::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Timestamp::LogAppendTime(ms),
        }
    }

    fn headers(&self) -> Option<&BorrowedHeaders> {
        match &self.headers {
            // SAFETY: they live as long as the message. The binding's type stands for them.
            Headers::There(headers) => Some(unsafe { headers.cast().as_ref() }),
            Headers::None | Headers::Unread => None,
        }
    }
}

/// The headers of a record, each with the bytes of its key: by the binding one that is no text is
/// the end of the process.
pub(in crate::kafka) fn headers(
    of: &BorrowedHeaders,
) -> impl DoubleEndedIterator<Item = Header<'_>> + ExactSizeIterator {
    // SAFETY: the record that hands them out lives.
    let count = unsafe { c::rd_kafka_header_cnt(native(of)) };
    (0..count).map(|at| {
        let (mut key, mut value, mut count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: there is such a header. Its key ends with a zero byte and its value, if any, has
        // as many bytes as is said; both live as long as the record.
        unsafe {
            let (key_at, value_at) = (&raw mut key, &raw mut value);
            c::rd_kafka_header_get_all(native(of), at, key_at, value_at, &raw mut count);
            let bytes = |value: *const u8| std::slice::from_raw_parts(value, count);
            Header {
                key: CStr::from_ptr(key).to_bytes(),
                value: (!value.is_null()).then(|| bytes(value.cast())),
            }
        }
    })
}

/// Adds a header behind the others.
pub(in crate::kafka) fn add(to: &mut OwnedHeaders, Header { key, value }: Header<'_>) {
    let bytes = value.map_or(ptr::null(), <[u8]>::as_ptr);
    let count = |bytes: &[u8]| isize::try_from(bytes.len()).expect("it lies in memory");
    // SAFETY: they are ours alone, and the client copies so many bytes of each.
    unsafe {
        let (to, key_at) = (native(to.as_borrowed()), key.as_ptr().cast());
        let value_bytes = value.map_or(0, count);
        c::rd_kafka_header_add(to, key_at, count(key), bytes.cast(), value_bytes);
    }
}

/// Whether each key is as long as the client tells: only then it finds by what it tells as many
/// headers as have that key.
fn are_whole(of: &BorrowedHeaders) -> bool {
    let keys: Vec<&[u8]> = headers(of).map(|header| header.key).collect();
    let (mut value, mut count) = (ptr::null(), 0);
    keys.len() <= HEADERS_MAX
        && keys.iter().enumerate().all(|(at, key)| {
            let before = keys[..at].iter().filter(|other| *other == key).count();
            // SAFETY: the record lives, and with it the key, which ends with a zero byte.
            let found = unsafe {
                let (key, value_at) = (key.as_ptr().cast(), &raw mut value);
                c::rd_kafka_header_get(native(of), before, key, value_at, &raw mut count)
            };
            matches!(found, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
        })
}

/// Headers as the client has them: the binding's type is their address.
fn native(headers: &BorrowedHeaders) -> *mut c::rd_kafka_headers_t {
    ptr::from_ref(headers).cast_mut().cast()
}
