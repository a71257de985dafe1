//! A change file bound to its ends: what every verb but the first few starts from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use contraflow_core::change::spec::History;
use contraflow_core::change::{Change, Connection, Pair as DeclaredPair};
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::{End, Inspected, Role, Table};
use contraflow_core::error::{Problem, Severity};
use contraflow_core::ledger::Ledger;
use contraflow_core::mapping::{Mapping, OpSpec, parse};
use contraflow_core::phase::{Mode, Phase};
use contraflow_core::side::Side;
use contraflow_ends::ledger::SqliteLedger;
use contraflow_ends::sqlite::Sqlite;
use contraflow_engine::context::{Bound, Context, Limits, Pair};
use contraflow_engine::runner::SharedLedger;

use crate::config::ChangeFile;
use crate::surroundings::{SystemClock, probe, random_name};

/// A change, bound and checked as far as can be without touching anything.
pub struct Session {
    /// The change at run time.
    pub context: Arc<Context>,
    /// Where the ledger lies.
    pub ledger_path: PathBuf,
    /// Things worth knowing that refuse nothing.
    pub warnings: Vec<Problem>,
}

impl Session {
    /// Binds a change file to its ends. All problems of the file, the mapping and the ends are
    /// reported at once.
    ///
    /// # Errors
    /// The problems, when at least one of them is an error.
    pub fn open(file: &ChangeFile) -> Result<Session, Vec<Problem>> {
        Session::bound(file, |_| None)
    }

    /// As [`Session::open`], for a change that may be on its way out: then a table that is gone
    /// is no problem but the point, and nothing stands in the way any more.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub fn carried(file: &ChangeFile) -> Result<Session, Vec<Problem>> {
        Session::bound(file, |change| {
            let path = change.ledger();
            if !path.exists() {
                return None;
            }
            // A ledger that cannot be read fails the verb when it uses it, with the reason.
            let saved = SqliteLedger::open(path, &random_name()).ok()?.load().ok()??;
            is_ending(saved.state.phase).then_some(saved.mapping)
        })
    }

    /// `ending` gives the mapping's digest of a change that is being taken down or was.
    fn bound(
        file: &ChangeFile,
        ending: impl FnOnce(&Change) -> Option<String>,
    ) -> Result<Session, Vec<Problem>> {
        let spec = file.spec();
        let mut problems = Vec::new();
        let parsed: Vec<Vec<OpSpec>> = spec
            .pairs
            .iter()
            .map(|pair| {
                pair.mapping
                    .as_ref()
                    .map_or_else(Vec::new, |n| parse(n, &mut problems))
            })
            .collect();
        let (change, mut warnings) = match spec.check(&file.base()) {
            Ok(checked) => checked,
            Err(more) => {
                problems.extend(more);
                return Err(sorted(problems));
            }
        };
        if !problems.is_empty() {
            problems.extend(warnings);
            return Err(sorted(problems));
        }
        let ending = ending(&change);
        let mut bound = bind(&change, &parsed, ending.is_some(), &mut problems);
        if let (Some(context), Some(mapping)) = (&mut bound, ending) {
            context.mapping = mapping;
        }
        let (errors, more): (Vec<_>, Vec<_>) = problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        warnings.extend(more);
        match bound {
            Some(context) if errors.is_empty() => {
                let ledger_path = change.ledger().to_owned();
                Ok(Session {
                    context: Arc::new(context),
                    ledger_path,
                    warnings: sorted(warnings),
                })
            }
            _ => Err(sorted(errors.into_iter().chain(warnings).collect())),
        }
    }

    /// Opens the ledger and makes it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn ledger(&self) -> contraflow_core::error::Result<SharedLedger> {
        let ledger = SqliteLedger::open(&self.ledger_path, &random_name())?;
        Ok(Arc::new(Mutex::new(Box::new(ledger))))
    }
}

/// True from the moment on at which an end is taken down, or what we made there.
fn is_ending(phase: Phase) -> bool {
    matches!(phase, Phase::Contract | Phase::Abort) || phase.is_over()
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.place, problem.code));
    problems
}

