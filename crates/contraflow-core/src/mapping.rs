//! What the old shape says, said in the new one, and back, without losing anything.
//!
//! A mapping is a list of operations, checked against both shapes and compiled to a plan over
//! numbered registers: no name is looked up while rows are carried. Every operation is given in
//! both directions. What a direction cannot write into the target row it notes in the
//! *complement* that lies beside that row, together with a seal of the image the note explains; the
//! opposite direction reads the note and restores what its target can hold again. A note explains
//! one operation's own fields, so an edit of one field never forgets the history of another.

mod check;
mod law;
mod laws;
mod memory;
mod ops;
mod program;
mod scope;
mod spec;

pub use law::Law;
pub use laws::{Case, Counterexample, LawReport, LawResult, Proof, check_laws};
pub use spec::{OpSpec, parse};

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::code::Code;
use crate::error::{Error, Kind, Place, Problem};
use crate::record::{Image, Key, Row};
use crate::shape::Shape;
use crate::side::{Direction, Side};

use memory::Notes;
use program::Program;

/// A checked and compiled mapping. Clones share the plan.
#[derive(Clone, Debug)]
pub struct Mapping {
    plan: Arc<Plan>,
}

/// One record that an image maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The key in the target's form.
    pub key: Key,
    /// The row in the target's shape, with the complement to lie beside it.
    pub image: Image,
}

/// Why a row could not be mapped. Names the field and what was expected, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct MapError {
    /// The number under which it is documented.
    pub code: Code,
    /// The field, from the row down.
    pub path: String,
    /// What was expected.
    pub reason: Cow<'static, str>,
}

impl MapError {
    pub(crate) fn unmappable(path: &str, reason: impl Into<Cow<'static, str>>) -> MapError {
        MapError {
            code: Code::VALUE_UNMAPPABLE,
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<MapError> for Error {
    fn from(error: MapError) -> Error {
        Error::new(Kind::Data, error.code, error.to_string())
    }
}

/// One operation of a checked mapping, for the plan that a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its word in the change file; `preserve` for fields that only one side has and that no
    /// operation names.
    pub name: &'static str,
    /// Where it stands in the change file; preserved fields stand nowhere.
    pub place: Option<Place>,
    /// What it promises.
    pub law: Law,
    /// What it does, in words.
    pub description: String,
    /// What a round trip loses, for [`Law::Opaque`] operations.
    pub loses: Option<String>,
}

struct Plan {
    shapes: [Shape; 2],
    program: Program,
    key: KeyPlan,
    derived: Vec<usize>,
    forgotten: Vec<usize>,
    operations: Vec<Operation>,
    digest: String,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.operations).finish()
    }
}

/// How keys alone are mapped: which registers they enter and leave by, and the steps between.
struct KeyPlan {
    registers: [Vec<usize>; 2],
    steps: Vec<usize>,
}

impl Mapping {
    /// Checks operations against both shapes. Without a new shape, the new table is created from
    /// the predicted one; without a new key, the new key is the old one's image.
    ///
    /// All problems are reported at once; warnings come along with the mapping.
    pub fn check(
        ops: &[OpSpec],
        old: &Shape,
        old_key: &[String],
        new: Option<&Shape>,
        new_key: Option<&[String]>,
    ) -> Result<(Mapping, Vec<Problem>), Vec<Problem>> {
        let ends = check::Ends {
            old,
            old_key,
            new,
            new_key,
        };
        check::check(ops, &ends).map(|(plan, warnings)| {
            let plan = Arc::new(plan);
            (Mapping { plan }, warnings)
        })
    }

    /// The shape by which rows of that side are positional. The new side has the declared table's
    /// column order and the types that the mapping gives them.
    #[must_use]
    pub fn shape(&self, side: Side) -> &Shape {
        &self.plan.shapes[index(side)]
    }

    /// Maps an image of the direction's source and appends the records it becomes.
    pub fn map(
        &self,
        direction: Direction,
        image: Image,
        out: &mut Vec<Mapped>,
    ) -> Result<(), MapError> {
        let plan = &*self.plan;
        let mut recalled = Notes::decode(&image.complement)?;
        let mut kept = Notes::default();
        let row = plan
            .program
            .run(direction, image.row.0, &mut recalled, &mut kept)?;
        let key = Key(self.shape(direction.target()).key_of(&row));
        let image = Image {
            row: Row(row),
            complement: kept.encode(),
        };
        out.push(Mapped { key, image });
        Ok(())
    }

    /// Maps a key alone, as deletes need it.
    pub fn key(&self, direction: Direction, key: &Key) -> Result<Key, MapError> {
        let plan = &*self.plan;
        let [from, to] =
            [direction.source(), direction.target()].map(|side| &plan.key.registers[index(side)]);
        if key.0.len() != from.len() {
            return Err(MapError::unmappable(
                "key",
                "the number of key fields differs",
            ));
        }
        if plan.key.steps.is_empty() {
            let place = |register| from.iter().position(|candidate| candidate == register);
            let values = to.iter().filter_map(place).map(|i| key.0[i].clone());
            return Ok(Key(values.collect()));
        }
        let mut registers = plan.program.registers();
        for (register, value) in from.iter().zip(&key.0) {
            registers[*register] = value.clone();
        }
        plan.program
            .run_only(direction, &plan.key.steps, &mut registers)?;
        let values = to.iter().map(|&register| registers[register].take());
        Ok(Key(values.collect()))
    }

    /// Whether a field is copied untouched, so that an end may carry it in its own form.
    #[must_use]
    pub fn passes_through(&self, side: Side, field: usize) -> bool {
        self.plan.program.untouched(side, field)
    }

    /// Whether a field is computed from others, so that what is written to it is not carried.
    #[must_use]
    pub fn is_derived(&self, side: Side, field: usize) -> bool {
        side == Side::New && self.plan.derived.contains(&field)
    }

    /// Whether a field is dropped on purpose, so that a round trip does not bring it back.
    #[must_use]
    pub fn is_forgotten(&self, side: Side, field: usize) -> bool {
        side == Side::Old && self.plan.forgotten.contains(&field)
    }

    /// The old fields that a new field is made from.
    #[must_use]
    pub fn origins(&self, new_field: usize) -> Vec<usize> {
        self.plan.program.origins(new_field)
    }

    /// The name of the operations as declared, whatever their layout in the file.
    #[must_use]
    pub fn digest(&self) -> String {
        self.plan.digest.clone()
    }

    /// What the mapping does, operation by operation, preserved fields last.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.plan.operations
    }

    /// What the mapping as a whole promises: the weakest of its operations.
    #[must_use]
    pub fn law(&self) -> Law {
        let laws = self.plan.operations.iter().map(|operation| operation.law);
        laws.max().unwrap_or(Law::Iso)
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Old => 0,
        Side::New => 1,
    }
}
