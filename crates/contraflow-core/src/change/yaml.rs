//! YAML text to a tree of located nodes.
//!
//! Only what a change file needs is read: one document of maps, lists and scalars. Anchors,
//! aliases and tags are refused, so a file means what it shows, and a small file cannot unfold
//! into a large one. Scalars keep their text; no number passes through a float.

use std::iter::Peekable;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::node::{Content, Name, Node};
use crate::code::Code;
use crate::error::{Place, Problem};

/// The largest file that is read: a hundred times the longest change anybody wrote by hand.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The deepest nesting that is read: the recursion of every reader of the tree is bounded by it.
pub const DEPTH_MAX: usize = 64;

/// Reads the one document of a change file.
///
/// # Errors
///
/// The first place where the text is not YAML, or not the part of YAML that is read here.
pub fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > FILE_BYTES_MAX {
        let (found, limit) = (text.len(), FILE_BYTES_MAX);
        let message = format!("the change file has {found} bytes, the limit is {limit} bytes");
        return Err(Problem::error(Code::FILE_SYNTAX, message));
    }
    Reader::new(text.strip_prefix('\u{feff}').unwrap_or(text)).document()
}

type Step<'t> = (Event<'t>, Span);

struct Reader<'t, I: Iterator<Item = Result<Step<'t>, ScanError>>> {
    events: Peekable<I>,
    end: Place,
}

impl<'t> Reader<'t, std::iter::Empty<Result<Step<'t>, ScanError>>> {
    fn new(text: &'t str) -> Reader<'t, impl Iterator<Item = Result<Step<'t>, ScanError>>> {
        let line = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
        Reader {
            events: Parser::new_from_str(text).peekable(),
            end: Place { line, column: 1 },
        }
    }
}

impl<'t, I: Iterator<Item = Result<Step<'t>, ScanError>>> Reader<'t, I> {
    fn document(mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(refuse(place(span.start), "a second document is not read"));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    return Err(refuse(
                        place(span.start),
                        "the document has ended before this",
                    ));
                }
            }
        }
        root.ok_or_else(|| refuse(self.end, "the change file is empty"))
    }

    fn next(&mut self) -> Result<Step<'t>, Problem> {
        match self.events.next() {
            Some(Ok(step)) => Ok(step),
            Some(Err(error)) => {
                let message = format!("the change file is not YAML: {}", error.info());
                Err(refuse(place(*error.marker()), message))
            }
            None => Err(refuse(self.end, "the change file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        let place = place(span.start);
        if depth >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} levels of nesting");
            return Err(refuse(place, message));
        }
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                plain_yaml(place, anchor, tag.is_some())?;
                scalar(text.into_owned(), style)
            }
            Event::SequenceStart(anchor, tag) => {
                plain_yaml(place, anchor, tag.is_some())?;
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                plain_yaml(place, anchor, tag.is_some())?;
                self.map(depth)?
            }
            Event::Alias(_) => return Err(refuse(place, "aliases (`*name`) are not read")),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(refuse(place, "a value is missing here")),
        };
        Ok(Node { place, content })
    }

    fn list(&mut self, depth: usize) -> Result<Content, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, Problem> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let name = match key.content {
                Content::Plain(text) | Content::Quoted(text) => Name {
                    place: key.place,
                    text,
                },
                Content::Null | Content::List(_) | Content::Map(_) => {
                    return Err(refuse(key.place, "a key must be a word"));
                }
            };
            let (event, span) = self.next()?;
            entries.push((name, self.node(event, span, depth + 1)?));
        }
    }
}

fn scalar(text: String, style: ScalarStyle) -> Content {
    match style {
        ScalarStyle::Plain => match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Content::Null,
            _ => Content::Plain(text),
        },
        ScalarStyle::SingleQuoted
        | ScalarStyle::DoubleQuoted
        | ScalarStyle::Literal
        | ScalarStyle::Folded => Content::Quoted(text),
    }
}

fn plain_yaml(place: Place, anchor: usize, tagged: bool) -> Result<(), Problem> {
    if anchor != 0 {
        return Err(refuse(place, "anchors (`&name`) are not read")
            .hint("Write the value out where it is needed."));
    }
    if tagged {
        return Err(
            refuse(place, "tags (`!name`) are not read").hint("Quote the value to make it a text.")
        );
    }
    Ok(())
}

fn refuse(place: Place, message: impl Into<String>) -> Problem {
    Problem::error(Code::FILE_SYNTAX, message).place(Some(place))
}

/// The parser counts lines from 1 and columns from 0.
fn place(mark: Marker) -> Place {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Place {
        line: count(mark.line()),
        column: count(mark.col().saturating_add(1)),
    }
}

#[cfg(test)]
mod tests;
