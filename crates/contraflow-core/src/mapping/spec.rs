//! Operations as typed: what the change file says, before any schema is looked at.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::change::node::{Content, Fields, Node, nearest};
use crate::code::Code;
use crate::codec::text;
use crate::error::{Place, Problem};
use crate::mapping::ops::{self, Operation};
#[cfg(feature = "expr")]
use crate::shape::Field;
use crate::shape::Type;
use crate::shape::word::WORDS;
use crate::value::Value;

/// One operation of a change file, parsed.
#[derive(Clone, Debug)]
pub struct OpSpec {
    /// Where it stands.
    pub place: Place,
    /// Its word.
    pub name: &'static str,
    /// The same for every layout that says the same.
    pub(super) canonical: String,
    pub(super) operation: Arc<dyn Operation>,
}

/// Reads a list of operations, each a map of one key: the operation's word.
///
/// Everything that is wrong is reported; operations that are wrong are left out.
pub fn parse(node: &Node, problems: &mut Vec<Problem>) -> Vec<OpSpec> {
    let items = match &node.content {
        Content::List(items) => items.as_slice(),
        Content::Null => &[],
        _ => {
            refuse(
                node,
                "a mapping must be a list of operations",
                None,
                problems,
            );
            &[]
        }
    };
    items
        .iter()
        .filter_map(|item| operation(item, problems))
        .collect()
}

fn operation(node: &Node, problems: &mut Vec<Problem>) -> Option<OpSpec> {
    let Content::Map(entries) = &node.content else {
        let message = format!(
            "an operation must be a map of one key, found {}",
            node.kind()
        );
        refuse(node, &message, None, problems);
        return None;
    };
    let [(name, settings)] = entries.as_slice() else {
        let hint = "Start each operation with its own `-`.";
        refuse(
            node,
            "an operation must be a map of one key",
            Some(hint),
            problems,
        );
        return None;
    };
    let Some((word, read)) = ops::OPERATIONS.iter().find(|(word, _)| *word == name.text) else {
        let words: Vec<&str> = ops::OPERATIONS.iter().map(|(word, _)| *word).collect();
        let message = format!("there is no operation `{}`", name.text);
        let hint = match nearest(&name.text, &words) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("Operations: {}.", words.join(", ")),
        };
        let problem = Problem::error(Code::KEY_UNKNOWN, message).place(Some(name.place));
        problems.push(problem.hint(hint));
        return None;
    };
    let mut settings = Settings::of(settings, word, problems)?;
    let operation = read(&mut settings);
    settings.finish();
    Some(OpSpec {
        place: name.place,
        name: word,
        canonical: canonical(node),
        operation: operation?,
    })
}

/// Reports that a node has the wrong form.
pub(super) fn refuse(node: &Node, message: &str, hint: Option<&str>, problems: &mut Vec<Problem>) {
    let mut problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
    problem.hint = hint.map(str::to_owned);
    problems.push(problem);
}

/// The settings of one operation, read by type.
pub(super) struct Settings<'n, 'p> {
    fields: Fields<'n>,
    word: &'n str,
    problems: &'p mut Vec<Problem>,
}

impl<'n, 'p> Settings<'n, 'p> {
    pub(super) fn of(
        node: &'n Node,
        word: &'n str,
        problems: &'p mut Vec<Problem>,
    ) -> Option<Settings<'n, 'p>> {
        let fields = Fields::of(node, word, problems)?;
        Some(Settings {
            fields,
            word,
            problems,
        })
    }

    fn finish(self) {
        self.fields.finish(self.problems);
    }

    pub(super) fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    /// Reports that settings contradict each other.
    pub(super) fn invalid(&mut self, message: &str) {
        let problem = Problem::error(Code::OPERATION_INVALID, message);
        self.problems.push(problem.place(Some(self.fields.place())));
    }

