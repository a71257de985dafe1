//! A broker that leads no longer and has not heard of it: it is cut off from the controller, clients
//! still reach it, and it shows what it knew.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::change::secret::Secret;
use contraflow_core::clock::Clock as _;
use contraflow_core::end::{End, Progress, Role, Table};
use contraflow_core::lease::{Epoch, Gate, LaneId, Standing};
use contraflow_core::log::{self, Envelope, Place};
use contraflow_core::probe::Silent;
use contraflow_core::record::{Change, PairId, Record};
use contraflow_core::side::{Direction, Side};
use contraflow_engine::tasks::Stop;
use contraflow_testkit::kafka::{self, Kafka as Server};
use contraflow_testkit::wire::Wire;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::super::broker::{Broker, Topic};
use super::super::control::{self, Checkpoint};
use super::super::names::Names;
use super::super::place::{self, TopicPlace};
use super::super::producer::Producer;
use super::super::{Context, Kafka, Payloads, clock};
use super::{Barrier, Reading};

const LIMIT: Duration = Duration::from_secs(60);
/// As long as this somebody must not believe what is old.
const MISLED: Duration = Duration::from_secs(2);
const LANE: LaneId = LaneId(0);
const OLD: &str = "people-v1";
const NEW: &str = "people-v2";
/// How soon who is silent counts as gone.
const BOTH: [&str; 2] = [
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=500",
];

/// Two brokers, the second of which reaches the controller through a network.
struct Two {
    second: Server,
    first: Server,
    controller: Wire,
    _folders: [TempDir; 2],
}

impl Two {
    fn start() -> Two {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let controller = Wire::listen();
        let first = Server::reached_at(folders[0].path(), &controller.servers(), &BOTH);
        controller.leads_to(first.port() + 1);
        // What is known of transactions and groups lies on the first one, made while it is alone.
        make(&first, OLD, &[1], 1);
        let group: BaseConsumer = settings(&first)
            .set("group.id", "first")
            .create()
            .expect("a consumer");
        let mut offsets = TopicPartitionList::new();
        let added = offsets.add_partition_offset(OLD, 0, Offset::Offset(0));
        added.expect("a place");
        until("there are transactions", || {
            Producer::tried(&cluster(&first), "first", &group, &offsets).is_ok()
        });
        let voter = format!("controller.quorum.voters=1@{}", controller.servers());
        let second = first.second(folders[1].path(), &[BOTH.as_slice(), &[&voter]].concat());
        Two {
            second,
            first,
            controller,
            _folders: folders,
        }
    }

    /// Waits until this broker leads all of a topic, as the first one knows.
    fn until_led(&self, topic: &str, by: i32) {
        until("it leads", || {
            let asker: BaseConsumer = settings(&self.first).create().expect("a client");
            let metadata = asker.fetch_metadata(Some(topic), LIMIT).expect("an answer");
            let partitions = metadata.topics()[0].partitions();
            let is_led = !partitions.is_empty();
            is_led && partitions.iter().all(|partition| partition.leader() == by)
        });
    }

    /// Records of the old topic, which the first one leads all the time.
    fn write(&self, count: usize) {
        let producer: BaseProducer = settings(&self.first).create().expect("a producer");
        for _ in 0..count {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(OLD).key("k").partition(0);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("room");
        }
        producer.flush(LIMIT).expect("it is written");
    }

    /// Topics as an end, whose questions go to one broker, and all else to the first.
    fn end(&self, asked: &Server) -> Kafka {
        let clock = Arc::new(clock::Real::start());
        let kafka = Kafka::new(
            &cluster(&self.first),
            Payloads::default(),
            clock,
            Arc::new(Silent),
        );
        Kafka {
            broker: Arc::new(Broker::new(&Arc::new(cluster(asked)))),
            ..kafka
        }
    }
}

/// Waits for a condition.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let (clock, stop) = (clock::Real::start(), Stop::default());
    while !reached() {
        assert!(clock.elapsed() < LIMIT, "waited too long: {what}");
        assert!(!stop.wait(Duration::from_millis(50)));
    }
}

fn make(server: &Server, topic: &str, on: &[i32], partitions: usize) {
    let admin: AdminClient<DefaultClientContext> = settings(server).create().expect("a client");
    let count = i32::try_from(partitions).expect("few");
    let on = vec![on; partitions];
    let topic = NewTopic::new(topic, count, TopicReplication::Variable(&on));
    let made = kafka::wait(admin.create_topics([&topic], &AdminOptions::new()));
    assert!(made.expect("an answer").iter().all(Result::is_ok));
}

fn settings(server: &Server) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", server.servers());
    settings
}

fn cluster(server: &Server) -> Cluster {
    Cluster {
        servers: Secret::new(server.servers(), "servers"),
        protocol: "PLAINTEXT",
        login: None,
        ca: None,
        identity: None,
    }
}

