//! Gives a field another type or another spelling.
//!
//! ```yaml
//! - convert: {field: age, to: int64, on_fail: {up: {value: 0}, down: letter}}
//! - convert: {field: cents, to: "decimal(12,2)", factor: "0.01", on_fail: {down: letter}}
//! - convert: {field: state, enum: {A: active, B: blocked}, on_fail: letter}
//! - convert: {field: created, to: timestamp, epoch: seconds, on_fail: letter}
//! ```
//!
//! `on_fail` is `letter` (the row waits for a human) or `{value: X, remember: true}` (the target
//! shows X, and the original comes back as long as it still shows X). It must be given for every
//! direction that can fail. Spellings that the other type does not show, like `007`, are
//! remembered by themselves. Null stays null.

mod cast;
mod table;

use std::sync::Arc;

use bigdecimal::{BigDecimal, Zero};

use crate::change::node::{Content, Fields, Node};
use crate::code::Code;
use crate::mapping::Law;
use crate::mapping::ops::Operation;
use crate::mapping::ops::lens::{LensStep, OnFail};
use crate::mapping::program::Planned;
use crate::mapping::scope::Scope;
use crate::mapping::spec::{Settings, refuse, value_of};
use crate::shape::{TimeUnit, Type};
use crate::side::Direction;

use cast::{Cast, Pair};

#[derive(Debug)]
struct Convert {
    field: String,
    to: Option<Type>,
    how: How,
    /// As typed, up then down: the types of their values are known when it is planned.
    on_fail: [Option<Failing>; 2],
}

#[derive(Debug)]
enum How {
    Plain,
    Factor(BigDecimal),
    Table(Vec<(Node, Node)>),
    Epoch(TimeUnit),
}

#[derive(Clone, Debug)]
enum Failing {
    Letter,
    Value { value: Node, remember: bool },
}

pub(super) fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let field = settings.text("field");
    let how = how(settings);
    let to = match settings.node("to") {
        Some(_) => settings.ty("to").map(Some),
        None if matches!(how, Some(How::Table(_))) => Some(None),
        None => settings.required("to").map(|_| None),
    };
    let on_fail = on_fail(settings);
    Some(Arc::new(Convert {
        field: field?,
        to: to?,
        how: how?,
        on_fail: on_fail?,
    }))
}

fn how(settings: &mut Settings<'_, '_>) -> Option<How> {
    let (factor, table, epoch) = (
        settings.node("factor"),
        settings.node("enum"),
        settings.node("epoch"),
    );
    match (factor, table, epoch) {
        (None, None, None) => Some(How::Plain),
        (Some(node), None, None) => {
            let factor = node
                .text()
                .and_then(|text| crate::codec::text::decimal(text).ok());
            let factor = factor.filter(|factor| !factor.0.is_zero());
            if factor.is_none() {
                refuse(
                    node,
                    "`factor` must be a number other than 0",
                    None,
                    settings.problems(),
                );
            }
            factor.map(|factor| How::Factor(factor.0))
        }
        (None, Some(node), None) => table::read(node, settings.problems()).map(How::Table),
        (None, None, Some(node)) => match node.text() {
            Some("seconds") => Some(How::Epoch(TimeUnit::Seconds)),
            Some("millis") => Some(How::Epoch(TimeUnit::Millis)),
            Some("micros") => Some(How::Epoch(TimeUnit::Micros)),
            Some("nanos") => Some(How::Epoch(TimeUnit::Nanos)),
            _ => {
                let hint = Some("Units: seconds, millis, micros, nanos.");
                refuse(
                    node,
                    "`epoch` must be a unit of time",
                    hint,
                    settings.problems(),
                );
                None
            }
        },
        _ => {
            settings.invalid("`convert` takes one of `factor`, `enum` and `epoch`");
            None
        }
    }
}

fn on_fail(settings: &mut Settings<'_, '_>) -> Option<[Option<Failing>; 2]> {
    let Some(node) = settings.node("on_fail") else {
        return Some([None, None]);
    };
    if node.text() == Some("letter") {
        return Some([Some(Failing::Letter), Some(Failing::Letter)]);
    }
    let problems = settings.problems();
    let mut fields = Fields::of(node, "on_fail", problems)?;
    let sides = [fields.optional("up"), fields.optional("down")];
    fields.finish(problems);
    let [up, down] = sides.map(|node| node.map(|node| failing(node, problems)));
    Some([
        up.map_or(Some(None), |up| up.map(Some))?,
        down.map_or(Some(None), |down| down.map(Some))?,
    ])
}

