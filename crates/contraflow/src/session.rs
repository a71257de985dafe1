//! A change file bound to its ends: what every verb but the first few starts from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use contraflow_core::change::spec::History;
use contraflow_core::change::{Change, Connection, Pair as DeclaredPair};
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::end::{End, Inspected, Role, Table};
use contraflow_core::error::{Problem, Severity};
use contraflow_core::mapping::{Mapping, OpSpec, parse};
use contraflow_core::phase::Mode;
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
        let bound = bind(&change, &parsed, &mut problems);
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

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.place, problem.code));
    problems
}

fn bind(change: &Change, parsed: &[Vec<OpSpec>], problems: &mut Vec<Problem>) -> Option<Context> {
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
        let Some((mapping, ours, theirs)) = bind_pair(declared, ops, &*old, &*new, problems) else {
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
    for bound in [&old, &new] {
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
