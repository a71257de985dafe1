//! A change file as a tree whose every node knows its line and column, and a reader that collects
//! all problems instead of stopping at the first.

use std::collections::BTreeSet;

use crate::code::Code;
use crate::error::{Place, Problem};

/// One node of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is. Scalars keep their text, so that numbers keep their digits.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// A plain (unquoted) scalar: a word, a number, `true`.
    Plain(String),
    /// A quoted or block scalar: always text.
    Quoted(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<(Name, Node)>),
}

/// A key of a mapping, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// Where it starts.
    pub place: Place,
    /// The key.
    pub text: String,
}

impl Node {
    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Plain(text) | Content::Quoted(text) => Some(text),
            Content::Null | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// What the node is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Plain(_) => "a word or number",
            Content::Quoted(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

/// Reads the keys of one map node. Keys that nobody asked for are reported by [`Fields::finish`].
pub struct Fields<'n> {
    what: &'n str,
    place: Place,
    entries: &'n [(Name, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Starts to read a map node; anything else is a problem.
    pub fn of(node: &'n Node, what: &'n str, problems: &mut Vec<Problem>) -> Option<Fields<'n>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("{what} must be a map, found {}", node.kind());
            problems.push(Problem::error(Code::VALUE_INVALID, message).place(Some(node.place)));
            return None;
        };
        let mut seen = BTreeSet::new();
        for (name, _) in entries {
            if !seen.insert(name.text.as_str()) {
                let message = format!("key `{}` is given twice in {what}", name.text);
                let problem = Problem::error(Code::NAME_DUPLICATE, message);
                problems.push(problem.place(Some(name.place)));
            }
        }
        Some(Fields {
            what,
            place: node.place,
            entries,
            known: Vec::new(),
        })
    }

    /// Where the map starts.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The value of an optional key.
    pub fn optional(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries
            .iter()
            .find(|(name, _)| name.text == key)
            .map(|(_, node)| node)
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<&'n Node> {
        let found = self.optional(key);
        if found.is_none() {
            let message = format!("{} lacks the key `{key}`", self.what);
            problems.push(Problem::error(Code::KEY_MISSING, message).place(Some(self.place)));
        }
        found
    }

    /// Reports every key that was not asked for, with the nearest one that exists.
    pub fn finish(self, problems: &mut Vec<Problem>) {
        for (name, _) in self.entries {
            if self.known.contains(&name.text.as_str()) {
                continue;
            }
            let message = format!("{} has no key `{}`", self.what, name.text);
            let problem = Problem::error(Code::KEY_UNKNOWN, message).place(Some(name.place));
            problems.push(match nearest(&name.text, &self.known) {
                Some(near) => problem.hint(format!("Did you mean `{near}`?")),
                None => problem.hint(format!("Known keys: {}.", self.known.join(", "))),
            });
        }
    }
}

/// The known word nearest to a mistyped one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's edit distance over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
