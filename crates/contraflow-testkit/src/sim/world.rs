//! Two ends, an application, a process that carries and processes that were overtaken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contraflow_core::change::history::Reach;
use contraflow_core::end::{End, Role, Table};
use contraflow_core::error::{Error, Kind};
use contraflow_core::lease::{Epoch, Gate, Ownership, Standing, ownership};
use contraflow_core::mapping::Mapping;
use contraflow_core::phase::Mode;
use contraflow_core::probe::{Probe, Silent};
use contraflow_core::record::Key;
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_engine::context::{Bound, Context, Limits, Pair};
use contraflow_engine::flow::{Stepped, Totals};

use super::audit;
use super::ground::{Ground, Store};
use super::process::Process;
use super::schedule::{Schedule, Step};
use super::writer;
use crate::chance::Chance;
use crate::clock::SimClock;
use crate::mapping::{mapping, shape};
use crate::memory::Refused;
use crate::mutant::{Between, Lanes, Mutant, Watched};
use crate::trap::Trap;

/// The tables of both sides.
pub(super) const TABLES: [&str; 2] = ["people", "contacts"];

/// One operation of each kind that a complement is needed for, and one for none.
const OPERATIONS: &str = "- rename: {from: name, to: label}
- remove: {field: n, default: 0}
- add: {field: kind, type: text, default: x}
";

/// Steps after which a world that heals must have come to rest.
const SETTLE_STEPS: u64 = 400;
/// Overtaken processes that go on at once.
const ZOMBIES: usize = 2;

/// What exists outside of every process.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) stores: [Arc<dyn Store>; 2],
    pub(super) mapping: Mapping,
    roles: [Arc<Role>; 2],
    clock: Arc<SimClock>,
    /// The transaction that falls between the rows of the next read and what follows.
    between: Arc<Mutex<Option<u64>>>,
}

pub(super) struct World {
    outside: Outside,
    mutant: Option<Mutant>,
    process: Process,
    zombies: Vec<Process>,
    tally: Tally,
}

/// What a schedule got to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// What the flows did.
    pub flows: Totals,
    /// Turns that were sealed, both ways.
    pub seals: u64,
    /// Runs that were cut off.
    pub cuts: u64,
    /// Overtaken processes that were refused.
    pub fenced: u64,
}

/// What was wrong, in words.
type Wrong = String;

impl World {
    /// Plays a schedule to its end and audits.
    pub(super) fn play(
        ground: &dyn Ground,
        schedule: &Schedule,
        mutant: Option<Mutant>,
    ) -> Result<Tally, Wrong> {
        let mut world = World::new(ground, schedule, mutant)?;
        for step in &schedule.steps {
            world.step(*step)?;
        }
        world.settle()?;
        audit::mirror(&world.outside, &world.process)?;
        world.process.die();
        world.tally.flows = world.process.totals;
        Ok(world.tally)
    }

    fn new(
        ground: &dyn Ground,
        schedule: &Schedule,
        mutant: Option<Mutant>,
    ) -> Result<World, Wrong> {
        let outside = Outside::new(ground, schedule);
        let process = outside.process(mutant);
        for side in Side::BOTH {
            let gate = match side {
                Side::Old => Gate::Open,
                Side::New => Gate::Closed,
            };
            let standing = Standing {
                gate,
                epoch: Epoch::FIRST,
                ledger: "sim".to_owned(),
                mapping: outside.mapping.digest(),
            };
            let structure = process.context.side(side).structure();
            structure
                .and_then(|mut structure| structure.expand(&standing))
                .map_err(|error| error.to_string())?;
        }
        Ok(World {
            outside,
            mutant,
            process,
            zombies: Vec::new(),
            tally: Tally::default(),
        })
    }

    fn step(&mut self, step: Step) -> Result<(), Wrong> {
        match step {
            Step::Write(seed) => return self.outside.write(seed),
            Step::Stray(seed) => return self.outside.stray(seed),
            Step::Reveal(seed) => self.outside.reveal(seed),
            Step::Cut(passes) => self.process.trap.arm(passes),
            Step::Kill => self.process.die(),
            Step::Overtake => return self.overtake(),
            Step::Zombie(events_max) => return self.zombie(events_max),
            Step::Pass(ms) => self.outside.clock.advance(Duration::from_millis(ms)),
            Step::Flow(_)
            | Step::Receive
            | Step::Read(_)
            | Step::Offer
            | Step::Recarry(_)
            | Step::Turn
            | Step::Lift => return self.carry(step),
        }
        Ok(())
    }

