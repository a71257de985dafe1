//! Expressions in CEL, one per field, for what no other operation says.
//!
//! ```yaml
//! - expr:
//!     read: [first, last]
//!     write: {full_name: text}
//!     up: {full_name: "first + ' ' + last"}
//!     down: {first: "full_name", last: "''"}
//!     law: restorable
//! ```
//!
//! `law` says what is promised, and the law check holds it to that: `restorable` (every row maps
//! and comes back; originals are remembered where the way back does not give them), `partial`
//! (rows on which an expression fails become letters) or `derived` (the fields that are read stay,
//! there is no `down`). Expressions see truth values, whole numbers, binary floats and texts;
//! decimals and times do not enter them, because CEL would round them.

use std::sync::Arc;

use cel::{Context, Program};

use crate::code::Code;
use crate::codec::text::int_fits;
use crate::mapping::Law;
use crate::mapping::MapError;
use crate::mapping::ops::Operation;
use crate::mapping::ops::lens::{Lens, LensStep, OnFail};
use crate::mapping::program::{Planned, Step, Work};
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;
use crate::shape::{Field, Type};
use crate::side::Direction;
use crate::value::{Float, Value};

#[derive(Debug)]
struct Expr {
    read: Vec<String>,
    write: Vec<Field>,
    up: Vec<(String, String)>,
    down: Vec<(String, String)>,
    law: Law,
}

/// Expressions for all target fields of one direction.
struct Formulas {
    inputs: Vec<String>,
    outputs: Vec<(Field, Program)>,
}

struct Formula {
    up: Formulas,
    down: Option<Formulas>,
    functions: Context<'static, 'static>,
}

/// Computes fields and leaves what they are computed from.
struct Derived {
    formula: Formula,
    reads: Vec<usize>,
    writes: Vec<usize>,
    path: String,
}

pub(super) fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (read, write) = (settings.texts("read"), settings.typed_fields("write"));
    let (up, down) = (settings.pairs("up"), settings.maybe_pairs("down"));
    let law = match settings.text("law")?.as_str() {
        "restorable" => Law::Restorable,
        "partial" => Law::Partial,
        "derived" => Law::Derived,
        _ => {
            settings.invalid("`law` of `expr` must be `restorable`, `partial` or `derived`");
            return None;
        }
    };
    let expr = Expr {
        read: read?,
        write: write?,
        up: up?,
        down: down?,
        law,
    };
    if (law == Law::Derived) != expr.down.is_empty() {
        settings.invalid("`expr` needs `down`, unless its law is `derived`");
        return None;
    }
    Some(Arc::new(expr))
}

impl Operation for Expr {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let derived = self.law == Law::Derived;
        let slots = match derived {
            true => self
                .read
                .iter()
                .map(|name| Some(scope.find(name)?.clone()))
                .collect(),
            false => scope.take_all(&self.read).map(|(_, slots)| slots),
        }?;
        let old: Vec<usize> = slots.iter().map(|slot| slot.register).collect();
        let fields: Vec<Field> = slots.into_iter().map(|slot| slot.field).collect();
        let up = formulas(&fields, &self.write, &self.up, scope);
        let down = match derived {
            true => Some(None),
            false => formulas(&self.write, &fields, &self.down, scope).map(Some),
        };
        let formula = Formula {
            up: up?,
            down: down?,
            functions: Context::default(),
        };
        let give = |field: &Field| match derived {
            true => scope.give_derived(field.clone()),
            false => scope.give(usize::MAX, field.clone()),
        };
        let new: Vec<usize> = self.write.iter().map(give).collect();
        let path = scope.path(&self.write[0].name);
        if derived {
            let step = Derived {
                formula,
                reads: old.clone(),
                writes: new.clone(),
                path,
            };
            return Some(Planned::new(self.law, old, new, step));
        }
        let step = LensStep {
            lens: formula,
            old: old.clone(),
            new: new.clone(),
            on_fail: [OnFail::Letter, OnFail::Letter],
            path,
        };
        Some(Planned::new(self.law, old, new, step))
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.write.iter().map(|field| field.name.as_str()).collect();
        let (read, write) = (self.read.join("`, `"), names.join("`, `"));
        format!("computes `{write}` from `{read}` by expressions")
    }
}

