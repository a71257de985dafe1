//! A broker that refuses a batch for a moment, and takes the next one.

use std::sync::Arc;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::change::secret::Secret;
use contraflow_core::end::{Role, Table};
use contraflow_core::log;
use contraflow_core::probe::Silent;
use contraflow_core::side::Side;
use contraflow_testkit::kafka::{self, Kafka as Server};
use contraflow_testkit::wire::{Fault, PRODUCE, Wire};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message;

use super::super::barrier::Reading;
use super::super::{Kafka, Payloads, clock};
use super::{Number, Outgoing, Producer};

const NEW: &str = "people-v2";
/// Each is a batch of its own.
const RECORD_BYTES: usize = 19_000;
const BATCH_BYTES: u64 = 20_000;

fn make(server: &Server, topic: &str) {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", server.servers());
    let admin: AdminClient<DefaultClientContext> = settings.create().expect("a client");
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let made = kafka::wait(admin.create_topics([&topic], &AdminOptions::new()));
    assert!(made.expect("an answer").iter().all(Result::is_ok));
}

/// The new topic, reached there.
fn context(servers: String) -> super::Context {
    let cluster = Cluster {
        servers: Secret::new(servers, "servers"),
        protocol: "PLAINTEXT",
        login: None,
        ca: None,
        identity: None,
    };
    let clock = Arc::new(clock::Real::start());
    let kafka = Kafka::new(&cluster, Payloads::default(), clock, Arc::new(Silent));
    kafka.context(&Arc::new(Role {
        change: "people".to_owned(),
        side: Side::New,
        tables: vec![Table {
            name: NEW.to_owned(),
            shape: log::shape(Vec::new()),
            native: Vec::new(),
            declared: Vec::new(),
            created: false,
        }],
    }))
}

/// What the client takes for written because the next batch was is not there: a topic that was just
/// made, or whose leader moves, refuses some batches and then takes the others.
#[test]
fn what_is_refused_for_a_moment_is_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let wire = Wire::listen();
    let told = format!("advertised.listeners=PLAINTEXT://{}", wire.servers());
    let server = Server::with(folder.path(), &[&told]);
    wire.leads_to(server.port());
    make(&server, NEW);
    let context = context(wire.servers());
    let producer = Producer::take_for(&context, "lane", BATCH_BYTES).expect("the id");
    wire.meets(PRODUCE, NEW, Fault::Garbled);
    producer.begin().expect("a transaction");
    let written: Vec<String> = (0..4).map(|number| format!("record {number}")).collect();
    for key in &written {
        let record = Outgoing {
            number: Number::OURS,
            topic: NEW,
            partition: 0,
            timestamp: None,
            key: Some(key.as_bytes()),
            payload: Some(&[7; RECORD_BYTES]),
            headers: None,
        };
        producer.send(record).expect("there is room");
    }
    producer.commit().expect("it is committed");
    assert!(wire.has_met(NEW));
    let mut found = Vec::new();
    let reading = Reading::whole(&context, NEW, &[0]).expect("an answer");
    let read = reading.expect("the topic").read(None, |message| {
        let key = message.key().expect("a key").to_vec();
        found.push(String::from_utf8(key).expect("text"));
    });
    read.expect("it can be read");
    assert_eq!(found, written);
}
