//! Operations on the fields of a record inside the row, or of every item of a list.
//!
//! ```yaml
//! - at:
//!     path: contacts[]        # or: address, or: orders[].lines[]
//!     do:
//!       - convert: {field: phoneNumber, to: int64, on_fail: letter}
//! ```
//!
//! Items that are bare values have one field, `value`. Notes are kept per item, with the seals of
//! all items beside them, so that an item that moves takes its notes along.

mod step;

use std::sync::Arc;

use crate::code::Code;
use crate::mapping::Law;
use crate::mapping::check::plan_all;
use crate::mapping::ops::Operation;
use crate::mapping::program::{Planned, Program};
use crate::mapping::scope::Scope;
use crate::mapping::spec::{self, OpSpec, Settings};
use crate::shape::{Field, Type};

use step::{Inside, Segment};

#[derive(Debug)]
struct At {
    path: String,
    ops: Vec<OpSpec>,
}

pub(super) fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let path = settings.text("path");
    let ops = settings.required("do");
    let ops = spec::parse(ops?, settings.problems());
    Some(Arc::new(At { path: path?, ops }))
}

impl Operation for At {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let mut names = self.path.split('.');
        let first = names.next().unwrap_or_default();
        let (name, lists) = brackets(first);
        let slot = scope.find(name)?;
        let (register, mut ty) = (slot.register, slot.field.ty.clone());
        slot.made = true;
        let mut segments = vec![Segment::Items; lists];
        let within = format!("{}.", scope.path(&self.path));
        let (law, program) = {
            let mut inner = Some(&mut ty);
            for _ in 0..lists {
                inner = inner.and_then(item);
            }
            for name in names {
                let (name, lists) = brackets(name);
                inner = inner.and_then(|ty| member(ty, name, &mut segments));
                for _ in 0..lists {
                    segments.push(Segment::Items);
                    inner = inner.and_then(item);
                }
            }
            let Some(inner) = inner else {
                let message = format!("there is no `{}`", scope.path(&self.path));
                let hint =
                    "Write `list[]` for the items of a list and `a.b` for a field of a record.";
                scope.problem(Code::FIELD_UNKNOWN, message, Some(hint.into()));
                return None;
            };
            plan_inside(&self.ops, inner, &within, scope.problems())?
        };
        scope.find(name)?.field.ty = ty;
        let step = Inside::new(register, segments, program, within);
        Some(Planned::new(law, vec![register], vec![register], step))
    }

    fn describe(&self) -> String {
        let inner: Vec<String> = self.ops.iter().map(|op| op.operation.describe()).collect();
        format!("at `{}`: {}", self.path, inner.join("; "))
    }

    fn loses(&self) -> Option<String> {
        let lost: Vec<String> = self
            .ops
            .iter()
            .filter_map(|op| op.operation.loses())
            .collect();
        (!lost.is_empty()).then(|| format!("at `{}`: {}", self.path, lost.join("; ")))
    }
}

/// Plans the operations over the fields of a record type, which becomes the one after them.
fn plan_inside(
    ops: &[OpSpec],
    ty: &mut Type,
    within: &str,
    problems: &mut Vec<crate::error::Problem>,
) -> Option<(Law, step::Content)> {
    let (fields, bare) = match &mut *ty {
        Type::Record(fields) => (std::mem::take(fields), false),
        bare => (vec![Field::nullable("value", bare.clone())], true),
    };
    let mut scope = Scope::new(&fields, within, problems);
    let planned = plan_all(ops, &mut scope)?;
    let (slots, registers) = scope.into_slots();
    let law = planned
        .iter()
        .map(|planned| planned.law)
        .max()
        .unwrap_or(Law::Iso);
    let places = [
        (0..fields.len()).collect(),
        slots.iter().map(|slot| slot.register).collect(),
    ];
    let program = Program::new(registers, places, planned);
    let after: Vec<Field> = slots.into_iter().map(|slot| slot.field).collect();
    let names = |fields: &[Field]| fields.iter().map(|field| field.name.clone()).collect();
    let content = step::Content {
        names: [names(&fields), names(&after)],
        bare,
        program,
    };
    *ty = match (bare, <[Field; 1]>::try_from(after)) {
        (true, Ok([only])) => only.ty,
        (true, Err(_)) => {
            let message = format!("items of `{within}` are bare values and have only `value`");
            problems.push(crate::error::Problem::error(
                Code::OPERATION_INVALID,
                message,
            ));
            return None;
        }
        (false, Ok([only])) => Type::Record(vec![only]),
        (false, Err(after)) => Type::Record(after),
    };
    Some((law, content))
}

/// The name of a segment, and how many `[]` follow it.
fn brackets(segment: &str) -> (&str, usize) {
    let name = segment.trim_end_matches("[]");
    (name, (segment.len() - name.len()) / 2)
}

fn item(ty: &mut Type) -> Option<&mut Type> {
    match ty {
        Type::List(item) => Some(item),
        _ => None,
    }
}

fn member<'t>(ty: &'t mut Type, name: &str, segments: &mut Vec<Segment>) -> Option<&'t mut Type> {
    let Type::Record(fields) = ty else {
        return None;
    };
    let at = fields.iter().position(|field| field.name == name)?;
    segments.push(Segment::Member(at));
    Some(&mut fields[at].ty)
}
