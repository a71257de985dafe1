//! Names of everything the change keeps in a file, and the one function that quotes.

use contraflow_core::end::Role;
use contraflow_core::record::PairId;

/// The bookkeeping tables of one side of one change.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    /// One row: gate, epoch, deadline, our own-write flag.
    pub(super) standing: String,
    /// Keys and operations of application writes.
    pub(super) journal: String,
    /// Checkpoints and fencing tokens.
    pub(super) lane: String,
    /// Ranges of the backfill that are done.
    pub(super) chunk: String,
    /// Rows that could not be carried.
    pub(super) letter: String,
    /// What rows could not hold.
    pub(super) complement: String,
    /// Key columns in the journal and the complement: as many as the widest key.
    pub(super) key_width: usize,
}

impl Names {
    pub(super) fn of(role: &Role) -> Names {
        let prefix = format!("_contraflow_{}_{}_", role.change, role.side);
        let quoted = |what: &str| quote(&format!("{prefix}{what}"));
        Names {
            standing: quoted("standing"),
            journal: quoted("journal"),
            lane: quoted("lane"),
            chunk: quoted("chunk"),
            letter: quoted("letter"),
            complement: quoted("complement"),
            key_width: role
                .tables
                .iter()
                .map(|t| t.shape.key.len())
                .max()
                .unwrap_or(1),
            prefix,
        }
    }

    /// The bookkeeping tables, all of them.
    pub(super) fn tables(&self) -> [&str; 6] {
        [
            &self.standing,
            &self.journal,
            &self.lane,
            &self.chunk,
            &self.letter,
            &self.complement,
        ]
    }

    /// The name of the trigger of a pair on an event.
    pub(super) fn trigger(&self, pair: PairId, on: &str) -> String {
        quote(&format!("{}{}_{on}", self.prefix, pair.0))
    }

    /// The pair that a trigger belongs to, when it is one of ours.
    pub(super) fn pair_of(&self, trigger: &str) -> Option<PairId> {
        let (pair, on) = trigger.strip_prefix(&self.prefix)?.split_once('_')?;
        let ours = matches!(
            on,
            "before_insert" | "before_update" | "insert" | "update" | "delete"
        );
        ours.then(|| pair.parse().ok().map(PairId)).flatten()
    }

    /// What every name of this side of this change starts with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The condition on what lies beside a row: the pair is bound first, then `width` key columns.
    pub(super) fn beside(&self, width: usize) -> String {
        let column = |i: usize| {
            if i < width {
                format!("k{i} = ?{}", i + 2)
            } else {
                format!("k{i} = 0")
            }
        };
        let columns: Vec<String> = (0..self.key_width).map(column).collect();
        format!("pair = ?1 and {}", columns.join(" and "))
    }

    /// `k0, k1, …` for a key of `width` columns, padded with zeros to the widest key.
    pub(super) fn key_columns(&self) -> String {
        let columns: Vec<String> = (0..self.key_width).map(|i| format!("k{i}")).collect();
        columns.join(", ")
    }
}

/// Quotes an identifier. The only place where a name becomes part of a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal, for trigger bodies, which cannot bind.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
