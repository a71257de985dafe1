//! Who is known to read the old topics, as declared.

use super::node::{Content, Fields, Node};
use super::reading::Reading;
use super::spec::Located;
use crate::code::Code;
use crate::codec::text::{from_text, to_text};
use crate::error::Problem;
use crate::shape::Type;
use crate::value::Value;

/// The most consumers of one change: more than any topic has.
pub const CONSUMERS_MAX: usize = 1_000;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A reader of the old topics that has to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its consumer group.
    pub group: String,
    /// Whom to ask.
    pub owner: Option<String>,
    /// The day by whose end it has to have moved.
    pub deadline: Option<Day>,
}

/// A day of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(i32);

impl Day {
    fn read(text: &str) -> Option<Day> {
        match from_text(text, &Type::Date).ok()? {
            Value::Date(days) => Some(Day(days)),
            _ => None,
        }
    }

    /// When it ends, in milliseconds since 1970.
    #[must_use]
    pub fn end_ms(self) -> i64 {
        (i64::from(self.0) + 1) * DAY_MS
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_text(&Value::Date(self.0)).unwrap_or_default())
    }
}

impl Reading<'_> {
    /// A list of `{ group: name, owner: name, deadline: 2026-12-31 }`.
    pub(super) fn consumers(&mut self, node: &Node) -> Vec<Consumer> {
        let Content::List(items) = &node.content else {
            let message = format!("`consumers` must be a list, found {}", node.kind());
            self.invalid(node.place, message);
            return Vec::new();
        };
        if items.len() > CONSUMERS_MAX {
            let found = items.len();
            let message = format!("`consumers` holds {found} items, the limit is {CONSUMERS_MAX}");
            self.invalid(node.place, message);
        }
        let mut consumers: Vec<Consumer> = Vec::new();
        for item in items.iter().take(CONSUMERS_MAX) {
            let Some(Located { value, place }) = self.consumer(item) else {
                continue;
            };
            if consumers.iter().any(|earlier| earlier.group == value.group) {
                let message = format!("group `{}` is declared twice", value.group);
                let problem = Problem::error(Code::NAME_DUPLICATE, message);
                self.problems.push(problem.place(Some(place)));
            } else {
                consumers.push(value);
            }
        }
        consumers
    }

    fn consumer(&mut self, node: &Node) -> Option<Located<Consumer>> {
        let mut fields = Fields::of(node, "a consumer", &mut self.problems)?;
        let group = fields.required("group", &mut self.problems);
        let owner = fields.optional("owner");
        let deadline = fields.optional("deadline");
        fields.finish(&mut self.problems);
        let group = self.name("the consumer's group", group?)?;
        let owner = owner.and_then(|node| self.name("the consumer's owner", node));
        let deadline = deadline.and_then(|node| self.day(node));
        let value = Consumer {
            group: group.value,
            owner: owner.map(|owner| owner.value),
            deadline,
        };
        let place = node.place;
        Some(Located { value, place })
    }

    fn day(&mut self, node: &Node) -> Option<Day> {
        let text = self.text("`deadline`", node)?;
        let day = Day::read(text);
        if day.is_none() {
            let message = format!("`deadline` must be a day such as `2026-12-31`, found `{text}`");
            self.invalid(node.place, message);
        }
        day
    }
}