fn failing(node: &Node, problems: &mut Vec<crate::error::Problem>) -> Option<Failing> {
    if node.text() == Some("letter") {
        return Some(Failing::Letter);
    }
    let mut fields = Fields::of(node, "on_fail", problems)?;
    let value = fields.required("value", problems).cloned();
    let remember = match fields.optional("remember").map(|node| &node.content) {
        Some(Content::Plain(text)) if text == "false" => false,
        Some(Content::Plain(text)) if text == "true" => true,
        None => true,
        Some(_) => {
            refuse(node, "`remember` must be `true` or `false`", None, problems);
            true
        }
    };
    fields.finish(problems);
    value.map(|value| Failing::Value { value, remember })
}

impl Operation for Convert {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let slot = scope.find(&self.field)?.clone();
        let path = scope.path(&self.field);
        if slot.rewritten {
            let message = format!("`{path}` is converted twice");
            scope.problem(Code::PATH_WRITTEN_TWICE, message, None);
            return None;
        }
        let from = &slot.field.ty;
        let to = self.to.clone().unwrap_or(Type::Text);
        let pair = match &self.how {
            How::Plain => Pair::between(from, &to),
            How::Factor(factor) => Pair::factor(from, &to, factor),
            How::Epoch(unit) => Pair::epoch(from, &to, *unit),
            How::Table(rows) => table::pair(rows, from, &to),
        };
        let Some(pair) = pair else {
            let (from, to) = (from.name(), to.name());
            let message = format!("`{path}` cannot be converted from {from} to {to} like this");
            scope.problem(Code::TYPE_MISMATCH, message, None);
            return None;
        };
        let up = self.on_fail(0, &pair.up, &to, &path, scope);
        let down = self.on_fail(1, &pair.down, from, &path, scope);
        let (up, down) = (up?, down?);
        let law = law(&pair, [&up, &down]);
        let (at, _) = scope.take(&self.field)?;
        let mut field = slot.field.clone();
        field.ty = to;
        let register = scope.give(at, field);
        scope.find(&self.field)?.rewritten = true;
        let step = LensStep {
            lens: pair,
            old: vec![slot.register],
            new: vec![register],
            on_fail: [up, down],
            path,
        };
        Some(Planned::new(law, vec![slot.register], vec![register], step))
    }

    fn describe(&self) -> String {
        let to = self
            .to
            .as_ref()
            .map_or("other symbols".to_owned(), Type::name);
        format!("converts `{}` to {to}", self.field)
    }

    fn loses(&self) -> Option<String> {
        let forgets = |failing: &Option<Failing>| {
            matches!(
                failing,
                Some(Failing::Value {
                    remember: false,
                    ..
                })
            )
        };
        let lost = format!("values of `{}` that cannot be converted", self.field);
        self.on_fail.iter().any(forgets).then_some(lost)
    }
}

impl Convert {
    fn on_fail(
        &self,
        which: usize,
        cast: &Cast,
        target: &Type,
        path: &str,
        scope: &mut Scope<'_>,
    ) -> Option<OnFail> {
        let direction = ["up", "down"][which];
        match &self.on_fail[which] {
            None if cast.fallible() => {
                let message = format!("converting `{path}` {direction} can fail");
                let hint = format!(
                    "Add `on_fail: {{{direction}: letter}}` or `{{{direction}: {{value: ...}}}}`."
                );
                scope.problem(Code::ON_FAIL_MISSING, message, Some(hint));
                None
            }
            None | Some(Failing::Letter) => Some(OnFail::Letter),
            Some(Failing::Value { value, remember }) => {
                let Some(literal) = value_of(value, target) else {
                    let message = format!("`value` for `{path}` is not of type {}", target.name());
                    scope.problem(Code::VALUE_INVALID, message, None);
                    return None;
                };
                Some(OnFail::Value {
                    value: literal,
                    remember: *remember,
                })
            }
        }
    }
}

fn law(pair: &Pair, on_fail: [&OnFail; 2]) -> Law {
    let casts = [&pair.up, &pair.down];
    let failing = casts
        .iter()
        .zip(on_fail)
        .filter(|(cast, _)| cast.fallible());
    let worst = failing.map(|(_, on_fail)| match on_fail {
        OnFail::Letter => Law::Partial,
        OnFail::Value { remember: true, .. } => Law::Restorable,
        OnFail::Value {
            remember: false, ..
        } => Law::Opaque,
    });
    let directions = [Direction::Forward, Direction::Reverse];
    let exact = directions
        .into_iter()
        .all(|direction| pair.is_faithful(direction));
    worst
        .max()
        .unwrap_or(if exact { Law::Iso } else { Law::Restorable })
}
