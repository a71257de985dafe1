//! Topics on a real Kafka: the program on one side, producers and an auditor on the other that
//! share no code with it.

mod access;
mod audit;
mod avro;
mod broker;
mod brokers;
mod compacted;
mod consumers;
mod cut;
mod example;
mod foreign;
mod guards;
mod headers;
mod input;
mod java;
mod keys;
mod kills;
mod late;
mod letters;
mod odd;
mod readers;
mod refused;
mod registry;
mod restored;
mod stage;
mod story;
mod verifiable;
mod zombies;
