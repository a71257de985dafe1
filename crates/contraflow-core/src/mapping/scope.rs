//! The fields that exist between two operations, while a mapping is checked.

use crate::change::node::nearest;
use crate::code::Code;
use crate::error::{Place, Problem};
use crate::shape::Field;

/// A field between two operations.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Its name, type and whether it may be null.
    pub(super) field: Field,
    /// The register that holds it.
    pub(super) register: usize,
    /// Whether an operation made its value or gave it its name.
    pub(super) made: bool,
    /// Whether an operation wrote its value where another one stood.
    pub(super) rewritten: bool,
    /// Whether it is computed from other fields.
    pub(super) derived: bool,
}

/// The fields that exist at one point of the list of operations, in order, and the problems found
/// so far.
pub(super) struct Scope<'p> {
    slots: Vec<Slot>,
    registers: usize,
    pending: Vec<(usize, String, Option<Place>)>,
    place: Option<Place>,
    within: String,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Scope<'p> {
    /// The fields of the old side, or of a record inside it, in registers 0 to n.
    pub(super) fn new(fields: &[Field], within: &str, problems: &'p mut Vec<Problem>) -> Scope<'p> {
        let slot = |(register, field): (usize, &Field)| Slot {
            field: field.clone(),
            register,
            made: false,
            rewritten: false,
            derived: false,
        };
        Scope {
            slots: fields.iter().enumerate().map(slot).collect(),
            registers: fields.len(),
            pending: Vec::new(),
            place: None,
            within: within.to_owned(),
            problems,
        }
    }

    /// Says which operation is planned next.
    pub(super) fn at(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// The full name of a field, for messages.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }

    /// Reports a problem of the operation that is planned.
    pub(super) fn problem(&mut self, code: Code, message: impl Into<String>, hint: Option<String>) {
        let mut problem = Problem::error(code, message).place(self.place);
        problem.hint = hint;
        self.problems.push(problem);
    }

    /// The problems themselves, for operations that check lists of their own.
    pub(super) fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    /// A field by name; reports it when it is not there.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut Slot> {
        let at = self.position(name)?;
        Some(&mut self.slots[at])
    }

    /// Takes a field away, and says where it stood.
    pub(super) fn take(&mut self, name: &str) -> Option<(usize, Slot)> {
        let at = self.position(name)?;
        Some((at, self.slots.remove(at)))
    }

    /// Takes several fields away; reports every one that is missing.
    pub(super) fn take_all(&mut self, names: &[String]) -> Option<(usize, Vec<Slot>)> {
        let taken: Vec<_> = names.iter().map(|name| self.take(name)).collect();
        let taken: Vec<_> = taken.into_iter().collect::<Option<_>>()?;
        let at = taken.iter().map(|(at, _)| *at).min().unwrap_or(0);
        Some((at, taken.into_iter().map(|(_, slot)| slot).collect()))
    }

    /// Puts a field in and returns its register; reports a name that is taken.
    pub(super) fn give(&mut self, at: usize, field: Field) -> usize {
        self.refuse_taken(&field.name);
        let register = self.registers;
        self.registers += 1;
        let slot = Slot {
            field,
            register,
            made: true,
            rewritten: false,
            derived: false,
        };
        self.slots.insert(at.min(self.slots.len()), slot);
        register
    }

    /// Puts a computed field in at the end.
    pub(super) fn give_derived(&mut self, field: Field) -> usize {
        let register = self.give(usize::MAX, field);
        if let Some(slot) = self.slots.last_mut() {
            slot.derived = true;
        }
        register
    }

    /// Renames a field once [`Scope::settle`] is called, so that neighbours can swap their names.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(at) = self.position(from) {
            self.pending.push((at, to.to_owned(), self.place));
        }
    }

    /// Gives all renamed fields their new names at once.
    pub(super) fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (i, (at, _, place)) in pending.iter().enumerate() {
            if pending[..i].iter().any(|(earlier, ..)| earlier == at) {
                let name = self.path(&self.slots[*at].field.name);
                self.place = *place;
                let message = format!("`{name}` is renamed twice");
                self.problem(Code::PATH_WRITTEN_TWICE, message, None);
            }
        }
        for (at, to, _) in &pending {
            self.slots[*at].field.name.clone_from(to);
            self.slots[*at].made = true;
        }
        for (at, to, place) in pending {
            if self
                .slots
                .iter()
                .enumerate()
                .any(|(i, slot)| i != at && slot.field.name == to)
            {
                self.place = place;
                self.report_taken(&to);
            }
        }
    }

    /// The fields as they stand, and how many registers there are.
    pub(super) fn into_slots(self) -> (Vec<Slot>, usize) {
        (self.slots, self.registers)
    }

    fn position(&mut self, name: &str) -> Option<usize> {
        let found = self.slots.iter().position(|slot| slot.field.name == name);
        if found.is_none() {
            let message = format!("there is no field `{}` at this point", self.path(name));
            let names: Vec<&str> = self
                .slots
                .iter()
                .map(|slot| slot.field.name.as_str())
                .collect();
            let hint = match nearest(name, &names) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Fields here: {}.", names.join(", ")),
            };
            self.problem(Code::FIELD_UNKNOWN, message, Some(hint));
        }
        found
    }

    fn refuse_taken(&mut self, name: &str) {
        if self.slots.iter().any(|slot| slot.field.name == name) {
            self.report_taken(name);
        }
    }

    fn report_taken(&mut self, name: &str) {
        let message = format!("`{}` is there already", self.path(name));
        let hint = "Give the new field another name, or rename or remove the old one first.";
        self.problem(Code::PATH_WRITTEN_TWICE, message, Some(hint.into()));
    }
}
