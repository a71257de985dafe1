//! Numbered fields become a list (`group`), or a list becomes numbered fields (`ungroup`).
//!
//! ```yaml
//! - group:
//!     fields: "contact{i}_{f}"
//!     numbers: 1..4
//!     items: {name: name, num: phoneNumber}   # {f} in the fields: its name in the items
//!     into: contacts
//!     count: count                            # optional: a field for the number of items
//! - ungroup: {from: tags, fields: "tag{i}", numbers: 1..3}
//! ```
//!
//! A slot whose fields are all null or empty is no item. Beside the row with the list lie the
//! gaps between filled slots; beside the row with the slots lie the items beyond the last slot and
//! whatever an item holds that its slot cannot.

mod notes;
mod step;

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::code::Code;
use crate::mapping::Law;
use crate::mapping::ops::fold::Fold;
use crate::mapping::ops::{Operation, blank};
use crate::mapping::program::Planned;
use crate::mapping::scope::Scope;
use crate::mapping::spec::{Settings, refuse};
use crate::shape::{Field, Type};
use crate::side::Direction;

use step::Slots;

/// More slots than this is a mistake in the change file.
const SLOTS_MAX: u32 = 1000;

/// How the numbered fields are named.
#[derive(Debug)]
struct Pattern {
    fields: String,
    numbers: RangeInclusive<u32>,
    /// `{f}` and the item's field name; empty for a list of bare values.
    items: Vec<(String, String)>,
}

#[derive(Debug)]
struct Group {
    pattern: Pattern,
    into: String,
    count: Option<String>,
}

#[derive(Debug)]
struct Ungroup {
    pattern: Pattern,
    from: String,
}

pub(super) fn read_group(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (pattern, into) = (Pattern::read(settings), settings.text("into"));
    let count = settings.maybe_text("count")?;
    Some(Arc::new(Group {
        pattern: pattern?,
        into: into?,
        count,
    }))
}

pub(super) fn read_ungroup(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (pattern, from) = (Pattern::read(settings), settings.text("from"));
    Some(Arc::new(Ungroup {
        pattern: pattern?,
        from: from?,
    }))
}

impl Pattern {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Pattern> {
        let fields = settings.text("fields");
        let numbers = settings.required("numbers");
        let items = match settings.node("items") {
            Some(_) => settings.pairs("items")?,
            None => Vec::new(),
        };
        if let Some(node) = settings
            .node("empty")
            .filter(|node| node.text() != Some("skip"))
        {
            refuse(node, "`empty` must be `skip`", None, settings.problems());
        }
        let (fields, numbers) = (fields?, numbers?);
        let range = numbers.text().and_then(|text| {
            let (first, last) = text.split_once("..")?;
            Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
        });
        let range =
            range.filter(|range| !range.is_empty() && range.end() - range.start() < SLOTS_MAX);
        let Some(range) = range else {
            let hint = Some("Write the first and the last number: `1..4`.");
            refuse(
                numbers,
                "`numbers` is not a range",
                hint,
                settings.problems(),
            );
            return None;
        };
        if !fields.contains("{i}") || fields.contains("{f}") == items.is_empty() {
            settings.invalid(
                "`fields` needs `{i}` for the number, and `{f}` exactly when there are `items`",
            );
            return None;
        }
        Some(Pattern {
            fields,
            numbers: range,
            items,
        })
    }

    /// The names of the fields of one slot.
    fn names(&self, number: u32) -> Vec<String> {
        let numbered = self.fields.replace("{i}", &number.to_string());
        if self.items.is_empty() {
            return vec![numbered];
        }
        self.items
            .iter()
            .map(|(f, _)| numbered.replace("{f}", f))
            .collect()
    }

    fn fold(&self, fields: &[Field], path: String, scope: &mut Scope<'_>) -> Option<Fold> {
        let blanks: Vec<_> = fields.iter().map(blank).collect();
        for (field, blank) in fields.iter().zip(&blanks) {
            if blank.is_none() {
                let name = scope.path(&field.name);
                let message = format!("`{name}` cannot say that its slot is empty");
                let hint = "Fields of a group must be nullable or text.".to_owned();
                scope.problem(Code::OPERATION_INVALID, message, Some(hint));
            }
        }
        blanks.iter().all(Option::is_some).then_some(Fold {
            blanks,
            bare: self.items.is_empty(),
            path,
        })
    }
}