fn role(side: Side, topic: &str) -> Arc<Role> {
    let table = Table {
        name: topic.to_owned(),
        shape: log::shape(Vec::new()),
        native: Vec::new(),
        declared: Vec::new(),
        created: false,
    };
    Arc::new(Role {
        change: "people".to_owned(),
        side,
        tables: vec![table],
    })
}

fn deletion(offset: i64) -> Record {
    let envelope = Envelope {
        place: Place::new(0, Side::Old, offset),
        timestamp: 1_700_000_000_000,
        key: Some(b"k".into()),
        headers: Default::default(),
    };
    let key = envelope.into_key();
    Record {
        pair: PairId(0),
        source_key: key.clone(),
        key,
        change: Change::Delete,
    }
}

/// Claims the lane, carries these records, and says where it is then.
fn carries(end: &Kafka, offsets: std::ops::Range<i64>) -> Vec<TopicPlace> {
    let mut apply = end.apply(&role(Side::New, NEW)).expect("a face");
    let (mut lease, resume) = apply.claim(LANE, Direction::Forward).expect("the lane");
    let mut places = resume
        .position
        .and_then(|at| place::decode(&at))
        .expect("a place");
    assert_eq!(places[0].next, [offsets.start]);
    places[0].next = vec![offsets.end];
    let records: Vec<Record> = offsets.map(deletion).collect();
    let through = place::encode(&places);
    let seen = &through.clone();
    let progress = Progress::Advance {
        through: &through,
        seen,
    };
    apply
        .apply(&records, &[], &progress, &mut lease)
        .expect("it is carried");
    places
}

/// What was committed behind its back is read all the same, or nothing is believed.
#[test]
fn a_leader_that_was_deposed_is_not_believed() {
    let two = Two::start();
    let control = "__contraflow.people";
    make(&two.first, NEW, &[2, 1], 1);
    make(&two.first, control, &[2, 1], control::partitions());
    for topic in [NEW, control] {
        two.until_led(topic, 2);
    }
    let near = two.end(&two.first);
    for (side, topic, gate) in [(Side::New, NEW, Gate::Closed), (Side::Old, OLD, Gate::Open)] {
        let standing = Standing {
            gate,
            epoch: Epoch::FIRST,
            ledger: "ledger".to_owned(),
            mapping: "mapping".to_owned(),
        };
        let mut structure = near.structure(&role(side, topic)).expect("a face");
        structure.expand(&standing).expect("it is expanded");
    }
    two.write(5);
    carries(&near, 0..5);
    two.controller.cut();
    for topic in [NEW, control] {
        two.until_led(topic, 1);
    }
    two.write(5);
    let near = two.end(&two.first);
    let carried = carries(&near, 5..10);
    let near = near.context(&role(Side::New, NEW));
    let topic = near.broker.topic(control).expect("an answer");
    let partition = control::partition(LANE);
    let topic = topic.expect("a topic");
    // This is what it shows: without a barrier it would be believed. Whoever asks may hear of the
    // other broker first, and is not misled then.
    let mut misled = None;
    until("somebody is misled", || {
        let asking = two.end(&two.second).context(&role(Side::New, NEW));
        let is_it = noted(reading(&asking, &topic, partition), None)[0].next == [5];
        misled = is_it.then_some(asking);
        is_it
    });
    let misled = misled.expect("somebody");
    let id = near.names.lane(Direction::Forward, LANE);
    let producer = Producer::take(&near, &id).expect("the lane");
    let at = control::in_control(&near, &[partition]);
    let barrier = Barrier::commit(&producer, &near, at).expect("a barrier");
    thread::scope(|beside| {
        let noted = beside.spawn(|| noted(reading(&misled, &topic, partition), Some(&barrier)));
        assert!(!Stop::default().wait(MISLED));
        // It waits, or has heard of the other broker by itself.
        two.controller.mend();
        assert_eq!(noted.join().expect("it becomes visible"), carried);
    });
}

fn reading<'r>(context: &'r Context, topic: &Topic, partition: i32) -> Reading<'r> {
    Reading {
        context,
        topic: topic.clone(),
        open: vec![(partition, 0)],
    }
}

/// Where the lane goes on, by what can be read.
fn noted(reading: Reading<'_>, barrier: Option<&Barrier>) -> Vec<TopicPlace> {
    let key = Names::checkpoint(Direction::Forward, LANE);
    let mut found = None;
    let read = reading.read(barrier, |message| {
        if message.key() == Some(key.as_bytes()) {
            found = message.payload().map(<[u8]>::to_vec);
        }
    });
    read.expect("it can be read");
    let found: Checkpoint = serde_json::from_slice(&found.expect("a checkpoint")).expect("JSON");
    found.next
}
