//! Topics on a real Kafka: the program on one side, producers and an auditor on the other that
//! share no code with it.

mod access;
mod audit;
mod avro;
mod broker;
mod consumers;
mod guards;
mod kills;
mod registry;
mod stage;
mod story;
mod zombies;
