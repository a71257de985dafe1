//! The JSON text of a schema, with the names it defines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::{
    Body, Definition, Logical, Member, Node, Primitive, SCHEMA_BYTES_MAX, Schema, Unusable,
};
use crate::shape::TimeUnit;
use crate::value::Frame;

type Result<T> = std::result::Result<T, Unusable>;

impl Schema {
    /// Parses a schema. `references` are the schemas whose names it uses, each after those that it
    /// uses itself.
    pub fn parse(text: &str, references: &[impl AsRef<str>]) -> Result<Schema> {
        let mut parser = Parser::default();
        for reference in references {
            parser.text(reference.as_ref())?;
        }
        let root = parser.text(text)?;
        let mut definitions = Vec::with_capacity(parser.definitions.len());
        for definition in parser.definitions {
            definitions.push(definition.expect("a name is given before its type is read"));
        }
        Ok(Schema { root, definitions })
    }
}

#[derive(Default)]
struct Parser {
    /// The places of names among the definitions.
    places: BTreeMap<String, usize>,
    /// What names stand for, once it has been read.
    definitions: Vec<Option<Definition>>,
}

fn unusable<T>(what: impl Into<String>) -> Result<T> {
    Err(Unusable(what.into()))
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<Node> {
        if text.len() > SCHEMA_BYTES_MAX {
            return unusable("the schema is longer than 4 MiB");
        }
        let json: Json = serde_json::from_str(text).map_err(|fault| {
            let (line, column) = (fault.line(), fault.column());
            Unusable(format!(
                "the schema is not JSON, at line {line}, column {column}"
            ))
        })?;
        self.node(&json, "")
    }

    fn node(&mut self, json: &Json, space: &str) -> Result<Node> {
        match json {
            Json::String(name) => match primitive(name) {
                Some(primitive) => Ok(Node::Scalar(primitive, None)),
                None => self.reference(name, space),
            },
            Json::Array(branches) => self.union(branches, space),
            Json::Object(object) => self.object(object, space),
            _ => unusable("a type is neither a name, a list nor an object"),
        }
    }

    fn reference(&self, name: &str, space: &str) -> Result<Node> {
        let full = full(name, space);
        match self.places.get(&full).or_else(|| self.places.get(name)) {
            Some(at) => Ok(Node::Named(*at)),
            None => unusable(format!("`{full}` is not defined")),
        }
    }

    fn union(&mut self, branches: &[Json], space: &str) -> Result<Node> {
        let mut nodes: Vec<Node> = Vec::with_capacity(branches.len());
        for branch in branches {
            let node = self.node(branch, space)?;
            if matches!(node, Node::Union(_)) {
                return unusable("a union is a branch of another one");
            }
            if nodes.iter().any(|earlier| same_branch(earlier, &node)) {
                return unusable("a union has two branches of one type");
            }
            nodes.push(node);
        }
        Ok(Node::Union(nodes))
    }

    fn object(&mut self, object: &Map<String, Json>, space: &str) -> Result<Node> {
        let word = match object.get("type") {
            Some(Json::String(word)) => word.as_str(),
            Some(nested) => return self.node(nested, space),
            None => return unusable("a type has no `type`"),
        };
        let inner = |key: &str| match object.get(key) {
            Some(json) => Ok(json),
            None => unusable(format!("an {word} has no `{key}`")),
        };
        match word {
            "array" => Ok(Node::List(Box::new(self.node(inner("items")?, space)?))),
            "map" => Ok(Node::Map(Box::new(self.node(inner("values")?, space)?))),
            "record" | "error" | "enum" | "fixed" => self.define(word, object, space),
            _ => match primitive(word) {
                Some(primitive) => {
                    let logical = logical(object, primitive, None);
                    Ok(Node::Scalar(primitive, logical))
                }
                None => self.reference(word, space),
            },
        }
    }

    fn define(&mut self, word: &str, object: &Map<String, Json>, space: &str) -> Result<Node> {
        let Some(Json::String(name)) = object.get("name") else {
            return unusable(format!("a {word} has no `name`"));
        };
        let space = match object.get("namespace") {
            Some(Json::String(own)) => own.as_str(),
            _ => space,
        };
        let name = full(name, space);
        check_name(&name)?;
        let at = self.definitions.len();
        if primitive(&name).is_some() || self.places.insert(name.clone(), at).is_some() {
            return unusable(format!("`{name}` is defined twice"));
        }
        let space = name
            .rsplit_once('.')
            .map_or("", |(space, _)| space)
            .to_owned();
        let aliases = texts(object, "aliases")?;
        let aliases = aliases.iter().map(|alias| full(alias, &space)).collect();
        self.definitions.push(None);
        let body = match word {
            "enum" => enumeration(object, &name)?,
            "fixed" => fixed(object, &name)?,
            _ => Body::Record(self.members(object, &name, &space)?),
        };
        self.definitions[at] = Some(Definition {
            name,
            aliases,
            body,
        });
        Ok(Node::Named(at))
    }

    fn members(
        &mut self,
        object: &Map<String, Json>,
        record: &str,
        space: &str,
    ) -> Result<Vec<Member>> {
        let Some(Json::Array(fields)) = object.get("fields") else {
            return unusable(format!("`{record}` has no `fields`"));
        };
        let mut members: Vec<Member> = Vec::with_capacity(fields.len());
        let mut met = BTreeSet::new();
        for field in fields {
            let (Some(Json::String(name)), Some(ty)) = (field.get("name"), field.get("type"))
            else {
                return unusable(format!("a field of `{record}` has no `name` or no `type`"));
            };
            check_name(name)?;
            if !met.insert(name) {
                return unusable(format!("`{record}` has two fields `{name}`"));
            }
            let aliases = field
                .as_object()
                .map_or(Ok(Vec::new()), |f| texts(f, "aliases"))?;
            members.push(Member {
                name: name.clone(),
                aliases,
                node: self.node(ty, space)?,
                default: field.get("default").cloned(),
            });
        }
        Ok(members)
    }
}

