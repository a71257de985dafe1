//! Topics on a real Kafka: the program on one side, producers and an auditor on the other that
//! share no code with it.

mod audit;
mod avro;
mod broker;
mod consumers;
mod foreign;
mod guards;
mod java;
mod kills;
mod late;
mod odd;
mod registry;
mod stage;
mod story;
mod zombies;
