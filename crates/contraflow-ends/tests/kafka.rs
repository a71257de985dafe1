//! The Kafka driver against a broker that the project's script serves.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

mod broker;
mod lanes;

/// Makes a topic.
fn topic(name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", broker::shared().servers())
        .create()
        .expect("a client");
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new());
    let made = contraflow_testkit::kafka::wait(made);
    assert!(made.expect("an answer").iter().all(Result::is_ok));
}
