//! The shape that a schema declares.

use super::{Body, DEPTH_MAX, Logical, Node, Primitive, Schema, TYPES_MAX, Unusable};
use crate::shape::{Field, Type};

impl Schema {
    /// The fields of payloads with this schema: those of a record, or one of the given name.
    pub fn fields(&self, whole: &str) -> Result<Vec<Field>, Unusable> {
        let mut budget = TYPES_MAX;
        let field = self.field(whole, &self.root, false, &mut budget, DEPTH_MAX)?;
        Ok(match field.ty {
            Type::Record(fields) if self.members().is_some() => fields,
            _ => vec![field],
        })
    }

    fn field(
        &self,
        name: &str,
        node: &Node,
        has_default: bool,
        budget: &mut usize,
        depth: usize,
    ) -> Result<Field, Unusable> {
        let nullable = match node {
            Node::Union(branches) => branches.iter().any(Node::is_null),
            node => node.is_null(),
        };
        Ok(Field {
            name: name.to_owned(),
            ty: self.type_of(node, budget, depth)?,
            nullable,
            has_default,
        })
    }

    /// The type of a value, null aside.
    pub(super) fn type_of(
        &self,
        node: &Node,
        budget: &mut usize,
        depth: usize,
    ) -> Result<Type, Unusable> {
        let depth = spend(budget, depth, self.tag(node))?;
        Ok(match node {
            Node::Scalar(primitive, logical) => scalar(*primitive, *logical),
            Node::List(item) => Type::List(Box::new(self.type_of(item, budget, depth)?)),
            Node::Map(item) => {
                let item = self.type_of(item, budget, depth)?;
                Type::Map(Box::new(Type::Text), Box::new(item))
            }
            Node::Union(branches) => {
                let mut typed = Vec::new();
                for branch in branches.iter().filter(|branch| !branch.is_null()) {
                    let ty = self.type_of(branch, budget, depth)?;
                    typed.push((self.tag(branch).to_owned(), ty));
                }
                match (typed.pop(), typed.is_empty()) {
                    (None, _) => Type::Any,
                    (Some((_, ty)), true) => ty,
                    (Some(last), false) => {
                        typed.push(last);
                        Type::Union { branches: typed }
                    }
                }
            }
            Node::Named(at) => match &self.definitions[*at].body {
                Body::Record(members) => {
                    let fields = members.iter().map(|member| {
                        let has_default = self.default_of(member).is_some();
                        self.field(&member.name, &member.node, has_default, budget, depth)
                    });
                    Type::Record(fields.collect::<Result<_, _>>()?)
                }
                Body::Enum(symbols) => Type::Enum {
                    symbols: symbols.clone(),
                },
                Body::Fixed(_, logical) => scalar(Primitive::Bytes, *logical),
            },
        })
    }
}

/// Takes one type from the budget and one level from the depth.
pub(super) fn spend(budget: &mut usize, depth: usize, tag: &str) -> Result<usize, Unusable> {
    let (Some(rest), Some(depth)) = (budget.checked_sub(1), depth.checked_sub(1)) else {
        let limits = format!("{DEPTH_MAX} levels and {TYPES_MAX} types");
        let message = format!("`{tag}` contains itself, or the schema has more than {limits}");
        return Err(Unusable(message));
    };
    *budget = rest;
    Ok(depth)
}

fn scalar(primitive: Primitive, logical: Option<Logical>) -> Type {
    let int = |bits| Type::Int { bits, signed: true };
    match (logical, primitive) {
        (Some(Logical::Decimal { precision, scale }), _) => Type::Decimal {
            precision: Some(precision),
            scale: Some(scale),
        },
        (Some(Logical::Date), _) => Type::Date,
        (Some(Logical::Time(_)), _) => Type::Time,
        (Some(Logical::Timestamp(frame, unit)), _) => Type::Timestamp { frame, unit },
        (Some(Logical::Uuid), _) => Type::Uuid,
        (None, Primitive::Null) => Type::Any,
        (None, Primitive::Bool) => Type::Bool,
        (None, Primitive::Int) => int(32),
        (None, Primitive::Long) => int(64),
        (None, Primitive::Float) => Type::Float { bits: 32 },
        (None, Primitive::Double) => Type::Float { bits: 64 },
        (None, Primitive::Bytes) => Type::Bytes,
        (None, Primitive::Text) => Type::Text,
    }
}