/// Compiles the expressions of one direction; reports all that is wrong with them.
fn formulas(
    inputs: &[Field],
    outputs: &[Field],
    sources: &[(String, String)],
    scope: &mut Scope<'_>,
) -> Option<Formulas> {
    let mut compiled = Vec::with_capacity(outputs.len());
    for field in inputs.iter().chain(outputs) {
        if !enters(&field.ty) {
            let (name, ty) = (scope.path(&field.name), field.ty.name());
            let message = format!("`{name}` is {ty}, which expressions cannot carry exactly");
            scope.problem(Code::TYPE_MISMATCH, message, None);
        }
    }
    let stray = sources
        .iter()
        .find(|(name, _)| outputs.iter().all(|field| field.name != *name));
    if let Some((name, _)) = stray {
        let message = format!("`{name}` is not among the fields that this direction writes");
        scope.problem(Code::FIELD_UNKNOWN, message, None);
    }
    for field in outputs {
        let Some((_, source)) = sources.iter().find(|(name, _)| *name == field.name) else {
            let message = format!("`{}` has no expression", scope.path(&field.name));
            scope.problem(Code::FIELD_NOT_PRODUCED, message, None);
            continue;
        };
        match Program::compile(source) {
            Ok(program) => {
                let names = program.references();
                let unknown = names
                    .variables()
                    .into_iter()
                    .find(|name| inputs.iter().all(|field| field.name != *name));
                if let Some(name) = unknown {
                    let message = format!("the expression for `{}` reads `{name}`", field.name);
                    let hint = "Name every field that expressions use in `read` or `write`.";
                    scope.problem(Code::FIELD_UNKNOWN, message, Some(hint.into()));
                }
                compiled.push((field.clone(), program));
            }
            Err(_) => {
                let message = format!("the expression for `{}` is not CEL", field.name);
                scope.problem(Code::EXPRESSION_FAILED, message, None);
            }
        }
    }
    (compiled.len() == outputs.len()).then(|| Formulas {
        inputs: inputs.iter().map(|field| field.name.clone()).collect(),
        outputs: compiled,
    })
}

fn enters(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Bool | Type::Int { .. } | Type::Float { bits: 64 } | Type::Text
    )
}

impl Formula {
    fn evaluate(&self, formulas: &Formulas, values: &[Value]) -> Result<Vec<Value>, &'static str> {
        let mut context = self.functions.new_inner_scope();
        for (name, value) in formulas.inputs.iter().zip(values) {
            context.add_variable_from_value(name.as_str(), to_cel(value)?);
        }
        let outputs = formulas.outputs.iter().map(|(field, program)| {
            let result = program
                .execute(&context)
                .map_err(|_| "the expression failed")?;
            from_cel(&result, field)
        });
        outputs.collect()
    }
}

fn to_cel(value: &Value) -> Result<cel::Value, &'static str> {
    Ok(match value {
        Value::Absent | Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Int(number) => cel::Value::Int(*number),
        Value::Uint(number) => cel::Value::UInt(*number),
        Value::Float(float) => cel::Value::Float(float.0),
        Value::Text(text) => cel::Value::String(Arc::new(text.clone())),
        _ => return Err("expected a value that expressions can carry"),
    })
}

fn from_cel(result: &cel::Value, field: &Field) -> Result<Value, &'static str> {
    let value = match (result, &field.ty) {
        (cel::Value::Null, _) if field.nullable => Value::Null,
        (cel::Value::Bool(truth), Type::Bool) => Value::Bool(*truth),
        (cel::Value::Int(number), Type::Int { .. }) => Value::Int(*number),
        (cel::Value::UInt(number), Type::Int { .. }) => Value::unsigned(*number),
        (cel::Value::Float(float), Type::Float { .. }) => Value::Float(Float(*float)),
        (cel::Value::String(text), Type::Text) => Value::Text(text.to_string()),
        _ => return Err("the expression gives another type"),
    };
    match (&value, &field.ty) {
        (Value::Int(_) | Value::Uint(_), Type::Int { bits, signed })
            if !int_fits(&value, *bits, *signed) =>
        {
            Err("the number does not fit its type")
        }
        _ => Ok(value),
    }
}

impl Lens for Formula {
    fn carry(&self, direction: Direction, values: &[Value]) -> Result<Vec<Value>, &'static str> {
        match (direction, &self.down) {
            (Direction::Reverse, Some(down)) => self.evaluate(down, values),
            (Direction::Forward, _) | (Direction::Reverse, None) => self.evaluate(&self.up, values),
        }
    }

    fn code(&self) -> Code {
        Code::EXPRESSION_FAILED
    }
}

impl Step for Derived {
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError> {
        if direction == Direction::Reverse {
            return Ok(());
        }
        let reads: Vec<Value> = self
            .reads
            .iter()
            .map(|&register| work.registers[register].clone())
            .collect();
        let made = self.formula.evaluate(&self.formula.up, &reads);
        let made = made.map_err(|reason| MapError {
            code: Code::EXPRESSION_FAILED,
            path: self.path.clone(),
            reason: reason.into(),
        })?;
        work.put(&self.writes, made);
        Ok(())
    }
}
