//! Scalars of a change file as what they stand for, with a problem for everything that is not.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::interpolate::{self, Secrets};
use super::node::{Content, Fields, Node};
use super::quantity;
use super::secret::Secret;
use super::spec::Located;
use crate::code::Code;
use crate::error::{Place, Problem};

/// The most fields of a key: PostgreSQL's indexes hold 32, those of the others fewer.
const KEY_FIELDS_MAX: usize = 32;

/// One pass over a tree: where interpolated values come from, and what was wrong so far.
pub(super) struct Reading<'s> {
    pub(super) secrets: &'s dyn Secrets,
    pub(super) problems: Vec<Problem>,
}

impl Reading<'_> {
    /// A name of something: never interpolated, never empty.
    pub(super) fn name(&mut self, what: &str, node: &Node) -> Option<Located<String>> {
        let text = self.text(what, node)?;
        let value = interpolate::literal(what, text, node.place, &mut self.problems)?;
        if value.is_empty() || value.chars().any(char::is_control) {
            let message = format!("{what} must be a name of visible characters");
            self.invalid(node.place, message);
            return None;
        }
        let place = node.place;
        Some(Located { value, place })
    }

    /// A list of at least one name, without repetition.
    pub(super) fn names(&mut self, what: &str, node: &Node) -> Option<Vec<Located<String>>> {
        let Content::List(items) = &node.content else {
            let message = format!("{what} must be a list of names, found {}", node.kind());
            let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
            self.problems.push(match node.text() {
                Some(text) if !text.contains("${") => problem.hint(format!("Write `[{text}]`.")),
                Some(_) | None => problem,
            });
            return None;
        };
        if items.is_empty() {
            self.invalid(node.place, format!("{what} must name at least one field"));
            return None;
        }
        if items.len() > KEY_FIELDS_MAX {
            let found = items.len();
            let message = format!("{what} names {found} fields, the limit is {KEY_FIELDS_MAX}");
            self.invalid(node.place, message);
            return None;
        }
        let mut names: Vec<Located<String>> = Vec::new();
        for item in items {
            let Some(name) = self.name(what, item) else {
                continue;
            };
            if names.iter().any(|earlier| earlier.value == name.value) {
                let message = format!("{what} names `{}` twice", name.value);
                let problem = Problem::error(Code::NAME_DUPLICATE, message);
                self.problems.push(problem.place(Some(name.place)));
            } else {
                names.push(name);
            }
        }
        (!names.is_empty()).then_some(names)
    }

    /// A value that may be interpolated, and then must not be shown.
    pub(super) fn setting(&mut self, what: &str, node: &Node) -> Option<Located<Secret<String>>> {
        let text = self.text(what, node)?;
        let value = interpolate::fill(text, node.place, self.secrets, &mut self.problems)?;
        let place = node.place;
        Some(Located { value, place })
    }

    /// The optional key of a map as a duration.
    pub(super) fn duration(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let bounds = (
            quantity::show_duration(*range.start()),
            quantity::show_duration(*range.end()),
        );
        let form = "a duration such as `500ms`, `5s`, `2m`";
        self.number(
            fields.optional(key)?,
            key,
            form,
            quantity::duration,
            range,
            bounds,
        )
    }

    /// The optional key of a map as a whole number.
    pub(super) fn count(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        range: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let bounds = (range.start(), range.end());
        let form = "a whole number";
        self.number(
            fields.optional(key)?,
            key,
            form,
            quantity::count,
            range,
            bounds,
        )
    }

    fn number<T: PartialOrd>(
        &mut self,
        node: &Node,
        key: &str,
        form: &str,
        parse: fn(&str) -> Option<T>,
        range: &RangeInclusive<T>,
        (least, most): (impl Display, impl Display),
    ) -> Option<T> {
        let what = format!("`{key}`");
        let text = self.setting(&what, node)?.value;
        let value = parse(text.expose());
        match value {
            None => self.invalid(node.place, format!("{what} must be {form}, found `{text}`")),
            Some(ref value) if !range.contains(value) => {
                let message = format!("{what} must be from {least} to {most}, found `{text}`");
                self.invalid(node.place, message);
            }
            Some(_) => return value,
        }
        None
    }

    pub(super) fn invalid(&mut self, place: Place, message: impl Into<String>) {
        let problem = Problem::error(Code::VALUE_INVALID, message);
        self.problems.push(problem.place(Some(place)));
    }

    /// The text of a scalar.
    pub(super) fn text<'n>(&mut self, what: &str, node: &'n Node) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            let message = format!("{what} must be a single value, found {}", node.kind());
            self.invalid(node.place, message);
        }
        text
    }
}
