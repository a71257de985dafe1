//! Runs that are killed, at every point and in every phase, and a broker that is.

use contraflow_core::probe::Point;
use contraflow_testkit::kafka::Kafka;

use super::audit::holds;
use super::broker;
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::{Process, reached_in_time};

/// A life in which the run is started again whenever it was killed.
struct Life {
    stage: Stage,
    run: Process,
    killed: u32,
}

impl Life {
    fn begin(stage: Stage, settings: &[(&str, &str)]) -> Life {
        let run = stage.start(&["run"], settings);
        Life {
            stage,
            run,
            killed: 0,
        }
    }

    fn revive(&mut self) {
        if self.run.runs() {
            return;
        }
        match self.run.wait() {
            None => self.killed += 1,
            // A verb that found nobody running was there first, and does the work itself.
            code => assert!(
                self.run.err().contains("CF0306"),
                "{code:?}: {}",
                self.run.err()
            ),
        }
        self.run = self.stage.start(&["run"], &[]);
    }

    fn reaches(&mut self, phase: &str) {
        let reached = reached_in_time(|| {
            self.revive();
            self.stage.status()["phase"] == phase
        });
        assert!(reached, "{phase}: {:#}", self.stage.status());
    }

    /// Asks until it is granted: a turn whose run was killed is asked for again.
    fn asks(&mut self, args: &[&str]) {
        let mut said = String::new();
        let granted = reached_in_time(|| {
            self.revive();
            if args[0] == "cutover" {
                // A turn that failed makes void what was said of the producers.
                self.stage.start(&["producer", "stopped"], &[]).wait();
            }
            let mut asked = self.stage.start(args, &[]);
            let code = asked.wait();
            said = asked.err();
            // The run may have been killed after the step that was asked for.
            code == Some(0) || said.contains("the new side has authority already")
        });
        assert!(granted, "{args:?}: {said}");
    }

    fn lives(&mut self) {
        let stage = &self.stage;
        stage.write(&stage.old, &stage.records(1..400, "old"));
        self.reaches("follow");
        let stage = &self.stage;
        stage.write(&stage.old, &stage.records(400..600, "old"));
        self.asks(&["producer", "stopped"]);
        self.asks(&["cutover"]);
        self.reaches("reverse");
        let stage = &self.stage;
        stage.write(&stage.new, &stage.records(600..800, "new"));
        self.asks(&["verify"]);
        let of = |numbers: std::ops::Range<i64>| self.stage.records(numbers, "old");
        let on_old = [(of(1..600), false), (of(600..800), true)];
        let on_new = [(of(1..600), true), (of(600..800), false)];
        holds(&self.stage.servers, &self.stage.old, &on_old, PARTITIONS);
        holds(&self.stage.servers, &self.stage.new, &on_new, PARTITIONS);
    }
}

/// The points that a change of topics passes before its contract, and how often it is killed there.
const POINTS: [(Point, &[u32]); 17] = [
    (Point::EXPAND_BEFORE, &[1, 2]),
    (Point::EXPAND_AFTER, &[1, 2]),
    (Point::LEASE_CLAIMED, &[1, 2]),
    (Point::COMMIT_AFTER, &[1, 3]),
    (Point::FEED_RECEIVED, &[1, 3]),
    (Point::BATCH_APPLY_MID, &[1, 2]),
    (Point::COMMIT_BEFORE, &[1, 3]),
    (Point::BATCH_APPLIED, &[1, 3]),
    (Point::CONFIRMED, &[1]),
    (Point::TURN_JUDGED, &[1]),
    (Point::FENCE_BEFORE, &[1]),
    (Point::FENCE_AFTER, &[1]),
    (Point::DRAINED, &[1]),
    (Point::COMPARED, &[1]),
    (Point::SEAL_BEFORE, &[1]),
    (Point::SEAL_AFTER, &[1]),
    (Point::FLIP_AFTER, &[1]),
];

/// All of them take minutes: by default every third point, at its first hit.
fn is_killed(points: &[(Point, &[u32])]) {
    let whole = std::env::var_os("CONTRAFLOW_SOAK").is_some();
    for (point, hits) in points.iter().step_by(if whole { 1 } else { 3 }) {
        for hit in hits.iter().take(if whole { hits.len() } else { 1 }) {
            let at = format!("{}:{hit}", point.0);
            let mut life = Life::begin(Stage::new(Kind::Raw), &[("CONTRAFLOW_CRASH_AT", &at)]);
            life.lives();
            assert_eq!(life.killed, 1, "{at}");
        }
    }
}

#[test]
fn a_run_is_killed_while_it_begins_and_carries() {
    is_killed(&POINTS[..9]);
}

#[test]
fn a_run_is_killed_in_a_turn() {
    is_killed(&POINTS[9..]);
}

/// The broker is lost while records are carried, and after the flip.
#[test]
fn a_run_outlives_its_broker() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut kafka = Kafka::start(folder.path());
    let stage = Stage::at(&kafka.servers(), Kind::Raw);
    for topic in [&stage.old, &stage.new] {
        broker::make(&stage.servers, topic, 3, &[]);
    }
    let mut life = Life::begin(stage, &[]);
    let write = |life: &Life, topic: &str, numbers: std::ops::Range<i64>| {
        life.stage.write(topic, &life.stage.records(numbers, "old"));
    };
    let [old, new] = [life.stage.old.clone(), life.stage.new.clone()];
    write(&life, &old, 1..2_000);
    life.reaches("follow");
    write(&life, &old, 2_000..4_000);
    kafka.kill();
    kafka.start_again();
    write(&life, &old, 4_000..5_000);
    life.asks(&["producer", "stopped"]);
    life.asks(&["cutover"]);
    kafka.kill();
    kafka.start_again();
    write(&life, &new, 5_000..6_000);
    life.asks(&["verify"]);
    let of = |numbers: std::ops::Range<i64>| life.stage.records(numbers, "old");
    let on_old = [(of(1..5_000), false), (of(5_000..6_000), true)];
    let on_new = [(of(1..5_000), true), (of(5_000..6_000), false)];
    holds(&life.stage.servers, &old, &on_old, PARTITIONS);
    holds(&life.stage.servers, &new, &on_new, PARTITIONS);
    assert_eq!(life.killed, 0);
}
