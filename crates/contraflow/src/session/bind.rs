//! From a checked change to one bound to its ends: shapes, roles, preflight.

use std::path::Path;
use std::sync::Arc;

use contraflow_core::change::history::Reach;
use contraflow_core::change::settings::Poison;
use contraflow_core::change::spec::History;
use contraflow_core::change::{Change, Connection, Pair as DeclaredPair};
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::{End, Inspected, Role, Table};
use contraflow_core::error::{Problem, Severity};
use contraflow_core::lease::Standing;
use contraflow_core::log;
use contraflow_core::mapping::{Mapping, OpSpec};
use contraflow_core::phase::Unmappable;
use contraflow_core::preflight::{self, Looked};
use contraflow_core::probe::Probe;
use contraflow_core::shape::Shape;
use contraflow_core::side::Side;
use contraflow_ends::kafka::{Kafka, Payloads};
use contraflow_ends::postgres::Postgres;
use contraflow_ends::sqlite::Sqlite;
use contraflow_engine::context::{Bound, Context, Keying, Limits, Pair};

use super::payloads;
use crate::surroundings::{SystemClock, probe};

/// The ends of a change without its pairs: nothing can be carried with it.
pub(super) fn ends(change: &Change) -> Context {
    let world = World::default();
    let tables = |side: Side| {
        let named = |pair: &DeclaredPair| Table {
            name: pair.table(side).to_owned(),
            shape: Shape {
                fields: Vec::new(),
                key: Vec::new(),
            },
            native: Vec::new(),
            declared: Vec::new(),
            created: false,
        };
        change.pairs().iter().map(named).collect()
    };
    let open = |side: Side| world.open(change, side, Payloads::default());
    let bound = |side: Side| bound(change, side, open(side), tables(side));
    let (old, new) = (bound(Side::Old), bound(Side::New));
    world.context(change, Vec::new(), old, new)
}

/// What was found while a change was bound.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    /// What was looked at, at each end that could be reached.
    pub(super) looked: Vec<(Side, Vec<Looked>)>,
}

/// The operations of a pair.
#[derive(Debug)]
pub(super) struct Ops {
    /// Of its rows, or of what its records hold.
    pub(super) row: Vec<OpSpec>,
    /// Of the keys of its records.
    pub(super) key: Vec<OpSpec>,
}

/// Binds a change: shapes, mappings, roles and preflight, all problems at once.
pub(super) fn bind(change: &Change, parsed: &[Ops], found: &mut Found) -> Option<Context> {
    let Found { problems, looked } = found;
    let world = World::default();
    let formats = payloads::both(change, &world.clock, problems);
    let [ours, theirs] = formats.clone();
    let old = world.open(change, Side::Old, ours);
    let new = world.open(change, Side::New, theirs);
    let readable = [(Side::Old, &old), (Side::New, &new)].map(|(side, end)| {
        let problem = unreadable(change, side, &**end);
        problems.extend(problem.iter().cloned());
        problem.is_none()
    });
    one_file(change, problems);
    if readable != [true, true] || problems.iter().any(|p| p.severity == Severity::Error) {
        return None;
    }
    let mut pairs = Vec::new();
    let mut tables = [Vec::new(), Vec::new()];
    for (declared, ops) in change.pairs().iter().zip(parsed) {
        let keys = payloads::keys(declared, &ops.key, &formats, problems);
        let found = bind_pair(declared, &ops.row, &*old, &*new, problems);
        let Some((mapping, ours, theirs, partitions)) = found else {
            continue;
        };
        let declared_key = declared.record_key.as_ref();
        let keying = partitions.map(|partitions| Keying {
            keys,
            partitioner: declared_key.and_then(|key| key.partitioner),
            partitions,
        });
        let history = match Reach::of(&declared.history, mapping.shape(Side::Old)) {
            Ok(history) => history,
            Err(problem) => {
                problems.push(problem.place(Some(declared.place)));
                continue;
            }
        };
        if let Reach::Since { .. } = history {
            problems.push(left_behind(declared));
        }
        tables[0].push(ours);
        tables[1].push(theirs);
        pairs.push(Pair {
            old: declared.old.clone(),
            new: declared.new.clone(),
            mapping,
            history,
            keying,
        });
    }
    let [old_tables, new_tables] = tables;
    let old = bound(change, Side::Old, old, old_tables);
    let new = bound(change, Side::New, new, new_tables);
    for bound in [&old, &new] {
        look_at(change, bound, looked, problems);
    }
    if pairs.len() != change.pairs().len() {
        return None;
    }
    let context = world.context(change, pairs, old, new);
    begun_with_another(&context, problems);
    Some(context)
}