    /// A step of the process; what cuts it off kills it.
    fn carry(&mut self, step: Step) -> Result<(), Wrong> {
        let (process, outside) = (&mut self.process, &self.outside);
        let done = process.start().and_then(|()| match step {
            Step::Flow(events_max) => process.step(events_max).map(|_| false),
            Step::Receive => process.receive().map(|()| false),
            Step::Read(seed) => {
                outside.next_between(seed);
                process.read(1 + seed % 4).map(|_| false)
            }
            Step::Offer => {
                process.offer();
                Ok(false)
            }
            Step::Recarry(seed) => {
                outside.next_between(seed);
                process.recarry(keys(seed)).map(|()| false)
            }
            Step::Turn => process.turn(),
            Step::Lift => process.lift().map(|()| false),
            _ => Ok(false),
        });
        outside.nothing_between();
        match done {
            // What was sealed is what the other side goes on with.
            Ok(true) => {
                self.tally.seals += 1;
                audit::sealed(outside, process)
            }
            Ok(false) => Ok(()),
            Err(error) => {
                self.tally.cuts += u64::from(error.kind == Kind::Transient);
                process.die();
                harmless(&error)
            }
        }
    }

    fn overtake(&mut self) -> Result<(), Wrong> {
        if self.process.flow.is_none() {
            return Ok(());
        }
        let mut next = self.outside.process(self.mutant);
        if let Err(error) = next.start() {
            self.process.die();
            return harmless(&error);
        }
        let mut old = std::mem::replace(&mut self.process, next);
        self.process.totals = std::mem::take(&mut old.totals);
        old.trap.disarm();
        if self.zombies.len() < ZOMBIES {
            self.zombies.push(old);
        }
        Ok(())
    }

    /// An overtaken process goes on. Nothing it does may reach an end.
    fn zombie(&mut self, events_max: u64) -> Result<(), Wrong> {
        let Some(mut zombie) = self.zombies.pop() else {
            return Ok(());
        };
        zombie.offer();
        let commits = |outside: &Outside| outside.stores.each_ref().map(|store| store.commits());
        let before = commits(&self.outside);
        let stepped = zombie.step(events_max);
        if commits(&self.outside) != before {
            return Err("an overtaken process wrote".to_owned());
        }
        match stepped {
            Ok(_) => self.zombies.push(zombie),
            Err(error) => self.tally.fenced += u64::from(error.kind == Kind::Fenced),
        }
        Ok(())
    }

    /// Everything heals: nothing is cut off any more, fences end, and the flow comes to rest.
    fn settle(&mut self) -> Result<(), Wrong> {
        self.process.trap.disarm();
        self.outside.clock.advance(Duration::from_secs(3_600));
        if let Err(error) = self.process.lift() {
            harmless(&error)?;
        }
        let mut calm = 0;
        for _ in 0..SETTLE_STEPS {
            let process = &mut self.process;
            let stepped = process.start().and_then(|()| {
                process.read(3)?;
                process.offer();
                process.step(1_000)
            });
            match stepped {
                Ok(Some(Stepped::Idle)) if process.is_calm() => calm += 1,
                Ok(_) => calm = 0,
                Err(error) => {
                    process.die();
                    harmless(&error)?;
                }
            }
            if calm == 2 {
                return Ok(());
            }
        }
        Err("the flow never comes to rest".to_owned())
    }
}

/// Whether a failure is one that a process survives by starting anew.
fn harmless(error: &Error) -> Result<(), Wrong> {
    match error.kind {
        Kind::Transient | Kind::Fenced => Ok(()),
        Kind::Config
        | Kind::Precondition
        | Kind::Data
        | Kind::Hold
        | Kind::Ambiguous
        | Kind::Internal => Err(format!("the flow stopped: {} {error}", error.code)),
    }
}

fn trap_of(trap: &Arc<Trap>) -> Arc<dyn Probe> {
    Arc::<Trap>::clone(trap)
}

