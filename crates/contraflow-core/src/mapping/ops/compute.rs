//! Fields that are computed: `const` writes the same value into every row, `derive` computes one
//! from another field. What the new side's writers put there is not carried down.
//!
//! ```yaml
//! - const: {field: version, type: int32, value: 2}
//! - derive: {field: contact_count, from: contacts, as: count}
//! - derive: {field: search_name, from: name, as: copy}
//! ```

use std::sync::Arc;

use crate::code::Code;
use crate::mapping::ops::Operation;
use crate::mapping::program::{Planned, Step, Work};
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;
use crate::mapping::{Law, MapError};
use crate::shape::{Field, Type};
use crate::side::Direction;
use crate::value::Value;

#[derive(Debug)]
struct Const {
    field: Field,
    value: Value,
}

#[derive(Debug)]
struct Derive {
    field: String,
    from: String,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Count,
    Copy,
}

struct Compute {
    register: usize,
    source: Source,
}

enum Source {
    Value(Value),
    Count(usize),
    Copy(usize),
}

pub(super) fn read_const(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (name, ty) = (settings.text("field"), settings.ty("type"));
    let _ = settings.required("value");
    let value = settings.value("value", ty.as_ref().unwrap_or(&Type::Any))??;
    let nullable = value == Value::Null;
    let field = Field {
        name: name?,
        ty: ty?,
        nullable,
        has_default: false,
    };
    Some(Arc::new(Const { field, value }))
}

pub(super) fn read_derive(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (field, from) = (settings.text("field"), settings.text("from"));
    let how = match settings.text("as")?.as_str() {
        "count" => How::Count,
        "copy" => How::Copy,
        _ => {
            settings.invalid("`as` of `derive` must be `count` or `copy`");
            return None;
        }
    };
    Some(Arc::new(Derive {
        field: field?,
        from: from?,
        how,
    }))
}

impl Operation for Const {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let register = scope.give_derived(self.field.clone());
        let source = Source::Value(self.value.clone());
        let step = Compute { register, source };
        Some(Planned::new(Law::Derived, vec![], vec![register], step))
    }

    fn describe(&self) -> String {
        format!("writes the same value into every `{}`", self.field.name)
    }
}

impl Operation for Derive {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let from = scope.find(&self.from)?.clone();
        let (field, source) = match (self.how, &from.field.ty) {
            (How::Count, Type::List(_)) => {
                let field = Field::required(&self.field, Type::INT64);
                (field, Source::Count(from.register))
            }
            (How::Copy, _) => {
                let mut field = from.field.clone();
                field.name.clone_from(&self.field);
                (field, Source::Copy(from.register))
            }
            (How::Count, ty) => {
                let message = format!("cannot count the items of `{}`: {}", self.from, ty.name());
                scope.problem(Code::TYPE_MISMATCH, message, None);
                return None;
            }
        };
        let register = scope.give_derived(field);
        let step = Compute { register, source };
        Some(Planned::new(
            Law::Derived,
            vec![from.register],
            vec![register],
            step,
        ))
    }

    fn describe(&self) -> String {
        match self.how {
            How::Count => format!("counts `{}` into `{}`", self.from, self.field),
            How::Copy => format!("copies `{}` into `{}`", self.from, self.field),
        }
    }
}

impl Step for Compute {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        if direction == Direction::Reverse {
            return Ok(());
        }
        work.registers[self.register] = match &self.source {
            Source::Value(value) => value.clone(),
            Source::Copy(from) => work.registers[*from].clone(),
            Source::Count(from) => match &work.registers[*from] {
                Value::List(items) => Value::Int(items.len() as i64),
                _ => Value::Int(0),
            },
        };
        Ok(())
    }
}