/// What an end looks at, and what it finds in the way.
fn look_at(
    change: &Change,
    bound: &Bound,
    all: &mut Vec<(Side, Vec<Looked>)>,
    problems: &mut Vec<Problem>,
) {
    let side = bound.role.side;
    match bound.end.check(&bound.role) {
        Ok(mut found) => {
            for looked in &mut found {
                looked.problems.retain(|problem| stands(change, problem));
            }
            problems.extend(preflight::problems(&found));
            all.push((side, found));
        }
        Err(error) => problems.push(of(&error).at(side)),
    }
}

/// What `since` leaves behind exists at the old end only.
fn left_behind(declared: &DeclaredPair) -> Problem {
    let message = format!(
        "rows of `{}` from before the bound stay behind until they are written",
        declared.old
    );
    Problem::warning(Code::KEY_VALUES, message)
        .place(Some(declared.place))
        .hint("Their keys must not be given out again at the new end; contract drops them.")
}

/// Where somebody else brings history, the new table may hold it already.
fn stands(change: &Change, problem: &Problem) -> bool {
    let mut brought = change
        .pairs()
        .iter()
        .filter(|pair| pair.history == History::None)
        .map(|pair| format!("`{}`", pair.new));
    problem.code != Code::TARGET_NOT_EMPTY || !brought.any(|name| problem.message.contains(&name))
}

/// What every end is opened with.
struct World {
    clock: Arc<dyn Clock>,
    probe: Arc<dyn Probe>,
}

impl Default for World {
    fn default() -> World {
        World {
            clock: Arc::new(SystemClock::default()),
            probe: probe(),
        }
    }
}

impl World {
    fn open(&self, change: &Change, side: Side, payloads: Payloads) -> Arc<dyn End> {
        let (clock, probe) = (Arc::clone(&self.clock), Arc::clone(&self.probe));
        match change.connection(side) {
            Connection::Sqlite { path } => Arc::new(Sqlite::new(path.expose(), clock, probe)),
            Connection::Postgres { url } => Arc::new(Postgres::new(url.expose(), clock, probe)),
            Connection::Kafka(cluster) => Arc::new(Kafka::new(cluster, payloads, clock, probe)),
        }
    }

    fn context(self, change: &Change, pairs: Vec<Pair>, old: Bound, new: Bound) -> Context {
        let digest = |(declared, pair): (&DeclaredPair, &Pair)| {
            let (mapping, history) = (pair.mapping.digest(), &declared.history);
            let format = payloads::fingerprint(declared, pair);
            format!("{}>{}:{mapping}:{history:?}{format}", pair.old, pair.new)
        };
        let digests: Vec<String> = change.pairs().iter().zip(&pairs).map(digest).collect();
        Context {
            change: change.name().as_str().to_owned(),
            mode: change.mode(),
            unmappable: match change.poison() {
                Poison::Stop => change.mode().rules().unmappable,
                Poison::Park => Unmappable::Letter,
            },
            mapping: contraflow_core::digest::name(digests.join("\n").as_bytes()),
            limits: Limits {
                fence_max: change.limits().fence_max,
                lag_events_max: change.gates().lag_events_max,
                writers_quiet: change.gates().writers_quiet,
                readers_gone: change.gates().readers_gone,
                letters_max: change.limits().letters_max,
                copy_share_percent: change.limits().copy_share_percent,
                backfill_rows_per_s: change.limits().rate_rows_per_s,
            },
            pairs,
            consumers: change.consumers().to_vec(),
            old,
            new,
            clock: self.clock,
            probe: self.probe,
        }
    }
}

fn bound(change: &Change, side: Side, end: Arc<dyn End>, tables: Vec<Table>) -> Bound {
    let change = change.name().as_str().to_owned();
    Bound {
        end,
        role: Arc::new(Role {
            change,
            side,
            tables,
        }),
    }
}

