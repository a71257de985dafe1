//! Avro: schemas, bytes read with the schema of their writer, and bytes written.
//!
//! Avro forgets: a reader's schema drops what it does not know, an enum's default stands for any
//! symbol, and a long becomes the nearest float. Nothing of that happens here. Bytes are read with
//! the writer's schema, [`Plan`] puts what both schemas know into the reader's places and keeps the
//! rest as extras, and a value that the specification would change is refused instead.
//!
//! Schemas and bytes come from elsewhere and may be hostile: nesting, counts and lengths have
//! limits, and nothing is reserved before it has been read. A schema that contains itself has no
//! finite type and is refused where it is used, not where it is parsed.

mod default;
mod logical;
mod parse;
mod read;
mod resolve;
mod typed;
mod write;

pub use resolve::Plan;

use std::fmt;

use crate::shape::TimeUnit;
use crate::value::Frame;

/// The longest schema: far above any that people write.
pub const SCHEMA_BYTES_MAX: usize = 4 << 20;

/// How deep types may nest. Each level is a few calls deep on the stack.
pub const DEPTH_MAX: usize = 64;

/// How many types one schema may have when every name is replaced by what it stands for: short
/// schemas can otherwise be of any size.
pub const TYPES_MAX: usize = 20_000;

/// How many items that take no bytes one payload may have: a few bytes could otherwise fill the
/// memory.
pub const EMPTY_ITEMS_MAX: usize = 1 << 16;

/// The longest decimal, as many digits as [`crate::codec::text::SCALE_MAX`] allows.
const DECIMAL_BYTES_MAX: usize = 4_200;

/// Why a schema cannot be used: names of the schema, never values of a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Why bytes could not be read or a value not written. Names the field, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is at fault.
    pub cause: Cause,
    /// The field, from the payload down.
    pub path: String,
    /// What was expected.
    pub reason: &'static str,
}

/// What is at fault when a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The bytes are not Avro of their schema.
    Malformed,
    /// The value is well formed, and has no place where it should go.
    Unfit,
}

impl Fault {
    fn new(cause: Cause, reason: &'static str) -> Fault {
        Fault {
            cause,
            path: String::new(),
            reason,
        }
    }

    fn within(mut self, name: &str) -> Fault {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.insert_str(0, dot);
        self.path.insert_str(0, name);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(self.reason),
            false => write!(f, "`{}`: {}", self.path, self.reason),
        }
    }
}

impl std::error::Error for Fault {}

/// A parsed schema.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Node,
    definitions: Vec<Definition>,
}

/// A type, or the name of one.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(Primitive, Option<Logical>),
    List(Box<Node>),
    Map(Box<Node>),
    Union(Vec<Node>),
    /// A place in [`Schema::definitions`].
    Named(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Primitive {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
}

/// What a primitive or fixed value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logical {
    Decimal { precision: u32, scale: u32 },
    Date,
    Time(TimeUnit),
    Timestamp(Frame, TimeUnit),
    Uuid,
}

/// A type that has a name.
#[derive(Clone, Debug)]
struct Definition {
    /// With its namespace.
    name: String,
    /// Earlier names, with their namespaces.
    aliases: Vec<String>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Record(Vec<Member>),
    Enum(Vec<String>),
    Fixed(usize, Option<Logical>),
}

/// A field of a record.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    aliases: Vec<String>,
    node: Node,
    default: Option<serde_json::Value>,
}

impl Primitive {
    fn name(self) -> &'static str {
        match self {
            Primitive::Null => "null",
            Primitive::Bool => "boolean",
            Primitive::Int => "int",
            Primitive::Long => "long",
            Primitive::Float => "float",
            Primitive::Double => "double",
            Primitive::Bytes => "bytes",
            Primitive::Text => "string",
        }
    }
}

impl Schema {
    /// The name of a type as a branch of a union.
    fn tag<'s>(&'s self, node: &Node) -> &'s str {
        match node {
            Node::Scalar(primitive, _) => primitive.name(),
            Node::List(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Named(at) => &self.definitions[*at].name,
        }
    }

    /// Whether payloads are records, whose fields are those of the row.
    #[must_use]
    pub fn is_record(&self) -> bool {
        self.members().is_some()
    }

    /// The fields of the record that a payload is, when it is one.
    fn members(&self) -> Option<&[Member]> {
        match &self.root {
            Node::Named(at) => match &self.definitions[*at].body {
                Body::Record(members) => Some(members),
                Body::Enum(_) | Body::Fixed(..) => None,
            },
            _ => None,
        }
    }

    /// Whether a union has more than one branch besides null: only then do values say which one
    /// they are.
    fn is_tagged(branches: &[Node]) -> bool {
        branches.iter().filter(|branch| !branch.is_null()).count() > 1
    }
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self, Node::Scalar(Primitive::Null, _))
    }
}

/// The last part of a name.
fn unqualified(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