fn enumeration(object: &Map<String, Json>, name: &str) -> Result<Body> {
    if !object.contains_key("symbols") {
        return unusable(format!("`{name}` has no `symbols`"));
    }
    let symbols = texts(object, "symbols")?;
    let mut met = BTreeSet::new();
    for symbol in &symbols {
        check_name(symbol)?;
        if !met.insert(symbol) {
            return unusable(format!("`{name}` has two symbols `{symbol}`"));
        }
    }
    Ok(Body::Enum(symbols))
}

fn fixed(object: &Map<String, Json>, name: &str) -> Result<Body> {
    let size = object.get("size").and_then(Json::as_u64);
    let size = size.and_then(|size| usize::try_from(size).ok());
    match size {
        Some(size) => Ok(Body::Fixed(
            size,
            logical(object, Primitive::Bytes, Some(size)),
        )),
        None => unusable(format!("`{name}` has no `size`")),
    }
}

fn texts(object: &Map<String, Json>, key: &str) -> Result<Vec<String>> {
    let texts = match object.get(key) {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)),
        Some(_) => return unusable(format!("`{key}` is not a list")),
    };
    let texts: Option<Vec<String>> = texts.collect();
    texts.ok_or_else(|| Unusable(format!("`{key}` has an item that is not text")))
}

fn primitive(name: &str) -> Option<Primitive> {
    Some(match name {
        "null" => Primitive::Null,
        "boolean" => Primitive::Bool,
        "int" => Primitive::Int,
        "long" => Primitive::Long,
        "float" => Primitive::Float,
        "double" => Primitive::Double,
        "bytes" => Primitive::Bytes,
        "string" => Primitive::Text,
        _ => return None,
    })
}

/// What a type is said to mean. Words that are not known or do not fit the type mean nothing, as
/// the specification has it. `size` is that of a fixed type.
fn logical(
    object: &Map<String, Json>,
    primitive: Primitive,
    size: Option<usize>,
) -> Option<Logical> {
    let word = object.get("logicalType")?.as_str()?;
    let timestamp = |frame, unit| Some(Logical::Timestamp(frame, unit));
    match (word, primitive) {
        ("decimal", Primitive::Bytes) => decimal(object, size),
        ("uuid", Primitive::Bytes) if size == Some(16) => Some(Logical::Uuid),
        ("uuid", Primitive::Text) => Some(Logical::Uuid),
        ("date", Primitive::Int) => Some(Logical::Date),
        ("time-millis", Primitive::Int) => Some(Logical::Time(TimeUnit::Millis)),
        ("time-micros", Primitive::Long) => Some(Logical::Time(TimeUnit::Micros)),
        ("timestamp-millis", Primitive::Long) => timestamp(Frame::Instant, TimeUnit::Millis),
        ("timestamp-micros", Primitive::Long) => timestamp(Frame::Instant, TimeUnit::Micros),
        ("timestamp-nanos", Primitive::Long) => timestamp(Frame::Instant, TimeUnit::Nanos),
        ("local-timestamp-millis", Primitive::Long) => timestamp(Frame::Local, TimeUnit::Millis),
        ("local-timestamp-micros", Primitive::Long) => timestamp(Frame::Local, TimeUnit::Micros),
        ("local-timestamp-nanos", Primitive::Long) => timestamp(Frame::Local, TimeUnit::Nanos),
        _ => None,
    }
}

fn decimal(object: &Map<String, Json>, size: Option<usize>) -> Option<Logical> {
    let number = |key: &str| u32::try_from(object.get(key)?.as_u64()?).ok();
    let precision = number("precision").filter(|precision| *precision > 0)?;
    let scale = match object.contains_key("scale") {
        true => number("scale")?,
        false => 0,
    };
    // As many digits as surely fit: log10(2) is a little above 0.30103.
    let fits = size.is_none_or(|size| {
        let digits = (size as u64)
            .saturating_mul(8)
            .saturating_sub(1)
            .saturating_mul(30_103);
        u64::from(precision) <= digits / 100_000
    });
    (scale <= precision && fits).then_some(Logical::Decimal { precision, scale })
}

/// Whether two branches could not be told apart. Meaning does not count.
fn same_branch(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Scalar(one, _), Node::Scalar(other, _)) => one == other,
        (Node::List(_), Node::List(_)) | (Node::Map(_), Node::Map(_)) => true,
        (Node::Named(one), Node::Named(other)) => one == other,
        _ => false,
    }
}

/// A name with the namespace that it stands in.
fn full(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.to_owned(),
        false => format!("{space}.{name}"),
    }
}

fn check_name(name: &str) -> Result<()> {
    let well = |part: &str| {
        let first = part.bytes().next();
        first.is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match name.split('.').all(well) {
        true => Ok(()),
        false => unusable("a name has other letters than A to Z, digits and `_`"),
    }
}
