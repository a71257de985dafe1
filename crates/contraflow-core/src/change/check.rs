//! From a change as typed to one that can be carried.

use std::path::{Component, Path, PathBuf};

use super::cluster::Cluster;
use super::format::Format;
use super::secret::Secret;
use super::spec::{ChangeSpec, ConnectionSpec, Located, PairSpec};
use super::{Change, ChangeName, Connection, Pair};
use crate::code::Code;
use crate::error::{Place, Problem, Severity};
use crate::record::PairId;
use crate::side::Side;

/// Tables that belong to an engine or to us.
const RESERVED_PREFIXES: [&str; 2] = ["sqlite_", "_contraflow_"];

impl ChangeSpec {
    /// Checks the change and resolves its paths against `base`, the directory of the change file.
    /// This is the only way to a [`Change`].
    ///
    /// # Errors
    ///
    /// All problems, those of reading included, warnings too, in the order of the file.
    pub fn check(&self, base: &Path) -> Result<(Change, Vec<Problem>), Vec<Problem>> {
        let mut problems = self.problems.clone();
        let name = self
            .name
            .as_ref()
            .and_then(|name| named(name, &mut problems));
        let old = self
            .old
            .as_ref()
            .and_then(|end| connection(end, base, &mut problems));
        let new = self
            .new
            .as_ref()
            .and_then(|end| connection(end, base, &mut problems));
        let pairs = self.pairs.iter().enumerate();
        let pairs: Option<Vec<Pair>> = pairs.map(|spec| pair(spec, base)).collect();
        self.check_registry(&mut problems);
        let registry = self.registry.as_ref();
        let registry = registry.map(|spec| spec.value.clone().map(|file| resolve(base, &file)));
        self.check_tables(&mut problems);
        if let (Some(old), Some(new)) = (&old, &new) {
            self.check_apart(old, new, &mut problems);
        }
        let ledger = name
            .as_ref()
            .and_then(|name| self.ledger_file(name, base, &mut problems));
        for end in [&old, &new].into_iter().flatten() {
            self.check_ledger(end, ledger.as_ref(), &mut problems);
        }
        if let (Some(old), Some(new)) = (&old, &new) {
            self.check_kinds(old, new, &mut problems);
        }
        problems.sort_by_key(|problem| problem.place);
        let refused = problems.iter().any(|p| p.severity == Severity::Error);
        match (name, old, new, pairs, ledger) {
            (Some(name), Some(old), Some(new), Some(pairs), Some(ledger)) if !refused => {
                let consumers = self.consumers.clone();
                let gates = self.gates.clone();
                let limits = self.limits.clone();
                let change = Change {
                    name,
                    old,
                    new,
                    registry,
                    pairs,
                    poison: self.poison,
                    consumers,
                    gates,
                    limits,
                    ledger,
                };
                Ok((change, problems))
            }
            _ => Err(problems),
        }
    }

    /// A table belongs to one pair: two pairs that write one table would overwrite each other.
    fn check_tables(&self, problems: &mut Vec<Problem>) {
        for side in Side::BOTH {
            let mut seen: Vec<&str> = Vec::new();
            for table in self.pairs.iter().filter_map(|pair| table(pair, side)) {
                let name = table.value.as_str();
                if seen
                    .iter()
                    .any(|earlier| earlier.eq_ignore_ascii_case(name))
                {
                    let message = format!("table `{name}` is the {side} table of two pairs");
                    let problem = Problem::error(Code::NAME_DUPLICATE, message).at(side);
                    problems.push(problem.place(Some(table.place)));
                }
                let lower = name.to_ascii_lowercase();
                if RESERVED_PREFIXES
                    .iter()
                    .any(|prefix| lower.starts_with(prefix))
                {
                    let message = format!("table `{name}` is not one of the application");
                    let problem = Problem::error(Code::VALUE_INVALID, message).at(side);
                    problems.push(problem.place(Some(table.place)));
                }
                seen.push(name);
            }
        }
    }

