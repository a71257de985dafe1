//! Tables, and the bookkeeping beside them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Demands, Remove, Role, Step, Structure};
use contraflow_core::error::{Error, Kind, Problem, Result};
use contraflow_core::lease::Standing;
use contraflow_core::preflight::{Looked, Preflight};
use contraflow_core::probe::Point;
use contraflow_core::record::{Complement, PairId};

use super::Face;
use super::state::{Book, State};

pub(super) struct Tables(pub(super) Face);

pub(super) fn check(state: &State, role: &Role) -> Vec<Looked> {
    let mut preflight = Preflight::default();
    for table in &role.tables {
        let missing = !table.created && !state.tables.contains_key(&table.name);
        let problem = missing.then(|| {
            let message = format!("there is no table `{}`", table.name);
            Problem::error(Code::TABLE_MISSING, message)
        });
        preflight.note(format!("table {}", table.name), problem);
    }
    preflight.at(role.side)
}

impl Structure for Tables {
    fn statements(&self, _step: Step) -> Vec<String> {
        Vec::new()
    }

    fn demands(&self) -> Demands {
        Demands {
            declaring: "nothing",
            carrying: "nothing",
            fenced: "are refused",
            rights: "nothing",
        }
    }

    fn expand(&mut self, standing: &Standing) -> Result<()> {
        self.0.memory.probe.at(Point::EXPAND_BEFORE)?;
        let mut state = self.0.memory.lock();
        if let Some(book) = &state.book {
            if book.standing.ledger != standing.ledger {
                let message = "the end carries this change under another ledger";
                let kind = Kind::Precondition;
                return Err(Error::new(kind, Code::CARRIED_ELSEWHERE, message));
            }
        } else {
            for table in &self.0.role.tables {
                if table.created {
                    state.create(&table.name, &table.shape, Vec::new());
                } else if !state.tables.contains_key(&table.name) {
                    let message = format!("there is no table `{}`", table.name);
                    let kind = Kind::Precondition;
                    return Err(Error::new(kind, Code::TABLE_MISSING, message));
                }
            }
            state.book = Some(Book {
                tables: self.0.role.tables.iter().map(|t| t.name.clone()).collect(),
                standing: standing.clone(),
                fenced_until: Duration::ZERO,
                lanes: HashMap::new(),
                chunks: Vec::new(),
                letters: Vec::new(),
                letters_ever: 0,
                log: VecDeque::new(),
                head: 0,
                pruned: 0,
            });
        }
        drop(state);
        self.0.memory.probe.at(Point::EXPAND_AFTER)
    }

    fn remove(&mut self, tables: Remove) -> Result<()> {
        let mut state = self.0.memory.lock();
        while !state.pending.is_empty() {
            state.reveal(0);
        }
        state.book = None;
        for table in &self.0.role.tables {
            let gone = match tables {
                Remove::Bookkeeping => false,
                Remove::Created => table.created,
                Remove::Tables => true,
            };
            if gone {
                state.tables.remove(&table.name);
            } else if let Some(stored) = state.tables.get_mut(&table.name) {
                let images = stored.durable.values_mut();
                for image in images.chain(stored.visible.values_mut()) {
                    image.complement = Complement::default();
                }
            }
        }
        Ok(())
    }

    fn foreign_key_violations(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn count(&mut self, pair: PairId) -> Result<u64> {
        let state = self.0.memory.lock();
        let table = state.tables.get(&self.0.role.table(pair).name);
        Ok(table.map_or(0, |table| table.durable.len() as u64))
    }
}
