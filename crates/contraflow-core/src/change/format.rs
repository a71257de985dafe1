//! What the payloads of a topic are, as declared.

use super::node::{Content, Fields, Node};
use super::reading::Reading;
use crate::code::Code;
use crate::error::Problem;
use crate::shape::Field;
use crate::side::Side;

/// What the payloads of a pair of topics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Bytes that nobody looks into, for a mapping that changes nothing.
    Raw,
    /// JSON objects with these members, and others that nobody declared.
    Json {
        /// Those of the old topic.
        old: Vec<Field>,
        /// Those of the new topic.
        new: Vec<Field>,
    },
}

impl Format {
    /// The members of a side, where there are any.
    #[must_use]
    pub fn fields(&self, side: Side) -> Option<&[Field]> {
        match (self, side) {
            (Format::Raw, _) => None,
            (Format::Json { old, .. }, Side::Old) => Some(old),
            (Format::Json { new, .. }, Side::New) => Some(new),
        }
    }
}

impl Reading<'_> {
    /// `raw`, or `{json: {old: {name: type}, new: {name: type}}}`.
    pub(super) fn format(&mut self, node: &Node) -> Option<Format> {
        if let Some(word) = node.text() {
            if word == "raw" {
                return Some(Format::Raw);
            }
            let message = format!("`payload` cannot be `{word}`");
            let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
            let hint =
                "Write `raw`, or `{json: {old: {..}, new: {..}}}` with a type for each field.";
            self.problems.push(problem.hint(hint));
            return None;
        }
        let mut fields = Fields::of(node, "`payload`", &mut self.problems)?;
        let json = fields.required("json", &mut self.problems);
        fields.finish(&mut self.problems);
        let mut fields = Fields::of(json?, "`json`", &mut self.problems)?;
        let old = fields.required("old", &mut self.problems);
        let old = old.and_then(|node| self.members("the old payload", node));
        let new = fields.required("new", &mut self.problems);
        let new = new.and_then(|node| self.members("the new payload", node));
        fields.finish(&mut self.problems);
        Some(Format::Json {
            old: old?,
            new: new?,
        })
    }

    /// A map of names to types.
    fn members(&mut self, what: &str, node: &Node) -> Option<Vec<Field>> {
        Fields::of(node, what, &mut self.problems)?;
        let Content::Map(entries) = &node.content else {
            return None;
        };
        let mut members = Vec::new();
        for (name, word) in entries {
            let Some(text) = self.text(&format!("the type of `{}`", name.text), word) else {
                continue;
            };
            match Field::parse(&name.text, text) {
                Some(member) => members.push(member),
                None => {
                    let message = format!("`{text}` is not a type, for `{}`", name.text);
                    self.invalid(word.place, message);
                }
            }
        }
        Some(members)
    }
}