    /// In one database no table may be both old and new, in the same pair or across pairs.
    fn check_apart(&self, old: &Connection, new: &Connection, problems: &mut Vec<Problem>) {
        if !same_place(old, new) {
            return;
        }
        for table in self.pairs.iter().filter_map(|pair| pair.new.as_ref()) {
            let name = table.value.as_str();
            let olds = self.pairs.iter().filter_map(|pair| pair.old.as_ref());
            if olds
                .into_iter()
                .any(|old| old.value.eq_ignore_ascii_case(name))
            {
                let message = format!("`{name}` of `{old}` is both an old and a new table");
                let hint = "Give the new table another name, or put it into another database.";
                let problem = Problem::error(Code::SAME_TABLE, message).hint(hint);
                problems.push(problem.place(Some(table.place)));
            }
        }
    }

    /// Topics go to topics, and one transaction reaches one cluster only.
    fn check_kinds(&self, old: &Connection, new: &Connection, problems: &mut Vec<Problem>) {
        let place = self.new.as_ref().map(|new| new.place);
        if old.mode() != new.mode() {
            let message = "one end has tables and the other topics";
            problems.push(Problem::error(Code::VALUE_INVALID, message).place(place));
        } else if matches!(old, Connection::Kafka(_)) && !same_place(old, new) {
            let message = "the topics are in two clusters: a transaction reaches one only";
            let hint = "Write the same `kafka` for `old` and `new`, and the same beside it.";
            let problem = Problem::error(Code::VALUE_INVALID, message).hint(hint);
            problems.push(problem.place(place));
        }
    }