/// An end that cannot be read at all is one problem, not one per pair.
fn unreadable(change: &Change, side: Side, end: &dyn End) -> Option<Problem> {
    if let Connection::Sqlite { path } = change.connection(side)
        && side == Side::Old
        && !path.expose().exists()
    {
        let message = format!("there is no file `{}`", path.expose().display());
        let hint = "Correct `old` in the change file: the old side is never created.";
        let problem = Problem::error(Code::END_UNREACHABLE, message).at(side);
        return Some(problem.hint(hint));
    }
    // A name that no table of the application has: only the end itself is looked at.
    let error = end.inspect("_contraflow_nothing", &[]).err()?;
    // What may not be seen is named table by table.
    if error.code == Code::RIGHTS_MISSING {
        return None;
    }
    let why = error.detail.clone().unwrap_or_else(|| error.to_string());
    let why = why.trim_end_matches('.');
    let message = format!("the {side} end `{}` cannot be read: {why}", end.address());
    let problem = Problem::error(error.code, message).at(side);
    let hint = error
        .hint
        .as_deref()
        .unwrap_or("Name a database that can be read, or restore this one.");
    Some(problem.hint(hint))
}

/// A restored end must not take the ledger back with it, and must not be written as one.
pub(super) fn ledger_apart(change: &Change, problems: &mut Vec<Problem>) {
    for side in Side::BOTH {
        if file(change, side).is_some_and(|path| is_one_file(path, change.ledger())) {
            let message = format!("the ledger is the file of the {side} end");
            let problem = Problem::error(Code::VALUE_INVALID, message).at(side);
            problems.push(problem.hint("Give the ledger a file of its own."));
        }
    }
}

/// The file of a side that is one.
fn file(change: &Change, side: Side) -> Option<&Path> {
    match change.connection(side) {
        Connection::Sqlite { path } => Some(path.expose().as_path()),
        Connection::Postgres { .. } | Connection::Kafka(_) => None,
    }
}

/// Two names may be one file.
fn one_file(change: &Change, problems: &mut Vec<Problem>) {
    let (Some(old), Some(new)) = (file(change, Side::Old), file(change, Side::New)) else {
        return;
    };
    if !is_one_file(old, new) {
        return;
    }
    let linked = std::fs::canonicalize(old).ok() != std::fs::canonicalize(new).ok();
    let pairs = change.pairs();
    for pair in pairs {
        let name = &pair.new;
        if pairs
            .iter()
            .any(|other| other.old.eq_ignore_ascii_case(name))
        {
            let message =
                format!("`{name}` is both an old and a new table: both ends are one file");
            let problem = Problem::error(Code::SAME_TABLE, message).place(Some(pair.place));
            problems.push(problem.hint("Name another file, or another table for the new side."));
        } else if linked {
            let message = "both ends are hard links of one file";
            let problem = Problem::error(Code::END_SETTING, message).place(Some(pair.place));
            problems.push(problem.hint(
                "SQLite keeps a log per name and would damage the file: name it alike in both.",
            ));
        }
    }
}

