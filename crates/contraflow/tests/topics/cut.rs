//! Commits whose question or answer does not come through the network: cut before the broker, cut
//! behind it, or so late that somebody else has the transactional id.

use std::sync::OnceLock;

use contraflow_core::probe::Point;
use contraflow_testkit::kafka::Kafka;
use contraflow_testkit::wire::{END_TXN, Fault, Wire};
use tempfile::TempDir;

use super::audit::holds;
use super::broker;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::until;

/// What a broker answers to a producer that was overtaken: its epoch, or itself, is no longer valid.
const OVERTAKEN: [i16; 2] = [47, 90];

/// A broker that is reached through a network only.
fn wired() -> &'static Wire {
    static WIRED: OnceLock<(TempDir, Wire, Kafka)> = OnceLock::new();
    let (_, wire, _) = WIRED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let wire = Wire::listen();
        let told = format!("advertised.listeners=PLAINTEXT://{}", wire.servers());
        let kafka = Kafka::with(folder.path(), &[&told]);
        wire.leads_to(kafka.port());
        (folder, wire, kafka)
    });
    wire
}

fn stage() -> Stage {
    let stage = Stage::at(&wired().servers(), Kind::Raw);
    for topic in [&stage.old, &stage.new] {
        broker::make(&stage.servers, topic, 3, &[]);
    }
    stage.write(&stage.old, &stage.records(1..400, "old"));
    stage
}

/// Everything is on both topics, once: the change has flipped after 400.
fn is_whole(stage: &Stage) {
    stage.write(&stage.new, &stage.records(400..500, "new"));
    stage.verified();
    let of = |numbers: std::ops::Range<i64>| stage.records(numbers, "old");
    let on_old = [(of(1..400), false), (of(400..500), true)];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [(of(1..400), true), (of(400..500), false)];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
}

/// A commit of the lane meets a fault, and the run goes on by itself.
fn a_lane_goes_on(fault: Fault) {
    let stage = stage();
    let lane = format!("contraflow-{}-forward", stage.change);
    wired().meets(END_TXN, &lane, fault);
    let mut run = stage.start(&["run"], &[]);
    until("a commit meets the fault", || wired().has_met(&lane));
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    is_whole(&stage);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

#[test]
fn a_commit_that_is_cut_before_the_broker_loses_nothing() {
    a_lane_goes_on(Fault::CutBefore);
}

#[test]
fn a_commit_whose_answer_is_cut_doubles_nothing() {
    a_lane_goes_on(Fault::CutAfter);
}

/// The commit of a run that is gone arrives when another one has carried the same records.
#[test]
fn a_commit_that_comes_late_is_refused() {
    let stage = stage();
    let lane = format!("contraflow-{}-forward", stage.change);
    wired().meets(END_TXN, &lane, Fault::Late);
    let mut first = stage.start(&["run"], &[]);
    until("a commit is late", || wired().has_met(&lane));
    first.kill();
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    let answer = wired().release(&lane);
    assert!(OVERTAKEN.contains(&answer), "answered with {answer}");
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    is_whole(&stage);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Its last word was that nothing is behind. Nobody is fenced then for as long as it waits.
#[test]
fn a_lane_whose_commit_is_not_answered_keeps_the_gate_closed() {
    let stage = stage();
    let lane = format!("contraflow-{}-forward", stage.change);
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    stage.verified();
    wired().meets(END_TXN, &lane, Fault::Late);
    stage.write(&stage.old, &stage.records(400..450, "old"));
    until("a commit is late", || wired().has_met(&lane));
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["cutover"], 1, &["CF0402", "lag"]);
    assert_eq!(stage.status()["phase"], "follow");
    run.kill();
}

/// A turn that stands still before its flip, whose commit meets a fault then.
fn flips_with(fault: Fault) -> (Stage, crate::live::process::Process, String) {
    let stage = stage();
    let at = format!("{}:1", Point::SEAL_AFTER.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    stage.reaches("follow");
    stage.says(&["producer", "stopped"], 0, &[]);
    let asked = stage.start(&["cutover"], &[]);
    run.until_stopped();
    let coordinator = format!("contraflow-{}-control", stage.change);
    wired().meets(END_TXN, &coordinator, fault);
    run.signal("-CONT");
    until("the flip meets the fault", || wired().has_met(&coordinator));
    drop(asked);
    (stage, run, coordinator)
}

#[test]
fn a_flip_that_is_cut_before_the_broker_is_made() {
    let (stage, mut run, _) = flips_with(Fault::CutBefore);
    stage.reaches("reverse");
    is_whole(&stage);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

#[test]
fn a_flip_whose_answer_is_cut_is_made_once() {
    let (stage, mut run, _) = flips_with(Fault::CutAfter);
    stage.reaches("reverse");
    is_whole(&stage);
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}

/// Its run is gone and the change has flipped since: the way back is not sent to its start again.
#[test]
fn a_flip_that_comes_late_is_refused() {
    let (stage, mut first, coordinator) = flips_with(Fault::Late);
    first.kill();
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("reverse");
    is_whole(&stage);
    let answer = wired().release(&coordinator);
    assert!(OVERTAKEN.contains(&answer), "answered with {answer}");
    stage.verified();
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
