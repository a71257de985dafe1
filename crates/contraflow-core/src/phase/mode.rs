//! Modes: rows of a table that says what each of them can do.

use serde::{Deserialize, Serialize};

use crate::gate::Rule;

/// The kind of dataflow that a change moves. Modes are rows in a table, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Tables of databases.
    Tables,
    /// Topics of brokers.
    Topics,
    /// Routes of services.
    Services,
}

/// What a mode can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Where history comes from.
    pub history: History,
    /// Authority can move back.
    pub rolls_back: bool,
    /// How both ends are compared.
    pub compared: Compared,
    /// What becomes of a row that cannot be mapped.
    pub unmappable: Unmappable,
    /// The gates of a turn.
    pub turn: &'static [Rule],
    /// The gates of contract.
    pub contract: &'static [Rule],
}

/// Where history comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Ranges of keys are read while the feed is followed.
    Ranges,
    /// The feed begins with it.
    Feed,
    /// There is none.
    None,
}

/// How both ends are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// What stands under each key.
    ByKey,
    /// Everything that was ever written, in its order.
    InOrder,
}

/// What becomes of a row that cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmappable {
    /// It becomes a letter, and the flow goes on.
    Letter,
    /// Its partition stops: what follows must not overtake it.
    Stop,
}

impl Mode {
    /// The row of this mode.
    #[must_use]
    pub fn rules(self) -> Rules {
        match self {
            Mode::Tables => Rules {
                history: History::Ranges,
                rolls_back: true,
                compared: Compared::ByKey,
                unmappable: Unmappable::Letter,
                turn: &[
                    Rule::Letters,
                    Rule::Lag,
                    Rule::Laws,
                    Rule::Compare,
                    Rule::ForeignKeys,
                ],
                contract: &[
                    Rule::Letters,
                    Rule::Lag,
                    Rule::Compare,
                    Rule::ForeignKeys,
                    Rule::Users,
                ],
            },
            Mode::Topics => Rules {
                history: History::Feed,
                rolls_back: false,
                compared: Compared::InOrder,
                unmappable: Unmappable::Stop,
                turn: &[
                    Rule::Letters,
                    Rule::Lag,
                    Rule::Laws,
                    Rule::Keys,
                    Rule::Compare,
                    Rule::Writers,
                ],
                contract: &[Rule::Letters, Rule::Lag, Rule::Compare, Rule::Users],
            },
            Mode::Services => Rules {
                history: History::None,
                rolls_back: true,
                compared: Compared::ByKey,
                unmappable: Unmappable::Letter,
                turn: &[Rule::Laws],
                contract: &[Rule::Users],
            },
        }
    }
}
