//! The full sweep, with `CONTRAFLOW_SOAK=1`: one life per point, hit and layout, in which that hit
//! kills the runner. The hits are counted in a life without a crash.

use std::collections::{BTreeMap, BTreeSet};

use contraflow_core::probe::Point;

use super::fixture::{Fixture, Plan, Writers};
use super::kills::ABORTING;
use super::process::Process;

/// Points whose later hits one life cannot promise, because it only has so many chunks, keys
/// carried again or takings down.
const ONCE: &[Point] = &[
    Point::CONTRACT_SIDE,
    Point::CONTRACT_AFTER,
    Point::RECARRY_READ,
];

const TWO_FILES: Plan = Plan {
    rows: 900,
    limits: "{ fence_max: 3s, rate_rows_per_s: 1000 }",
    ..Plan::PHONEBOOK
};
const LAYOUTS: [Plan; 3] = [
    TWO_FILES,
    Plan {
        same_file: true,
        premade: false,
        ..TWO_FILES
    },
    Plan {
        app: Plan::SHOP.app,
        rows: 300,
        ..TWO_FILES
    },
];

/// One life: copy, follow, cutover, rollback, cutover, contract, under load all the time. The
/// runner may be killed once on the way; what was asked for is done all the same.
struct Life<'f> {
    fixture: &'f Fixture,
    runner: Process,
    killed: bool,
}

impl<'f> Life<'f> {
    fn begin(fixture: &'f Fixture, settings: &[(&str, &str)]) -> Life<'f> {
        Life {
            fixture,
            runner: fixture.spawn(&["run"], settings),
            killed: false,
        }
    }

    /// Starts the runner again when it was killed.
    fn revive(&mut self) {
        if !self.runner.runs() {
            assert!(self.was_killed(), "ended: {}", self.runner.err());
            self.runner = self.fixture.run();
        }
    }

    /// Whether the runner, which has ended, was killed.
    fn was_killed(&mut self) -> bool {
        let code = self.runner.wait();
        assert!(matches!(code, None | Some(0)), "{}", self.runner.err());
        self.killed |= code.is_none();
        code.is_none()
    }

    fn reaches(&mut self, phase: &str) {
        let fixture = self.fixture;
        let reached = super::process::reached_in_time(|| {
            self.revive();
            fixture.status()["phase"] == phase
        });
        assert!(reached, "{phase}: {:#}", fixture.status());
    }

    fn asks(&mut self, args: &[&str]) {
        self.revive();
        self.fixture.must(args);
    }

    fn lives(&mut self, writers: &mut Writers<'_>) {
        self.reaches("follow");
        writers.work();
        for (verb, authority) in [("cutover", "new"), ("rollback", "old"), ("cutover", "new")] {
            self.asks(&[
                "repair",
                "--table",
                self.fixture.new_tables()[0],
                self.key(),
            ]);
            self.asks(&[verb]);
            self.revive();
            writers.work();
            writers.audited(authority);
        }
        self.asks(&["contract", "--yes"]);
        self.was_killed();
        writers.pause();
        self.fixture.audit_still("new");
    }

    fn key(&self) -> &'static str {
        if self.fixture.new_tables().len() == 1 {
            "5"
        } else {
            "5,1"
        }
    }
}

fn live(plan: Plan, settings: &[(&str, &str)]) -> bool {
    let fixture = Fixture::new(plan);
    let mut writers = fixture.writers();
    let mut life = Life::begin(&fixture, settings);
    life.lives(&mut writers);
    writers.finish();
    life.killed
}

/// How often a life hits each point.
fn hits(plan: Plan) -> BTreeMap<&'static str, u64> {
    let log = tempfile::NamedTempFile::new().expect("a log");
    let path = log.path().to_str().expect("a path").to_owned();
    live(plan, &[("CONTRAFLOW_CRASH_LOG", &path)]);
    let text = std::fs::read_to_string(&path).expect("the log");
    let mut hits = BTreeMap::new();
    for point in Point::ALL {
        let count = text.lines().filter(|line| *line == point.0).count();
        hits.insert(point.0, count as u64);
    }
    hits
}

#[test]
fn every_point_at_its_first_second_and_last_hit() {
    if std::env::var_os("CONTRAFLOW_SOAK").is_none() {
        return;
    }
    for plan in LAYOUTS {
        let hits = hits(plan);
        let other: BTreeSet<&str> = ABORTING.iter().map(|point| point.0).collect();
        for (point, count) in hits {
            if other.contains(point) {
                continue;
            }
            assert!(count > 0, "`{point}` is never hit");
            let once = ONCE.iter().any(|once| once.0 == point);
            assert!(once || count > 1, "`{point}` is hit once only");
            for hit in BTreeSet::from([1, 2.min(count), count]) {
                let at = format!("{point}:{hit}");
                let killed = live(plan, &[("CONTRAFLOW_CRASH_AT", &at)]);
                // How often a busy flow hits its points differs from life to life.
                assert!(killed || hit > 2, "{at} was not reached");
            }
        }
    }
}