    /// A registry is there for payloads that name their schema, and they cannot do without.
    fn check_registry(&self, problems: &mut Vec<Problem>) {
        let named = |pair: &&PairSpec| {
            let key = pair.record_key.as_ref().map(|key| &key.format);
            let mut formats = pair.format.iter().chain(key);
            formats.any(|format| matches!(format, Format::Avro { .. }))
        };
        match (&self.registry, self.pairs.iter().find(named)) {
            (None, Some(pair)) => {
                let message = "`registry` is missing: payloads of Avro need one";
                let hint = "Write `registry: {url: \"http://host:8081\"}` beside `old` and `new`.";
                let problem = Problem::error(Code::KEY_MISSING, message).hint(hint);
                problems.push(problem.place(Some(pair.place)));
            }
            (Some(registry), None) => {
                let message = "`registry` says nothing here: no payload is Avro";
                let problem = Problem::error(Code::VALUE_INVALID, message);
                problems.push(problem.place(Some(registry.place)));
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn ledger_file(
        &self,
        name: &ChangeName,
        base: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<Secret<PathBuf>> {
        match &self.ledger {
            Some(ledger) => database(&ledger.value, "`ledger`", ledger.place, base, problems),
            None => {
                let shown = format!(".contraflow/{name}.db");
                Some(Secret::new(resolve(base, &shown), shown))
            }
        }
    }

    /// A restored end must not take the ledger back with it.
    fn check_ledger(
        &self,
        end: &Connection,
        ledger: Option<&Secret<PathBuf>>,
        problems: &mut Vec<Problem>,
    ) {
        let Connection::Sqlite { path } = end else {
            return;
        };
        if ledger.is_some_and(|ledger| ledger.expose() == path.expose()) {
            let message = format!("the ledger cannot be `{end}`, an end of the change");
            let place = self.ledger.as_ref().map(|ledger| ledger.place);
            let hint = "Give the ledger a file of its own, or leave `ledger` out.";
            let problem = Problem::error(Code::VALUE_INVALID, message).hint(hint);
            problems.push(problem.place(place));
        }
    }
}

fn named(name: &Located<String>, problems: &mut Vec<Problem>) -> Option<ChangeName> {
    let checked = ChangeName::new(&name.value);
    if checked.is_none() {
        let most = ChangeName::BYTES_MAX;
        let message = format!("`{}` cannot be the name of a change", name.value);
        let hint = format!(
            "Start with a lowercase letter and use at most {most} of `a`-`z`, `0`-`9`, `-`, `_`."
        );
        let problem = Problem::error(Code::VALUE_INVALID, message).hint(hint);
        problems.push(problem.place(Some(name.place)));
    }
    checked
}

/// `None` only when reading has reported why.
fn pair((index, spec): (usize, &PairSpec), base: &Path) -> Option<Pair> {
    let names = |fields: &[Located<String>]| fields.iter().map(|f| f.value.clone()).collect();
    let format = spec.format.clone();
    let record_key = spec.record_key.clone();
    Some(Pair {
        id: PairId(u16::try_from(index).ok()?),
        old: spec.old.as_ref()?.value.clone(),
        new: spec.new.as_ref()?.value.clone(),
        key_old: names(&spec.key_old),
        key_new: spec.key_new.as_deref().map(names),
        format: format.map(|format| format.map(|file| resolve(base, &file))),
        record_key: record_key.map(|key| key.map(|file| resolve(base, &file))),
        history: spec.history.clone(),
        mapping: spec.mapping.clone(),
        place: spec.place,
    })
}

fn table(pair: &PairSpec, side: Side) -> Option<&Located<String>> {
    match side {
        Side::Old => pair.old.as_ref(),
        Side::New => pair.new.as_ref(),
    }
}

fn connection(
    end: &Located<ConnectionSpec>,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Connection> {
    match &end.value {
        ConnectionSpec::Sqlite { path } => {
            let path = database(path, "`sqlite`", end.place, base, problems)?;
            Some(Connection::Sqlite { path })
        }
        ConnectionSpec::Postgres { url } => {
            // Nothing that is shown may hold a password, however it was typed.
            let url = Secret::new(url.expose().clone(), "postgres");
            if url.expose().trim().is_empty() {
                let problem = Problem::error(Code::VALUE_INVALID, "`postgres` must be a URL")
                    .hint("Write `postgres: postgres://user@host/database`.");
                problems.push(problem.place(Some(end.place)));
                return None;
            }
            Some(Connection::Postgres { url })
        }
        ConnectionSpec::Kafka(cluster) => {
            if cluster.servers.expose().trim().is_empty() {
                let problem = Problem::error(Code::VALUE_INVALID, "`kafka` names no server")
                    .hint("Write `kafka: host:9092`, or several with commas between.");
                problems.push(problem.place(Some(end.place)));
                return None;
            }
            let cluster = Cluster::clone(cluster).map(|file| resolve(base, &file));
            Some(Connection::Kafka(Box::new(cluster)))
        }
    }
}

/// The path of a database file. What other processes cannot open is refused.
fn database(
    path: &Secret<String>,
    what: &str,
    place: Place,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Secret<PathBuf>> {
    let typed = path.expose().as_str();
    if typed.is_empty() || typed == ":memory:" || typed.starts_with("file:") || typed.contains('\0')
    {
        let message = format!("{what} must be the path of a file, found `{path}`");
        let hint = "URIs and in-memory databases cannot be shared with the application.";
        let problem = Problem::error(Code::VALUE_INVALID, message).hint(hint);
        problems.push(problem.place(Some(place)));
        return None;
    }
    Some(path.clone().map(|typed| resolve(base, &typed)))
}

fn same_place(old: &Connection, new: &Connection) -> bool {
    match (old, new) {
        (Connection::Sqlite { path: old }, Connection::Sqlite { path: new }) => {
            old.expose() == new.expose()
        }
        (Connection::Postgres { url: old }, Connection::Postgres { url: new }) => {
            old.expose() == new.expose()
        }
        (Connection::Kafka(old), Connection::Kafka(new)) => old == new,
        (Connection::Sqlite { .. } | Connection::Postgres { .. } | Connection::Kafka(_), _) => {
            false
        }
    }
}

/// Joins and removes `.` and `..` by their text; links are followed by whoever opens the file.
fn resolve(base: &Path, typed: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in base.join(typed).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(last(&resolved), Some(Component::Normal(_))) => {
                resolved.pop();
            }
            Component::ParentDir
            | Component::Prefix(_)
            | Component::RootDir
            | Component::Normal(_) => resolved.push(part),
        }
    }
    resolved
}

fn last(path: &Path) -> Option<Component<'_>> {
    path.components().next_back()
}

#[cfg(test)]
mod tests;
