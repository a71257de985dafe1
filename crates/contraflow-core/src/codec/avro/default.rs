//! Defaults of fields, from the JSON that stands for them in a schema.

use serde_json::Value as Json;

use super::logical::{Raw, meaning};
use super::{Body, DEPTH_MAX, Member, Node, Primitive, Schema};
use crate::value::{Record, Value};

impl Schema {
    /// The default of a field; `None` when it has none, or one that its type does not take.
    pub(super) fn default_of(&self, member: &Member) -> Option<Value> {
        self.default(member, DEPTH_MAX)
    }

    /// Puts the defaults of a record's fields where values are missing.
    pub fn complete(&self, values: &mut [Value]) {
        let members = self.members().unwrap_or_default();
        for (member, value) in members.iter().zip(values) {
            if matches!(value, Value::Absent) {
                *value = self.default_of(member).unwrap_or(Value::Absent);
            }
        }
    }

    fn default(&self, member: &Member, depth: usize) -> Option<Value> {
        self.told(
            &member.node,
            member.default.as_ref()?,
            depth.checked_sub(1)?,
        )
    }

    fn told(&self, node: &Node, json: &Json, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match node {
            Node::Scalar(primitive, logical) => {
                let bytes = latin(json);
                let raw = raw(*primitive, json, bytes.as_deref())?;
                meaning(raw, *logical).ok()
            }
            Node::List(item) => {
                let items = json.as_array()?.iter();
                let items = items.map(|json| self.told(item, json, depth));
                items.collect::<Option<_>>().map(Value::List)
            }
            Node::Map(item) => {
                let entries = json.as_object()?.iter();
                let entries = entries.map(|(key, json)| {
                    Some((Value::Text(key.clone()), self.told(item, json, depth)?))
                });
                entries.collect::<Option<_>>().map(Value::Map)
            }
            Node::Union(branches) => {
                let found = branches.iter().find_map(|branch| {
                    let value = self.told(branch, json, depth)?;
                    Some((branch, value))
                });
                let (branch, value) = found?;
                Some(match Schema::is_tagged(branches) && !branch.is_null() {
                    true => Value::Union(Box::new((self.tag(branch).to_owned(), value))),
                    false => value,
                })
            }
            Node::Named(at) => match &self.definitions[*at].body {
                Body::Record(members) => {
                    let object = json.as_object()?;
                    let fields = members.iter().map(|member| match object.get(&member.name) {
                        Some(json) => self.told(&member.node, json, depth),
                        None => self.default(member, depth),
                    });
                    Some(Value::Record(Box::new(Record {
                        fields: fields.collect::<Option<_>>()?,
                        extras: Vec::new(),
                    })))
                }
                Body::Enum(symbols) => {
                    let symbol = symbols
                        .iter()
                        .find(|symbol| Some(symbol.as_str()) == json.as_str());
                    symbol.cloned().map(Value::Enum)
                }
                Body::Fixed(size, logical) => {
                    let bytes = latin(json).filter(|bytes| bytes.len() == *size)?;
                    meaning(Raw::Bytes(&bytes), *logical).ok()
                }
            },
        }
    }
}

fn raw<'j>(primitive: Primitive, json: &'j Json, bytes: Option<&'j [u8]>) -> Option<Raw<'j>> {
    Some(match primitive {
        Primitive::Null => json.is_null().then_some(Raw::Null)?,
        Primitive::Bool => Raw::Bool(json.as_bool()?),
        Primitive::Int => Raw::Whole(i32::try_from(json.as_i64()?).ok()?.into()),
        Primitive::Long => Raw::Whole(json.as_i64()?),
        Primitive::Float => Raw::Float(json.as_f64()? as f32),
        Primitive::Double => Raw::Double(json.as_f64()?),
        Primitive::Bytes => Raw::Bytes(bytes?),
        Primitive::Text => Raw::Text(json.as_str()?),
    })
}

/// Bytes stand as the characters of their numbers.
fn latin(json: &Json) -> Option<Vec<u8>> {
    let letters = json.as_str()?.chars();
    letters
        .map(|letter| u8::try_from(u32::from(letter)).ok())
        .collect()
}
