//! The static check of a whole mapping against both shapes, and its compilation.

mod key;
mod meet;

use crate::change::node::nearest;
use crate::code::Code;
use crate::digest;
use crate::error::{Problem, Severity};
use crate::mapping::program::{Planned, Program};
use crate::mapping::scope::{Scope, Slot};
use crate::mapping::spec::OpSpec;
use crate::mapping::{Law, Operation, Plan, ops};
use crate::shape::{Field, Shape};
use crate::side::Side;

/// What is known of both ends.
pub(super) struct Ends<'e> {
    pub(super) old: &'e Shape,
    pub(super) old_key: &'e [String],
    pub(super) new: Option<&'e Shape>,
    pub(super) new_key: Option<&'e [String]>,
}

/// Checks and compiles; on success the problems are warnings.
pub(super) fn check(ops: &[OpSpec], ends: &Ends<'_>) -> Result<(Plan, Vec<Problem>), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut scope = Scope::new(&ends.old.fields, "", &mut problems);
    let planned = plan_all(ops, &mut scope);
    let (slots, registers) = scope.into_slots();
    let Some(planned) = planned else {
        return Err(problems);
    };
    let mut draft = Draft {
        operations: ops
            .iter()
            .zip(&planned)
            .map(|(op, planned)| operation(op, planned))
            .collect(),
        planned,
        registers,
        recoded: Vec::new(),
    };
    let arranged = match ends.new {
        Some(new) => draft.arrange(slots, ends.old.fields.len(), new, &mut problems),
        None => slots,
    };
    let old_key = key::places(&ends.old.fields, ends.old_key, Side::Old, &mut problems);
    let images = key::images(&draft.planned, &old_key, &ends.old.fields, &mut problems);
    let (new_key, steps) = key::new_places(&arranged, ends.new_key, &images, &mut problems);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(problems);
    }
    let old = Shape {
        fields: ends.old.fields.clone(),
        key: old_key,
    };
    let plan = draft.finish(ops, old, arranged, new_key, steps);
    Ok((plan, problems))
}

/// Plans operations one after another. `None` when one of them could not be planned; its problems
/// are in the scope.
pub(super) fn plan_all(ops: &[OpSpec], scope: &mut Scope<'_>) -> Option<Vec<Planned>> {
    let before = scope.problems().len();
    let mut planned = Vec::with_capacity(ops.len());
    for op in ops {
        if !op.operation.simultaneous() {
            scope.settle();
        }
        scope.at(Some(op.place));
        planned.extend(op.operation.plan(scope).map(|planned| Planned {
            place: Some(op.place),
            ..planned
        }));
    }
    scope.settle();
    let clean = scope.problems()[before..]
        .iter()
        .all(|problem| problem.severity == Severity::Warning);
    (clean && planned.len() == ops.len()).then_some(planned)
}

fn operation(op: &OpSpec, planned: &Planned) -> Operation {
    Operation {
        name: op.name,
        place: Some(op.place),
        law: planned.law,
        description: op.operation.describe(),
        loses: op.operation.loses(),
    }
}

/// A mapping while it is put together.
struct Draft {
    planned: Vec<Planned>,
    operations: Vec<Operation>,
    registers: usize,
    /// Registers whose type differs between the two tables, so that ends must decode them.
    recoded: Vec<usize>,
}

impl Draft {
    /// Puts the predicted fields into the order of the declared table, and preserves on each side
    /// what only that side has.
    fn arrange(
        &mut self,
        mut slots: Vec<Slot>,
        old_fields: usize,
        new: &Shape,
        problems: &mut Vec<Problem>,
    ) -> Vec<Slot> {
        let mut arranged = Vec::with_capacity(new.fields.len());
        for field in &new.fields {
            let found = slots.iter().position(|slot| slot.field.name == field.name);
            let Some(at) = found else {
                arranged.push(self.preserve_new(field, problems));
                continue;
            };
            let mut slot = slots.remove(at);
            meet::meet(&slot.field, field, problems);
            if slot.field.ty != field.ty {
                self.recoded.push(slot.register);
            }
            slot.field.nullable = field.nullable;
            slot.field.has_default = field.has_default;
            arranged.push(slot);
        }
        for slot in slots {
            if slot.made || slot.register >= old_fields {
                let name = &slot.field.name;
                let message = format!("the mapping makes `{name}`, which the new table lacks");
                let names: Vec<&str> = new.fields.iter().map(|field| field.name.as_str()).collect();
                let hint = match nearest(name, &names) {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None => "Add the column to the new table, or take the operation out.".into(),
                };
                problems.push(
                    Problem::error(Code::FIELD_UNKNOWN, message)
                        .at(Side::New)
                        .hint(hint),
                );
            } else {
                self.preserve(&slot.field, slot.register, Side::Old, problems);
            }
        }
        arranged
    }

    fn preserve_new(&mut self, field: &Field, problems: &mut Vec<Problem>) -> Slot {
        let register = self.registers;
        self.registers += 1;
        self.preserve(field, register, Side::New, problems);
        Slot {
            field: field.clone(),
            register,
            made: false,
            rewritten: false,
            derived: false,
        }
    }

    fn preserve(
        &mut self,
        field: &Field,
        register: usize,
        side: Side,
        problems: &mut Vec<Problem>,
    ) {
        let name = &field.name;
        let Some(planned) = ops::preserve(field, register, side) else {
            let born = side.other();
            let message = format!("rows born on the {born} side have no value for `{name}`");
            let hint = match side {
                Side::Old => format!("Add `- remove: {{field: {name}, default: ...}}`."),
                Side::New => format!("Add `- add: {{field: {name}, ...}}` with a default."),
            };
            let problem = Problem::error(Code::FIELD_NOT_PRODUCED, message);
            problems.push(problem.at(side).hint(hint));
            return;
        };
        self.operations.push(Operation {
            name: "preserve",
            place: None,
            law: Law::Restorable,
            description: format!(
                "keeps `{name}` beside the {} row, which has no such field",
                side.other()
            ),
            loses: None,
        });
        self.planned.push(planned);
    }

    fn finish(
        self,
        ops: &[OpSpec],
        old: Shape,
        arranged: Vec<Slot>,
        new_key: Vec<usize>,
        steps: Vec<usize>,
    ) -> Plan {
        let canonical: Vec<&str> = ops.iter().map(|op| op.canonical.as_str()).collect();
        let registers_of = |places: &[usize], slots: &[usize]| -> Vec<usize> {
            places.iter().map(|&place| slots[place]).collect()
        };
        let fields: [Vec<usize>; 2] = [
            (0..old.fields.len()).collect(),
            arranged.iter().map(|slot| slot.register).collect(),
        ];
        let derived = (0..arranged.len())
            .filter(|&i| arranged[i].derived)
            .collect();
        let key = crate::mapping::KeyPlan {
            registers: [
                registers_of(&old.key, &fields[0]),
                registers_of(&new_key, &fields[1]),
            ],
            steps,
        };
        let new = Shape {
            fields: arranged.into_iter().map(|slot| slot.field).collect(),
            key: new_key,
        };
        let program = Program::new(self.registers, fields, self.planned).touching(&self.recoded);
        Plan {
            shapes: [old, new],
            key,
            derived,
            forgotten: program.opaque(),
            program,
            operations: self.operations,
            digest: digest::name(canonical.concat().as_bytes()),
        }
    }
}
