//! Operations from one line of YAML in flow style each, and what tests do with mappings.

use contraflow_core::change::node::{Content, Name, Node};
use contraflow_core::error::{Place, Problem};
use contraflow_core::mapping::{Mapped, Mapping, OpSpec, parse};
use contraflow_core::record::{Complement, Image, Row};
use contraflow_core::shape::Shape;
use contraflow_core::side::Direction;
use contraflow_core::value::{Record, Value};

struct Flow<'t> {
    line: u32,
    text: &'t str,
    at: usize,
}

impl Flow<'_> {
    fn place(&self) -> Place {
        Place {
            line: self.line,
            column: self.at as u32 + 1,
        }
    }

    fn peek(&mut self) -> char {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next().unwrap_or('\0')
    }

    fn eat(&mut self, letter: char) {
        assert_eq!(self.peek(), letter, "{}", self.text);
        self.at += letter.len_utf8();
    }

    fn scalar(&mut self) -> Content {
        if self.peek() == '"' {
            let end = self.text[self.at + 1..].find('"').unwrap() + self.at + 1;
            let quoted = self.text[self.at + 1..end].to_owned();
            self.at = end + 1;
            return Content::Quoted(quoted);
        }
        let rest = &self.text[self.at..];
        let end = rest
            .char_indices()
            .find(|(i, letter)| ",}]".contains(*letter) || rest[*i..].starts_with(": "))
            .map_or(rest.len(), |(i, _)| i);
        self.at += end;
        match rest[..end].trim() {
            "null" | "~" => Content::Null,
            plain => Content::Plain(plain.to_owned()),
        }
    }

    fn node(&mut self) -> Node {
        let first = self.peek();
        let place = self.place();
        let content = match first {
            '{' => {
                self.eat('{');
                let mut entries = Vec::new();
                while self.peek() != '}' {
                    let place = self.place();
                    let (Content::Plain(text) | Content::Quoted(text)) = self.scalar() else {
                        panic!("a key")
                    };
                    self.eat(':');
                    entries.push((Name { place, text }, self.node()));
                    if self.peek() == ',' {
                        self.eat(',');
                    }
                }
                self.eat('}');
                Content::Map(entries)
            }
            '[' => {
                self.eat('[');
                let mut items = Vec::new();
                while self.peek() != ']' {
                    items.push(self.node());
                    if self.peek() == ',' {
                        self.eat(',');
                    }
                }
                self.eat(']');
                Content::List(items)
            }
            _ => self.scalar(),
        };
        Node { place, content }
    }
}

/// A list of operations, one per line, in flow style.
pub(crate) fn node(lines: &str) -> Node {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let items = (1..).zip(lines).map(|(line, text)| {
        let text = text.trim_start_matches("- ");
        let braced = format!("{{{text}}}");
        Flow {
            line,
            text: &braced,
            at: 0,
        }
        .node()
    });
    Node {
        place: Place { line: 1, column: 1 },
        content: Content::List(items.collect()),
    }
}

pub(crate) fn ops(lines: &str) -> Vec<OpSpec> {
    let mut problems = Vec::new();
    let ops = parse(&node(lines), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    ops
}

/// A shape from `id int64, name text?`; the first field is the key.
pub(crate) fn shape(fields: &str) -> Shape {
    let contraflow_core::shape::Type::Record(fields) =
        contraflow_core::shape::Type::parse(&format!("record({fields})")).expect(fields)
    else {
        panic!("a record")
    };
    Shape {
        fields,
        key: vec![0],
    }
}

pub(crate) fn key(shape: &Shape) -> Vec<String> {
    shape
        .key
        .iter()
        .map(|&i| shape.fields[i].name.clone())
        .collect()
}

pub(crate) fn check(lines: &str, old: &str, new: Option<&str>) -> Result<Mapping, Vec<Problem>> {
    let (old, new) = (shape(old), new.map(shape));
    Mapping::check(&ops(lines), &old, &key(&old), new.as_ref(), None).map(|(mapping, _)| mapping)
}

pub(crate) fn mapping(lines: &str, old: &str) -> Mapping {
    check(lines, old, None).unwrap()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn int(number: i64) -> Value {
    Value::Int(number)
}

pub(crate) fn record(fields: Vec<Value>) -> Value {
    Value::Record(Box::new(Record {
        fields,
        extras: Vec::new(),
    }))
}

pub(crate) fn list(items: Vec<Value>) -> Value {
    Value::List(items)
}

pub(crate) fn image(row: Vec<Value>) -> Image {
    Image {
        row: Row(row),
        complement: Complement::default(),
    }
}

fn carry(mapping: &Mapping, direction: Direction, image: Image) -> Image {
    let mut out = Vec::new();
    mapping.map(direction, image, &mut out).unwrap();
    let [Mapped { image, .. }] = <[Mapped; 1]>::try_from(out).unwrap();
    image
}

pub(crate) fn up(mapping: &Mapping, image: &Image) -> Image {
    carry(mapping, Direction::Forward, image.clone())
}

pub(crate) fn down(mapping: &Mapping, image: &Image) -> Image {
    carry(mapping, Direction::Reverse, image.clone())
}

/// The same row with one field written by an application; the complement lies where it lay.
pub(crate) fn edit(image: &Image, field: usize, value: Value) -> Image {
    let mut image = image.clone();
    image.row.0[field] = value;
    image
}

/// Rows compare without printing values.
#[track_caller]
pub(crate) fn same(a: &[Value], b: &[Value]) {
    let differing: Vec<usize> = (0..a.len().max(b.len()))
        .filter(|&i| a.get(i) != b.get(i))
        .collect();
    assert!(
        differing.is_empty(),
        "fields {differing:?} differ: {a:?} and {b:?}"
    );
}