    /// Any optional setting, unread.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.fields.optional(key)
    }

    /// Any required setting, unread.
    pub(super) fn required(&mut self, key: &'static str) -> Option<&'n Node> {
        self.fields.required(key, self.problems)
    }

    /// A required text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let node = self.required(key)?;
        self.text_of(node, key)
    }

    /// An optional text; `None` in the outer place is a text of the wrong form.
    pub(super) fn maybe_text(&mut self, key: &'static str) -> Option<Option<String>> {
        match self.node(key) {
            Some(node) => self.text_of(node, key).map(Some),
            None => Some(None),
        }
    }

    fn text_of(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            let message = format!(
                "`{key}` of {} must be a text, found {}",
                self.word,
                node.kind()
            );
            refuse(node, &message, None, self.problems);
        }
        text
    }

    /// A required list of texts, or one text alone.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.required(key)?;
        let Content::List(items) = &node.content else {
            return self.text_of(node, key).map(|text| vec![text]);
        };
        if items.is_empty() {
            let message = format!("`{key}` of {} must not be empty", self.word);
            refuse(node, &message, None, self.problems);
            return None;
        }
        let texts: Vec<_> = items.iter().map(|item| self.text_of(item, key)).collect();
        texts.into_iter().collect()
    }

    /// A required map of words to texts, in the order written.
    pub(super) fn pairs(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        let node = self.required(key)?;
        self.pairs_of(node, key)
    }

    fn pairs_of(&mut self, node: &Node, key: &str) -> Option<Vec<(String, String)>> {
        let Content::Map(entries) = &node.content else {
            let message = format!(
                "`{key}` of {} must be a map, found {}",
                self.word,
                node.kind()
            );
            refuse(node, &message, None, self.problems);
            return None;
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (name, node) in entries {
            pairs.push((name.text.clone(), self.text_of(node, &name.text)?));
        }
        Some(pairs)
    }

    /// A required map of field names to types, where a question mark allows null.
    #[cfg(feature = "expr")]
    pub(super) fn typed_fields(&mut self, key: &'static str) -> Option<Vec<Field>> {
        let node = self.required(key)?;
        let pairs = self.pairs_of(node, key)?;
        let fields = pairs.into_iter().map(|(name, word)| {
            let plain = word.trim_end_matches('?');
            let ty = self.type_of(node, plain)?;
            Some(Field {
                nullable: plain != word,
                ..Field::required(&name, ty)
            })
        });
        fields.collect()
    }

    /// An optional map of words to texts; empty when it is not there.
    #[cfg(feature = "expr")]
    pub(super) fn maybe_pairs(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        match self.node(key) {
            Some(node) => self.pairs_of(node, key),
            None => Some(Vec::new()),
        }
    }

    /// `true` or `false`, with a default.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Option<bool> {
        let Some(node) = self.node(key) else {
            return Some(default);
        };
        match &node.content {
            Content::Plain(text) if text == "true" => Some(true),
            Content::Plain(text) if text == "false" => Some(false),
            _ => {
                let message = format!("`{key}` of {} must be `true` or `false`", self.word);
                refuse(node, &message, None, self.problems);
                None
            }
        }
    }

    /// A required type.
    pub(super) fn ty(&mut self, key: &'static str) -> Option<Type> {
        let node = self.required(key)?;
        let word = self.text_of(node, key)?;
        self.type_of(node, &word)
    }

    fn type_of(&mut self, node: &Node, word: &str) -> Option<Type> {
        let ty = Type::parse(word);
        if ty.is_none() {
            let hint = match nearest(word, WORDS) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!(
                    "Types: {}, `list of T`, `record(a T, b T?)`.",
                    WORDS.join(", ")
                ),
            };
            let message = format!("`{word}` is not a type");
            refuse(node, &message, Some(&hint), self.problems);
        }
        ty
    }

    /// An optional value of a type; `None` in the outer place is a value of another type.
    pub(super) fn value(&mut self, key: &'static str, ty: &Type) -> Option<Option<Value>> {
        let Some(node) = self.node(key) else {
            return Some(None);
        };
        let value = value_of(node, ty);
        if value.is_none() {
            let message = format!("`{key}` of {} must be of type {}", self.word, ty.name());
            refuse(node, &message, None, self.problems);
        }
        value.map(Some)
    }
}

/// A literal of the given type.
pub(super) fn value_of(node: &Node, ty: &Type) -> Option<Value> {
    match (&node.content, ty) {
        (Content::Null, _) => Some(Value::Null),
        (Content::Plain(text), Type::Any) => Some(match text.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Text(text.clone()),
        }),
        (Content::Plain(literal) | Content::Quoted(literal), _) => {
            text::from_text(literal, ty).ok()
        }
        (Content::List(items), Type::List(item)) => {
            let items = items.iter().map(|node| value_of(node, item));
            items.collect::<Option<_>>().map(Value::List)
        }
        (Content::List(_) | Content::Map(_), _) => None,
    }
}

/// The node without its layout: keys of maps in order, texts with their lengths.
fn canonical(node: &Node) -> String {
    let mut out = String::new();
    write_canonical(node, &mut out);
    out
}

fn write_canonical(node: &Node, out: &mut String) {
    let mut scalar = |text: &str| {
        write!(out, "{}:{text}", text.len()).expect("a string takes all text");
    };
    match &node.content {
        Content::Null => out.push('~'),
        Content::Plain(text) | Content::Quoted(text) => scalar(text),
        Content::List(items) => {
            out.push('[');
            items.iter().for_each(|item| write_canonical(item, out));
            out.push(']');
        }
        Content::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.text.cmp(&b.text));
            out.push('{');
            for (name, node) in entries {
                write!(out, "{}:{}", name.text.len(), name.text).expect("a string takes all text");
                write_canonical(node, out);
            }
            out.push('}');
        }
    }
}