fn keys(seed: u64) -> Vec<Key> {
    let mut chance = Chance::new(seed);
    let mut keys: Vec<Key> = Vec::new();
    for _ in 0..=chance.below(3) {
        let id = i64::try_from(chance.below(9)).unwrap_or(0);
        let key = Key(vec![Value::Int(id)]);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

impl Outside {
    fn new(ground: &dyn Ground, schedule: &Schedule) -> Outside {
        let old = shape("id int64, name text, tag text?, n int64", &["id"]);
        let mapping = mapping(OPERATIONS, &old, None);
        let clock = Arc::new(SimClock::default());
        let roles = Side::BOTH.map(|side| {
            let shape = mapping.shape(side).clone();
            let fields = shape.fields.len();
            Arc::new(Role {
                change: "sim".to_owned(),
                side,
                tables: vec![Table {
                    name: TABLES[place(side)].to_owned(),
                    shape,
                    native: vec![true; fields],
                    declared: vec![None; fields],
                    created: false,
                }],
            })
        });
        let stores =
            Side::BOTH.map(|side| ground.store(schedule, TABLES[place(side)], mapping.shape(side)));
        let outside = Outside {
            stores,
            mapping,
            roles,
            clock,
            between: Arc::default(),
        };
        for row in 0..schedule.history {
            let seed = schedule.seed.wrapping_add(row);
            let shape = outside.mapping.shape(Side::Old);
            // A row that conflicts with an earlier one is simply not there.
            let _refused = writer::transact(outside.stores[0].as_ref(), TABLES[0], shape, seed);
        }
        outside
    }

    /// Another process, with a trap of its own.
    fn process(&self, mutant: Option<Mutant>) -> Process {
        let trap = Arc::new(Trap::default());
        let watched = [0, 1].map(|side| {
            let end = self.stores[side].end(Arc::clone(&self.clock), trap_of(&trap));
            let store = Arc::clone(&self.stores[side]);
            let lanes: Lanes = Arc::new(move |lane, direction| store.lane(lane, direction));
            let outside = self.clone();
            let between: Between = Arc::new(move || outside.happen_between());
            Watched::new(end, mutant, lanes).between(between)
        });
        let bound = |side: usize| Bound {
            end: Arc::new(watched[side].clone()) as Arc<dyn End>,
            role: Arc::clone(&self.roles[side]),
        };
        let context = Context {
            change: "sim".to_owned(),
            mode: Mode::Tables,
            unmappable: Mode::Tables.rules().unmappable,
            consumers: Vec::new(),
            pairs: vec![Pair {
                old: TABLES[0].to_owned(),
                new: TABLES[1].to_owned(),
                mapping: self.mapping.clone(),
                history: Reach::All,
                keying: None,
            }],
            old: bound(0),
            new: bound(1),
            mapping: self.mapping.digest(),
            limits: Limits {
                fence_max: Duration::from_secs(1),
                lag_events_max: 1_000,
                writers_quiet: std::time::Duration::ZERO,
                readers_gone: std::time::Duration::ZERO,
                letters_max: 1_000,
                copy_share_percent: 100,
                backfill_rows_per_s: None,
            },
            clock: Arc::<SimClock>::clone(&self.clock),
            probe: trap_of(&trap),
        };
        Process::new(Arc::new(context), trap, watched)
    }

    /// Which side the application writes, if any.
    fn authority(&self) -> Option<Side> {
        let standing = |side: usize| {
            let end = self.stores[side].end(Arc::clone(&self.clock), Arc::new(Silent));
            let mut switch = end.switch(&self.roles[side])?;
            switch.standing().ok().flatten()
        };
        match ownership(standing(0).as_ref(), standing(1).as_ref()) {
            Ownership::Held { by, .. } => Some(by),
            _ => None,
        }
    }

    fn transact(&self, side: Side, seed: u64) -> Result<(), Refused> {
        let table = TABLES[place(side)];
        writer::transact(
            self.stores[place(side)].as_ref(),
            table,
            self.mapping.shape(side),
            seed,
        )
    }

    fn write(&self, seed: u64) -> Result<(), Wrong> {
        if let Some(side) = self.authority() {
            // Refused by the fence or by a constraint: nothing was written.
            let _refused = self.transact(side, seed);
        }
        Ok(())
    }

    /// A writer at the mirror changes nothing, whatever it writes.
    fn stray(&self, seed: u64) -> Result<(), Wrong> {
        let Some(side) = self.authority() else {
            return Ok(());
        };
        let mirror = place(side.other());
        let rows = || self.stores[mirror].rows(TABLES[mirror]);
        let before = rows();
        // A statement that meets no row is not refused, and writes nothing.
        let _refused = self.transact(side.other(), seed);
        if rows() != before {
            return Err("the mirror took a foreign write".to_owned());
        }
        Ok(())
    }

    fn reveal(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        for store in &self.stores {
            let pending = store.pending() as u64;
            if pending > 0 {
                store.reveal(usize::try_from(chance.below(pending)).unwrap_or(0));
            }
        }
    }

    fn next_between(&self, seed: u64) {
        // Not at every read.
        let seed = (!seed.is_multiple_of(3)).then_some(seed);
        *self.between.lock().unwrap_or_else(PoisonError::into_inner) = seed;
    }

    fn nothing_between(&self) {
        *self.between.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn happen_between(&self) {
        let mut next = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = next.take();
        drop(next);
        if let Some(seed) = seed {
            let _refused = self.write(seed);
        }
    }
}

pub(super) fn place(side: Side) -> usize {
    match side {
        Side::Old => 0,
        Side::New => 1,
    }
}