fn bind(
    change: &Change,
    parsed: &[Vec<OpSpec>],
    ending: bool,
    problems: &mut Vec<Problem>,
) -> Option<Context> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let probe = probe();
    let open = |side: Side| -> Arc<dyn End> {
        match change.connection(side) {
            Connection::Sqlite { path } => Arc::new(Sqlite::new(
                path.expose(),
                Arc::clone(&clock),
                Arc::clone(&probe),
            )),
        }
    };
    let (old, new) = (open(Side::Old), open(Side::New));
    let mut pairs = Vec::new();
    let mut tables = [Vec::new(), Vec::new()];
    for (declared, ops) in change.pairs().iter().zip(parsed) {
        let bound = match ending.then(|| bind_remains(declared, &*old, &*new)).flatten() {
            Some(bound) => Some(bound),
            None => bind_pair(declared, ops, &*old, &*new, problems),
        };
        let Some((mapping, ours, theirs)) = bound else {
            continue;
        };
        tables[0].push(ours);
        tables[1].push(theirs);
        pairs.push(Pair {
            old: declared.old.clone(),
            new: declared.new.clone(),
            mapping,
        });
    }
    if pairs.len() != change.pairs().len() {
        return None;
    }
    let [old_tables, new_tables] = tables;
    let role = |side, tables| {
        Arc::new(Role {
            change: change.name().as_str().to_owned(),
            side,
            tables,
        })
    };
    let old = Bound {
        end: old,
        role: role(Side::Old, old_tables),
    };
    let new = Bound {
        end: new,
        role: role(Side::New, new_tables),
    };
    for bound in [&old, &new].into_iter().filter(|_| !ending) {
        match bound.end.check(&bound.role) {
            Ok(found) => problems.extend(found),
            Err(error) => problems.push(of(&error).at(bound.role.side)),
        }
    }
    same_table(change, &old, &new, problems);
    let digests: Vec<String> = pairs
        .iter()
        .map(|pair| format!("{}>{}:{}", pair.old, pair.new, pair.mapping.digest()))
        .collect();
    Some(Context {
        change: change.name().as_str().to_owned(),
        mode: Mode::Tables,
        mapping: contraflow_core::digest::name(digests.join("\n").as_bytes()),
        copies_history: change
            .pairs()
            .iter()
            .all(|pair| matches!(pair.history, History::All)),
        limits: Limits {
            fence_max: change.limits().fence_max,
            lag_events_max: change.gates().lag_events_max,
            letters_max: change.limits().letters_max,
            backfill_rows_per_s: change.limits().rate_rows_per_s,
        },
        pairs,
        old,
        new,
        clock,
        probe,
    })
}

fn bind_pair(
    declared: &DeclaredPair,
    ops: &[OpSpec],
    old: &dyn End,
    new: &dyn End,
    problems: &mut Vec<Problem>,
) -> Option<(Mapping, Table, Table)> {
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
    let ours = inspect(old, Side::Old, &declared.key_old)?;
    let theirs = inspect(new, Side::New, key_new.unwrap_or(&declared.key_old))?;
    let Some(ours) = ours else {
        let message = format!("there is no table `{}`", declared.old);
        let problem = Problem::error(Code::TABLE_MISSING, message)
            .at(Side::Old)
            .place(place);
        problems.push(problem.hint(format!("Looked in {}.", old.address())));
        return None;
    };
    let new_shape = theirs.as_ref().map(|found| &found.shape);
    let key_new = key_new.map(Vec::as_slice);
    match Mapping::check(ops, &ours.shape, &declared.key_old, new_shape, key_new) {
        Ok((mapping, warnings)) => {
            problems.extend(warnings);
            let tables = tables(declared, &mapping, &ours, theirs.as_ref(), old, new);
            Some((mapping, tables.0, tables.1))
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// A pair whose old table is gone: names are all that is left to do something with, so it maps
/// the new table to itself.
fn bind_remains(
    declared: &DeclaredPair,
    old: &dyn End,
    new: &dyn End,
) -> Option<(Mapping, Table, Table)> {
    if old.inspect(&declared.old, &declared.key_old).ok()?.is_some() {
        return None;
    }
    let found = new.inspect(&declared.new, &[]).ok()??;
    let key = found.primary_key.clone();
    let found = new.inspect(&declared.new, &key).ok()??;
    let (mapping, _) = Mapping::check(&[], &found.shape, &key, None, None).ok()?;
    let tables = tables(declared, &mapping, &found, Some(&found), old, new);
    Some((mapping, tables.0, tables.1))
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

/// Old and new must be two tables: files may be named differently and still be one.
fn same_table(change: &Change, old: &Bound, new: &Bound, problems: &mut Vec<Problem>) {
    if old.end.address() != new.end.address() {
        return;
    }
    for pair in change.pairs() {
        if pair.old.eq_ignore_ascii_case(&pair.new) {
            let message = format!("`{}` is both the old and the new table of a pair", pair.old);
            problems.push(Problem::error(Code::SAME_TABLE, message).place(Some(pair.place)));
        }
    }
}

fn of(error: &contraflow_core::error::Error) -> Problem {
    let problem = Problem::error(error.code, error.to_string());
    match error.hint.as_deref().or(error.detail.as_deref()) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
