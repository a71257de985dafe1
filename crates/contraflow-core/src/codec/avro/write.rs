//! Values to bytes.

use super::logical::{decimal_bytes, narrow, steps, uuid_text};
use super::{Body, Cause, Fault, Logical, Member, Node, Primitive, Schema};
use crate::value::Value;

type Result<T> = std::result::Result<T, Fault>;

impl Schema {
    /// Appends the payload of these values, in the order of [`Schema::fields`]. Absent fields are
    /// written with their default.
    pub fn write(&self, values: &[Value], out: &mut Vec<u8>) -> Result<()> {
        match (self.members(), values) {
            (Some(members), values) => self.record(members, values, out),
            (None, [value]) => self.value(&self.root, value, out),
            (None, _) => Err(unfit("the number of values differs")),
        }
    }

    fn value(&self, node: &Node, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        match (node, value) {
            (Node::Scalar(primitive, logical), value) => scalar(*primitive, *logical, value, out),
            (Node::List(item), Value::List(items)) => {
                block(items.len(), out);
                for value in items {
                    self.value(item, value, out)?;
                }
                out.push(0);
                Ok(())
            }
            (Node::Map(item), Value::Map(entries)) => {
                block(entries.len(), out);
                for (key, value) in entries {
                    scalar(Primitive::Text, None, key, out)?;
                    self.value(item, value, out)?;
                }
                out.push(0);
                Ok(())
            }
            (Node::Union(branches), value) => self.branch(branches, value, out),
            (Node::Named(at), value) => match (&self.definitions[*at].body, value) {
                (Body::Record(members), Value::Record(record)) if record.extras.is_empty() => {
                    self.record(members, &record.fields, out)
                }
                (Body::Record(_), Value::Record(_)) => {
                    Err(unfit("the schema has no place for undeclared fields"))
                }
                (Body::Enum(symbols), Value::Enum(symbol)) => {
                    let index = symbols.iter().position(|known| known == symbol);
                    long(
                        index.ok_or(unfit("the symbol is not one of the schema's"))? as i64,
                        out,
                    );
                    Ok(())
                }
                (Body::Fixed(size, logical), value) => fixed(*size, *logical, value, out),
                _ => Err(unfit("a value of another type")),
            },
            _ => Err(unfit("a value of another type")),
        }
    }

    fn record(&self, members: &[Member], values: &[Value], out: &mut Vec<u8>) -> Result<()> {
        if values.len() > members.len() {
            return Err(unfit("a record has more fields than its schema"));
        }
        let values = values.iter().map(Some).chain(std::iter::repeat(None));
        for (member, value) in members.iter().zip(values) {
            let written = match value {
                None | Some(Value::Absent) => match self.default_of(member) {
                    Some(value) => self.value(&member.node, &value, out),
                    None => Err(unfit("the field is missing and has no default")),
                },
                Some(value) => self.value(&member.node, value, out),
            };
            written.map_err(|fault| fault.within(&member.name))?;
        }
        Ok(())
    }

    fn branch(&self, branches: &[Node], value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let tagged = Schema::is_tagged(branches);
        let (found, value) = match value {
            Value::Null => (branches.iter().position(Node::is_null), value),
            Value::Union(branch) if tagged => {
                let named = |node: &Node| self.tag(node) == branch.0;
                (branches.iter().position(named), &branch.1)
            }
            value if !tagged => (branches.iter().position(|node| !node.is_null()), value),
            _ => (None, value),
        };
        let index = found.ok_or(unfit("the type is not one of the schema's union"))?;
        long(index as i64, out);
        self.value(&branches[index], value, out)
    }
}

fn unfit(reason: &'static str) -> Fault {
    Fault::new(Cause::Unfit, reason)
}

fn scalar(
    primitive: Primitive,
    logical: Option<Logical>,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<()> {
    match (primitive, logical, value) {
        (Primitive::Null, _, Value::Null) => {}
        (Primitive::Bool, _, Value::Bool(truth)) => out.push(u8::from(*truth)),
        (Primitive::Int | Primitive::Long, Some(_), value) => {
            long(steps(value, logical).map_err(unfit)?, out);
        }
        (Primitive::Int, None, Value::Int(number)) if i32::try_from(*number).is_err() => {
            return Err(unfit("the number has over 32 bits"));
        }
        (Primitive::Int | Primitive::Long, None, Value::Int(number)) => long(*number, out),
        (Primitive::Float, _, Value::Float(float)) => {
            let narrow = narrow(float.0).ok_or(unfit("the number would be rounded"))?;
            out.extend_from_slice(&narrow.to_le_bytes());
        }
        (Primitive::Double, _, Value::Float(float)) => {
            out.extend_from_slice(&float.0.to_le_bytes());
        }
        (Primitive::Bytes, None, Value::Bytes(bytes)) => lengthy(bytes, out),
        (
            Primitive::Bytes,
            Some(Logical::Decimal { precision, scale }),
            Value::Decimal(decimal),
        ) => lengthy(
            &decimal_bytes(decimal, precision, scale).map_err(unfit)?,
            out,
        ),
        (Primitive::Text, None, Value::Text(text)) => lengthy(text.as_bytes(), out),
        (Primitive::Text, Some(Logical::Uuid), value) => {
            let text = uuid_text(value).ok_or(unfit("a value of another type"))?;
            lengthy(text.as_bytes(), out);
        }
        (_, _, Value::Null) => return Err(unfit("null is not one of the schema's values")),
        _ => return Err(unfit("a value of another type")),
    }
    Ok(())
}

fn fixed(size: usize, logical: Option<Logical>, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match (logical, value) {
        (None, Value::Bytes(bytes)) if bytes.len() == size => out.extend_from_slice(bytes),
        (Some(Logical::Uuid), Value::Uuid(bytes)) => out.extend_from_slice(bytes),
        (Some(Logical::Decimal { precision, scale }), Value::Decimal(decimal)) => {
            let bytes = decimal_bytes(decimal, precision, scale).map_err(unfit)?;
            let sign = if bytes[0] >= 0x80 { 0xff } else { 0 };
            let padding = size.checked_sub(bytes.len());
            let padding = padding.ok_or(unfit("the number has more digits than its type"))?;
            out.resize(out.len() + padding, sign);
            out.extend_from_slice(&bytes);
        }
        _ => return Err(unfit("a value of another type or length")),
    }
    Ok(())
}

/// Begins the one block that all items stand in; an empty one follows it.
fn block(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        long(count as i64, out);
    }
}

fn lengthy(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn long(number: i64, out: &mut Vec<u8>) {
    let mut folded = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while folded >= 0x80 {
        out.push((folded & 0x7f) as u8 | 0x80);
        folded >>= 7;
    }
    out.push(folded as u8);
}