impl Operation for Group {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let taken: Vec<_> = self
            .pattern
            .numbers
            .clone()
            .map(|number| scope.take_all(&self.pattern.names(number)))
            .collect();
        let taken: Vec<_> = taken.into_iter().collect::<Option<_>>()?;
        let (at, first) = taken.first()?;
        let mut fields: Vec<Field> = first.iter().map(|slot| slot.field.clone()).collect();
        let path = scope.path(&self.into);
        for (_, slots) in &taken {
            for (field, slot) in fields.iter_mut().zip(slots) {
                if field.ty != slot.field.ty {
                    let name = scope.path(&slot.field.name);
                    let message = format!("`{name}` differs in type from the first slot");
                    scope.problem(Code::TYPE_MISMATCH, message, None);
                }
                // Null is blank only where every slot allows it.
                field.nullable &= slot.field.nullable;
            }
        }
        let fold = self.pattern.fold(&fields, path, scope)?;
        for (field, (_, name)) in fields.iter_mut().zip(&self.pattern.items) {
            field.name.clone_from(name);
            field.has_default = false;
        }
        let item = match fold.bare {
            true => fields.pop()?.ty,
            false => Type::Record(fields),
        };
        let list = scope.give(*at, Field::required(&self.into, Type::List(Box::new(item))));
        let count = self
            .count
            .as_ref()
            .map(|count| scope.give_derived(Field::required(count, Type::INT64)));
        let slots: Vec<Vec<usize>> = taken
            .iter()
            .map(|(_, slots)| slots.iter().map(|slot| slot.register).collect())
            .collect();
        let reads = slots.concat();
        let writes = [list].into_iter().chain(count).collect();
        let gathers = Direction::Forward;
        let step = Slots::new(slots, list, count, fold, gathers);
        Some(Planned::new(Law::Restorable, reads, writes, step))
    }

    fn describe(&self) -> String {
        let (fields, numbers) = (&self.pattern.fields, &self.pattern.numbers);
        let (first, last) = (numbers.start(), numbers.end());
        format!(
            "groups `{fields}` ({first} to {last}) into the list `{}`",
            self.into
        )
    }
}

impl Operation for Ungroup {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        let (at, slot) = scope.take(&self.from)?;
        let path = scope.path(&self.from);
        let fields = match slot.field.ty {
            Type::List(item) => match *item {
                Type::Record(fields) => fields,
                bare => vec![Field::nullable("value", bare)],
            },
            other => {
                let message = format!("`{path}` is no list but {}", other.name());
                scope.problem(Code::TYPE_MISMATCH, message, None);
                return None;
            }
        };
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let declared: Vec<&str> = self
            .pattern
            .items
            .iter()
            .map(|(_, to)| to.as_str())
            .collect();
        if !declared.is_empty() && names != declared || declared.is_empty() && names != ["value"] {
            let message = format!("`items` must name the fields of `{path}` in their order");
            let hint = format!("They are: {}.", names.join(", "));
            scope.problem(Code::OPERATION_INVALID, message, Some(hint));
            return None;
        }
        let mut registers = Vec::new();
        for number in self.pattern.numbers.clone() {
            let named = fields.iter().zip(self.pattern.names(number));
            let row: Vec<usize> = named
                .map(|(field, name)| scope.give(at, Field::nullable(&name, field.ty.clone())))
                .collect();
            registers.push(row);
        }
        let nullable: Vec<Field> = fields
            .into_iter()
            .map(|field| Field::nullable(&field.name, field.ty))
            .collect();
        let fold = self.pattern.fold(&nullable, path, scope)?;
        let writes = registers.concat();
        let step = Slots::new(registers, slot.register, None, fold, Direction::Reverse);
        Some(Planned::new(
            Law::Restorable,
            vec![slot.register],
            writes,
            step,
        ))
    }

    fn describe(&self) -> String {
        format!(
            "spreads the list `{}` over `{}`",
            self.from, self.pattern.fields
        )
    }
}