/// Whether two paths lead to one file, through links of either kind.
fn is_one_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    let identity = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()))
    };
    #[cfg(not(unix))]
    let identity = |path: &Path| std::fs::canonicalize(path).ok();
    match (identity(a), identity(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// The mapping must be the one that the ends were expanded with.
fn begun_with_another(context: &Context, problems: &mut Vec<Problem>) {
    for side in Side::BOTH {
        // An end that cannot be asked has been reported by its preflight.
        let standing = context
            .side(side)
            .switch()
            .and_then(|mut end| end.standing());
        let differs = |found: &Standing| found.mapping != context.mapping;
        if standing.ok().flatten().is_some_and(|found| differs(&found)) {
            let message = "the change file differs from the one the change was started with";
            let hint = "Restore pairs, mapping, history, schemas; or `contraflow abort`, then run.";
            problems.push(Problem::error(Code::MAPPING_CHANGED, message).hint(hint));
            return;
        }
    }
}

fn bind_pair(
    declared: &DeclaredPair,
    ops: &[OpSpec],
    old: &dyn End,
    new: &dyn End,
    problems: &mut Vec<Problem>,
) -> Option<(Mapping, Table, Table, Option<usize>)> {
    let place = Some(declared.place);
    let mut inspect =
        |end: &dyn End, side: Side, key: &[String]| match end.inspect(declared.table(side), key) {
            Ok(found) => Some(found),
            Err(error) => {
                problems.push(of(&error).at(side).place(place));
                None
            }
        };
    let key_new = declared.key_new.as_ref();
    // Both, before either ends this: what is wrong is told all at once.
    let ours = inspect(old, Side::Old, &declared.key_old);
    let theirs = inspect(new, Side::New, key_new.unwrap_or(&declared.key_old));
    let (ours, theirs) = (ours?, theirs?);
    let thing = declared.thing();
    let Some(ours) = ours else {
        let message = format!("there is no {thing} `{}`", declared.old);
        let problem = Problem::error(Code::TABLE_MISSING, message)
            .at(Side::Old)
            .place(place);
        let hint = format!(
            "Correct `old` or where it lies: {} has none.",
            old.address()
        );
        problems.push(problem.hint(hint));
        return None;
    };
    logs_fit(declared, (old, &ours), (new, theirs.as_ref()), problems)?;
    let new_shape = theirs.as_ref().map(|found| &found.shape);
    let key_new = key_new.map(Vec::as_slice);
    // The key of a record is its envelope, which nobody declares.
    let key_old = match &declared.format {
        Some(_) => &ours.primary_key,
        None => &declared.key_old,
    };
    match Mapping::check(ops, &ours.shape, key_old, new_shape, key_new) {
        Ok((mapping, warnings)) => {
            problems.extend(warnings);
            if let Some(theirs) = &theirs {
                let (made, there) = (&mapping.shape(Side::New).fields, &theirs.shape.fields);
                let format = declared.format.as_ref();
                problems.extend(payloads::unheld(declared, format, made, there));
            }
            let tables = tables(declared, &mapping, &ours, theirs.as_ref(), old, new);
            let partitions = ours.log.as_ref().map(|log| log.partitions);
            Some((mapping, tables.0, tables.1, partitions))
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// Whether a new log is there and can hold what the old one holds; `None` when there is none.
fn logs_fit(
    declared: &DeclaredPair,
    (old, ours): (&dyn End, &Inspected),
    (new, theirs): (&dyn End, Option<&Inspected>),
    problems: &mut Vec<Problem>,
) -> Option<()> {
    let place = Some(declared.place);
    let Some(room) = &ours.log else {
        return Some(());
    };
    let Some((theirs, new_room)) = theirs.and_then(|it| Some((it, it.log.as_ref()?))) else {
        let command = new.creation(&declared.new, room)?;
        let message = format!("there is no {} `{}`", declared.thing(), declared.new);
        let problem = Problem::error(Code::TABLE_MISSING, message).at(Side::New);
        problems.push(problem.place(place).hint(command));
        return None;
    };
    let mut unfit = log::unfit((&declared.old, room), (&declared.new, new_room));
    if theirs.rows_estimated == 0 {
        match old.oldest_age_ms(&declared.old) {
            Ok(Some(age_ms)) => unfit.extend(log::too_old(age_ms, (&declared.new, new_room))),
            Ok(None) => {}
            Err(error) => unfit.push(of(&error)),
        }
    }
    problems.extend(unfit.into_iter().map(|problem| problem.place(place)));
    Some(())
}

/// The tables of a pair as their ends will carry them.
fn tables(
    declared: &DeclaredPair,
    mapping: &Mapping,
    ours: &Inspected,
    theirs: Option<&Inspected>,
    old: &dyn End,
    new: &dyn End,
) -> (Table, Table) {
    let alike = old.engine() == new.engine();
    let native = |side: Side| -> Vec<bool> {
        let fields = mapping.shape(side).fields.len();
        (0..fields)
            .map(|i| alike && mapping.passes_through(side, i))
            .collect()
    };
    let origin = |i: usize| match mapping.origins(i).as_slice() {
        [only] if alike && mapping.passes_through(Side::New, i) => {
            ours.declared.get(*only).cloned()
        }
        _ => None,
    };
    let new_shape = mapping.shape(Side::New);
    let table = |side: Side, declared_columns, created| Table {
        name: declared.table(side).to_owned(),
        shape: mapping.shape(side).clone(),
        native: native(side),
        declared: declared_columns,
        created,
    };
    (
        table(Side::Old, Vec::new(), false),
        table(
            Side::New,
            (0..new_shape.fields.len()).map(origin).collect(),
            theirs.is_none(),
        ),
    )
}

pub(super) fn of(error: &contraflow_core::error::Error) -> Problem {
    let problem = Problem::error(error.code, error.to_string());
    match error.hint.as_deref().or(error.detail.as_deref()) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
