//! Fields become a record (`nest`), or a record becomes fields (`hoist`).
//!
//! ```yaml
//! - nest: {fields: [street, city], into: address}
//! - hoist: {from: address}
//! ```
//!
//! What the record holds beyond the fields, and whether it was null, is kept beside the row that
//! has the fields.

use std::sync::Arc;

use crate::code::Code;
use crate::mapping::memory::seal;
use crate::mapping::ops::fold::Fold;
use crate::mapping::ops::{Operation, blank};
use crate::mapping::program::{Planned, Step, Work};
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;
use crate::mapping::{Law, MapError};
use crate::shape::{Field, Type};
use crate::side::Direction;
use crate::value::Value;

#[derive(Debug)]
struct Nest {
    fields: Vec<String>,
    into: String,
}

#[derive(Debug)]
struct Hoist {
    from: String,
}

struct NestStep {
    fields: Vec<usize>,
    record: usize,
    fold: Fold,
    nests: Direction,
}

pub(super) fn read_nest(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (fields, into) = (settings.texts("fields"), settings.text("into"));
    Some(Arc::new(Nest {
        fields: fields?,
        into: into?,
    }))
}

pub(super) fn read_hoist(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let from = settings.text("from")?;
    Some(Arc::new(Hoist { from }))
}

impl Operation for Nest {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slots) = scope.take_all(&self.fields)?;
        let fields: Vec<Field> = slots.iter().map(|slot| slot.field.clone()).collect();
        let registers: Vec<usize> = slots.iter().map(|slot| slot.register).collect();
        let fold = fold(&fields, scope.path(&self.into));
        let record = scope.give(at, Field::required(&self.into, Type::Record(fields)));
        let step = NestStep {
            fields: registers.clone(),
            record,
            fold,
            nests: Direction::Forward,
        };
        Some(Planned::new(Law::Restorable, registers, vec![record], step))
    }

    fn describe(&self) -> String {
        format!(
            "puts `{}` into the record `{}`",
            self.fields.join("`, `"),
            self.into
        )
    }
}

impl Operation for Hoist {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slot) = scope.take(&self.from)?;
        let path = scope.path(&self.from);
        let Type::Record(mut fields) = slot.field.ty else {
            let message = format!("`{path}` is no record but {}", slot.field.ty.name());
            scope.problem(Code::TYPE_MISMATCH, message, None);
            return None;
        };
        for field in &mut fields {
            field.nullable |= slot.field.nullable;
        }
        let fold = fold(&fields, path);
        let place = |(i, field)| scope.give(at + i, field);
        let registers: Vec<usize> = fields.into_iter().enumerate().map(place).collect();
        let step = NestStep {
            fields: registers.clone(),
            record: slot.register,
            fold,
            nests: Direction::Reverse,
        };
        Some(Planned::new(
            Law::Restorable,
            vec![slot.register],
            registers,
            step,
        ))
    }

    fn describe(&self) -> String {
        format!(
            "makes the fields of the record `{}` fields of the row",
            self.from
        )
    }
}

fn fold(fields: &[Field], path: String) -> Fold {
    Fold {
        blanks: fields.iter().map(blank).collect(),
        bare: false,
        path,
    }
}

impl Step for NestStep {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        if direction == self.nests {
            let fields = work.take(&self.fields);
            let recalled = work.recall().map(<[Value; 2]>::try_from);
            work.registers[self.record] = match recalled {
                Some(Ok([was, sealed])) if seal(&fields) == sealed => was,
                Some(Ok([was, _])) => self.fold.edited(fields, was),
                Some(Err(_)) | None => self.fold.item(fields),
            };
            return Ok(());
        }
        let (fields, whole) = self.fold.fields(work.registers[self.record].take())?;
        if let Some(whole) = whole {
            work.keep(vec![whole, seal(&fields)]);
        }
        work.put(&self.fields, fields);
        Ok(())
    }
}
