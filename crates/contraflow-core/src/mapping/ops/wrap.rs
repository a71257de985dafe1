//! A value becomes a list of one (`wrap`), or a list becomes its first item (`unwrap`).
//!
//! ```yaml
//! - wrap: {field: email, into: emails}     # `into` is optional: the name stays
//! - unwrap: {field: tags, into: tag}
//! ```
//!
//! Null is the empty list. The other items of the list are kept beside the row that has the value.

use std::sync::Arc;

use crate::code::Code;
use crate::mapping::Law;
use crate::mapping::ops::lens::{Lens, LensStep, OnFail};
use crate::mapping::ops::{Operation, blank};
use crate::mapping::program::Planned;
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;
use crate::shape::{Field, Type};
use crate::side::Direction;
use crate::value::Value;

#[derive(Debug)]
struct Wrap {
    field: String,
    into: String,
    wraps: Direction,
}

struct First {
    wraps: Direction,
    blank: Value,
}

pub(super) fn read_wrap(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    read(settings, Direction::Forward)
}

pub(super) fn read_unwrap(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    read(settings, Direction::Reverse)
}

fn read(settings: &mut Settings<'_, '_>, wraps: Direction) -> Option<Arc<dyn Operation>> {
    let (field, into) = (settings.text("field"), settings.maybe_text("into")?);
    let field = field?;
    let into = into.unwrap_or_else(|| field.clone());
    Some(Arc::new(Wrap { field, into, wraps }))
}

impl Operation for Wrap {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slot) = scope.take(&self.field)?;
        let path = scope.path(&self.field);
        let (field, blank) = match (self.wraps, slot.field.ty.clone()) {
            (Direction::Forward, item) => {
                let Some(blank) = blank(&slot.field) else {
                    let message = format!("`{path}` cannot hold what an empty list says");
                    let hint = "Only nullable fields and texts can be wrapped.".to_owned();
                    scope.problem(Code::OPERATION_INVALID, message, Some(hint));
                    return None;
                };
                let list = Type::List(Box::new(item));
                (Field::required(&self.into, list), blank)
            }
            (Direction::Reverse, Type::List(item)) => {
                (Field::nullable(&self.into, *item), Value::Null)
            }
            (Direction::Reverse, other) => {
                let message = format!("`{path}` is no list but {}", other.name());
                scope.problem(Code::TYPE_MISMATCH, message, None);
                return None;
            }
        };
        let new = vec![scope.give(at, field)];
        let old = vec![slot.register];
        let step = LensStep {
            lens: First {
                wraps: self.wraps,
                blank,
            },
            old: old.clone(),
            new: new.clone(),
            on_fail: [OnFail::Letter, OnFail::Letter],
            path,
        };
        Some(Planned::new(Law::Restorable, old, new, step))
    }

    fn describe(&self) -> String {
        match self.wraps {
            Direction::Forward => format!("makes a list of `{}`", self.field),
            Direction::Reverse => format!("takes the first item of `{}`", self.field),
        }
    }
}

impl Lens for First {
    fn carry(&self, direction: Direction, values: &[Value]) -> Result<Vec<Value>, &'static str> {
        match (direction == self.wraps, values) {
            (true, [value]) if value.is_nothing() || *value == self.blank => {
                Ok(vec![Value::List(Vec::new())])
            }
            (true, [value]) => Ok(vec![Value::List(vec![value.clone()])]),
            (false, [Value::List(items)]) => {
                let first = items.first().filter(|item| !item.is_nothing());
                Ok(vec![first.unwrap_or(&self.blank).clone()])
            }
            (false, [nothing]) if nothing.is_nothing() => Ok(vec![self.blank.clone()]),
            _ => Err("expected a list"),
        }
    }

    fn merge(&self, direction: Direction, mut made: Vec<Value>, was: Vec<Value>) -> Vec<Value> {
        if let ([Value::List(made)], Some(Value::List(was))) =
            (made.as_mut_slice(), was.into_iter().next())
            && direction == self.wraps
        {
            made.extend(was.into_iter().skip(1));
        }
        made
    }
}
