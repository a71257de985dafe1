//! Names of everything the change keeps in a database, and the one function that quotes.

use contraflow_core::digest;
use contraflow_core::end::Role;
use contraflow_core::record::PairId;

/// The schema of all bookkeeping, shared by the changes of a database.
pub(super) const SCHEMA: &str = "contraflow";

/// A table by schema and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) name: String,
}

impl TableName {
    /// Reads `name`, `schema.name` or either with quotes; the schema of a bare name is `public`.
    pub(super) fn parse(text: &str) -> TableName {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let count = parts.len();
            let part = parts.last_mut().expect("never empty");
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    part.push('"');
                }
                '"' => quoted = !quoted,
                '.' if !quoted && count == 1 => parts.push(String::new()),
                c => part.push(c),
            }
        }
        let name = parts.pop().expect("never empty");
        let schema = parts.pop().unwrap_or_else(|| "public".to_owned());
        TableName { schema, name }
    }

    /// The name as SQL.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// What belongs to one side of one change.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) change: String,
    pub(super) side: &'static str,
    /// The replication slot and the publication: one each, of the same name.
    pub(super) slot: String,
    apart: String,
}

impl Names {
    /// The names of a role in a database. Slots and origins belong to the whole server, and slots
    /// know no dashes: a digest keeps two databases and two changes apart.
    pub(super) fn of(role: &Role, database: &str) -> Names {
        let change = role.change.replace('-', "_");
        let apart = digest::name(format!("{}\n{database}", role.change).as_bytes());
        Names {
            change: role.change.clone(),
            side: role.side.name(),
            slot: format!("contraflow_{change}_{}_{}", role.side, &apart[..6]),
            apart: apart[..12].to_owned(),
        }
    }

    /// The trigger of a pair that refuses application writes. PostgreSQL cuts names at 63 bytes,
    /// and names that were cut may meet: the change is in it by its digest.
    pub(super) fn guard(&self, pair: PairId) -> String {
        format!("contraflow_{}_{}_{}_guard", self.apart, self.side, pair.0)
    }

    /// The trigger of a pair that lets what lies beside a row follow it.
    pub(super) fn beside(&self, pair: PairId) -> String {
        format!("contraflow_{}_{}_{}_beside", self.apart, self.side, pair.0)
    }

    /// A number for the advisory lock that is held while this side is fenced.
    pub(super) fn fence_lock(&self) -> i64 {
        let name = format!("contraflow fence {} {}", self.change, self.side);
        let digest = digest::name(name.as_bytes());
        i64::from_str_radix(&digest[..15], 16).expect("digests are hexadecimal")
    }

    /// The replication origin of our writes in a direction.
    pub(super) fn origin(&self, direction: &str) -> String {
        format!("contraflow {} {} {direction}", self.change, self.apart)
    }
}

/// Quotes an identifier. The only place where a name becomes part of a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal, for declarations, which cannot bind.
pub(super) fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        return format!("E'{}'", escaped.replace('\\', "\\\\"));
    }
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests;
