//! A field that only one side has: `add` makes it on the new side, `remove` leaves it behind on
//! the old one. Its value lies in the complement while the other side has the row.
//!
//! ```yaml
//! - add: {field: email, type: text, nullable: true, default: null}
//! - remove: {field: legacy_flag}                 # comes back on the way down
//! - remove: {field: cache, restore: false}       # dropped on purpose
//! - remove: {field: kind, default: person}       # what rows born on the new side get
//! ```

use std::sync::Arc;

use crate::change::node::Node;
use crate::code::Code;
use crate::mapping::ops::Operation;
use crate::mapping::program::{Planned, Step, Work};
use crate::mapping::scope::Scope;
use crate::mapping::spec::{Settings, value_of};
use crate::mapping::{Law, MapError};
use crate::shape::{Field, Type};
use crate::side::{Direction, Side};
use crate::value::Value;

#[derive(Debug)]
struct Add {
    field: Field,
    default: Value,
}

#[derive(Debug)]
struct Remove {
    field: String,
    restore: bool,
    default: Option<Node>,
}

/// Holds a field's value in a register on its own side and in the complement on the other.
struct OneSided {
    register: usize,
    side: Side,
    born: Value,
    restore: bool,
}

pub(super) fn read_add(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (name, ty) = (settings.text("field"), settings.ty("type"));
    let nullable = settings.flag("nullable", false);
    let default = settings.value("default", ty.as_ref().unwrap_or(&Type::Any))?;
    let field = Field {
        name: name?,
        ty: ty?,
        nullable: nullable?,
        has_default: false,
    };
    let default = match default {
        Some(Value::Null) if !field.nullable => {
            settings.invalid("the default of `add` is null, but the field is not `nullable: true`");
            return None;
        }
        Some(default) => default,
        None if field.nullable => Value::Null,
        None => {
            settings.invalid("`add` of a field that is not nullable needs a `default`");
            return None;
        }
    };
    Some(Arc::new(Add { field, default }))
}

pub(super) fn read_remove(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let field = settings.text("field");
    let restore = settings.flag("restore", true);
    let default = settings.node("default").cloned();
    Some(Arc::new(Remove {
        field: field?,
        restore: restore?,
        default,
    }))
}

impl Operation for Add {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let register = scope.give(usize::MAX, self.field.clone());
        let step = OneSided {
            register,
            side: Side::New,
            born: self.default.clone(),
            restore: true,
        };
        Some(Planned::new(Law::Restorable, vec![], vec![register], step))
    }

    fn describe(&self) -> String {
        format!(
            "adds `{}`; what it holds lies beside the old row",
            self.field.name
        )
    }
}

impl Operation for Remove {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (_, slot) = scope.take(&self.field)?;
        let born = match &self.default {
            Some(node) => value_of(node, &slot.field.ty),
            None => born(&slot.field),
        };
        let Some(born) = born else {
            let path = scope.path(&self.field);
            let message = format!("rows born on the new side have no value for `{path}`");
            let hint = format!("Give `default`, a value of type {}.", slot.field.ty.name());
            scope.problem(Code::FIELD_NOT_PRODUCED, message, Some(hint));
            return None;
        };
        let step = OneSided {
            register: slot.register,
            side: Side::Old,
            born,
            restore: self.restore,
        };
        let law = match self.restore {
            true => Law::Restorable,
            false => Law::Opaque,
        };
        Some(Planned::new(law, vec![slot.register], vec![], step))
    }

    fn describe(&self) -> String {
        match self.restore {
            true => format!(
                "leaves `{}` out; its value lies beside the new row",
                self.field
            ),
            false => format!("drops `{}`", self.field),
        }
    }

    fn loses(&self) -> Option<String> {
        (!self.restore).then(|| format!("what `{}` held", self.field))
    }
}

/// Preserves a field that no operation names and that only one side has. `None` when a row born
/// on the other side could not fill it.
pub(in crate::mapping) fn preserve(field: &Field, register: usize, side: Side) -> Option<Planned> {
    let step = OneSided {
        register,
        side,
        born: born(field)?,
        restore: true,
    };
    let (reads, writes) = match side {
        Side::Old => (vec![register], vec![]),
        Side::New => (vec![], vec![register]),
    };
    Some(Planned::new(Law::Restorable, reads, writes, step))
}

/// What a row gets that was born where the field does not exist.
fn born(field: &Field) -> Option<Value> {
    match field.has_default {
        true => Some(Value::Absent),
        false if field.nullable => Some(Value::Null),
        false => None,
    }
}

impl Step for OneSided {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        if direction.target() == self.side {
            let recalled = work.recall().and_then(|mut note| note.pop());
            work.registers[self.register] = recalled.unwrap_or_else(|| self.born.clone());
            return Ok(());
        }
        let value = work.registers[self.register].take();
        if self.restore && value != self.born {
            work.keep(vec![value]);
        }
        Ok(())
    }
}
