//! One text becomes several (`split`), or several become one (`join`).
//!
//! ```yaml
//! - split: {field: full_name, by: " ", into: [first, last]}
//! - join: {fields: [first, last], by: " ", into: full_name}
//! ```
//!
//! The last part takes whatever is left. A text with too few parts leaves the last ones null.
//! Where the parts do not show the text again (or the text the parts), the original is remembered.

use std::sync::Arc;

use crate::code::Code;
use crate::mapping::Law;
use crate::mapping::ops::Operation;
use crate::mapping::ops::lens::{Lens, LensStep, OnFail};
use crate::mapping::program::Planned;
use crate::mapping::scope::{Scope, Slot};
use crate::mapping::spec::Settings;
use crate::shape::{Field, Type};
use crate::side::Direction;
use crate::value::Value;

#[derive(Debug)]
struct Split {
    field: String,
    by: String,
    into: Vec<String>,
}

#[derive(Debug)]
struct Join {
    fields: Vec<String>,
    by: String,
    into: String,
}

struct Parts {
    by: String,
    count: usize,
    splits: Direction,
    nullable: bool,
}

pub(super) fn read_split(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (field, by, into) = (settings.text("field"), by(settings), settings.texts("into"));
    Some(Arc::new(Split {
        field: field?,
        by: by?,
        into: into?,
    }))
}

pub(super) fn read_join(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (fields, by, into) = (
        settings.texts("fields"),
        by(settings),
        settings.text("into"),
    );
    Some(Arc::new(Join {
        fields: fields?,
        by: by?,
        into: into?,
    }))
}

fn by(settings: &mut Settings<'_, '_>) -> Option<String> {
    let by = settings.text("by")?;
    if by.is_empty() {
        settings.invalid("`by` must not be empty");
        return None;
    }
    Some(by)
}

impl Operation for Split {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slot) = scope.take(&self.field)?;
        require_text(scope, &slot)?;
        let part = |(i, name): (usize, &String)| {
            let nullable = i > 0 || slot.field.nullable;
            let field = Field {
                nullable,
                ..Field::required(name, Type::Text)
            };
            scope.give(at + i, field)
        };
        let new: Vec<usize> = self.into.iter().enumerate().map(part).collect();
        let step = LensStep {
            lens: Parts {
                by: self.by.clone(),
                count: new.len(),
                splits: Direction::Forward,
                nullable: slot.field.nullable,
            },
            old: vec![slot.register],
            new: new.clone(),
            on_fail: [OnFail::Letter, OnFail::Letter],
            path: scope.path(&self.field),
        };
        Some(Planned::new(
            Law::Restorable,
            vec![slot.register],
            new,
            step,
        ))
    }

    fn describe(&self) -> String {
        format!("splits `{}` into `{}`", self.field, self.into.join("`, `"))
    }
}

impl Operation for Join {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slots) = scope.take_all(&self.fields)?;
        for slot in &slots {
            require_text(scope, slot)?;
        }
        let nullable = slots.iter().all(|slot| slot.field.nullable);
        let old: Vec<usize> = slots.iter().map(|slot| slot.register).collect();
        let field = Field {
            nullable,
            ..Field::required(&self.into, Type::Text)
        };
        let new = vec![scope.give(at, field)];
        let step = LensStep {
            lens: Parts {
                by: self.by.clone(),
                count: old.len(),
                splits: Direction::Reverse,
                nullable,
            },
            old: old.clone(),
            new: new.clone(),
            on_fail: [OnFail::Letter, OnFail::Letter],
            path: scope.path(&self.into),
        };
        Some(Planned::new(Law::Restorable, old, new, step))
    }

    fn describe(&self) -> String {
        format!("joins `{}` into `{}`", self.fields.join("`, `"), self.into)
    }
}

fn require_text(scope: &mut Scope<'_>, slot: &Slot) -> Option<()> {
    if slot.field.ty == Type::Text {
        return Some(());
    }
    let name = scope.path(&slot.field.name);
    let message = format!("`{name}` is no text but {}", slot.field.ty.name());
    scope.problem(Code::TYPE_MISMATCH, message, None);
    None
}

impl Lens for Parts {
    fn carry(&self, direction: Direction, values: &[Value]) -> Result<Vec<Value>, &'static str> {
        if direction == self.splits {
            return match values {
                [Value::Text(text)] => {
                    let parts = text.splitn(self.count, &self.by);
                    let mut parts: Vec<Value> =
                        parts.map(|part| Value::Text(part.to_owned())).collect();
                    parts.resize(self.count, Value::Null);
                    Ok(parts)
                }
                [nothing] if nothing.is_nothing() => Ok(vec![Value::Null; self.count]),
                _ => Err("expected text"),
            };
        }
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Value::Text(part) => parts.push(part.as_str()),
                nothing if nothing.is_nothing() => {}
                _ => return Err("expected text"),
            }
        }
        Ok(vec![match parts.is_empty() && self.nullable {
            true => Value::Null,
            false => Value::Text(parts.join(&self.by)),
        }])
    }
}
