//! What a writer's schema says, in the places of a reader's.
//!
//! The specification's resolution, decided once for two schemas: fields by name and alias,
//! defaults, promotions, branches of unions. Where it forgets or rounds, a plan keeps or refuses.
//! Of a reader's union the branch of the very same type is taken, or else the first that reads it.
//! Meanings count: a time in milliseconds is read as one in microseconds, not as its digits.

use super::logical::Fit;
use super::typed::spend;
use super::{Body, DEPTH_MAX, Definition, Logical, Member, Node, Primitive};
use super::{Schema, TYPES_MAX, Unusable, unqualified};
use crate::shape::Type;
use crate::value::Value;

/// How bytes of a writer's schema become values of a reader's.
#[derive(Debug)]
pub struct Plan {
    pub(super) root: Way,
}

/// How the bytes of one type become a value of another.
#[derive(Debug)]
pub(super) enum Way {
    Scalar(Wire, Option<Logical>, Option<Fit>),
    List(Box<Way>),
    Map(Box<Way>),
    /// The writer's symbols; `None` where the reader has no such symbol.
    Enum(Vec<Option<String>>),
    Record(RecordWay),
    /// The writer's branches; `None` where the reader's type takes no such value.
    Choice(Vec<Option<Way>>),
    /// A value that says which branch of the reader's union it is.
    Tagged(String, Box<Way>),
}

/// How a value stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    Plain(Primitive),
    Fixed(usize),
}

#[derive(Debug)]
pub(super) struct RecordWay {
    /// What the reader's fields hold when the writer does not say: a default, or nothing yet.
    pub(super) blank: Vec<Value>,
    /// The writer's fields, in order.
    pub(super) steps: Vec<(String, Step)>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// A field that the reader has, and its place.
    Place(usize, Way),
    /// A field that the reader does not know.
    Extra(Way, Type),
}

impl Plan {
    /// Decides how to read bytes that were written with one schema as values of another.
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Plan, Unusable> {
        let ends = Ends { writer, reader };
        let mut budget = TYPES_MAX;
        let root = ends.way(&writer.root, &reader.root, &mut budget, DEPTH_MAX)?;
        Ok(Plan { root })
    }
}

#[derive(Clone, Copy)]
struct Ends<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
}

impl<'s> Ends<'s> {
    fn way(
        self,
        from: &Node,
        to: &Node,
        budget: &mut usize,
        depth: usize,
    ) -> Result<Way, Unusable> {
        let depth = spend(budget, depth, self.writer.tag(from))?;
        match (from, to) {
            (Node::Union(branches), _) => {
                let ways = branches
                    .iter()
                    .map(|branch| self.way(branch, to, budget, depth));
                let ways: Vec<_> = ways.collect();
                match ways.iter().find_map(|way| way.as_ref().err()) {
                    Some(fault) if ways.iter().all(Result::is_err) => Err(fault.clone()),
                    _ => Ok(Way::Choice(ways.into_iter().map(Result::ok).collect())),
                }
            }
            (_, Node::Union(branches)) => self.branch(from, branches, budget, depth),
            (Node::Scalar(from, means), Node::Scalar(to, meant)) => {
                let refused = || self.refused(from.name(), to.name());
                let wire = promoted(*from, *to).ok_or_else(refused)?;
                let fit = match (*from, *to) {
                    (Primitive::Int | Primitive::Long, Primitive::Float) => Some(Fit::Float),
                    (Primitive::Int | Primitive::Long, Primitive::Double) => Some(Fit::Double),
                    _ => None,
                };
                self.scalar(Wire::Plain(wire), (*means, *meant), fit)
            }
            (Node::List(from), Node::List(to)) => {
                Ok(Way::List(Box::new(self.way(from, to, budget, depth)?)))
            }
            (Node::Map(from), Node::Map(to)) => {
                Ok(Way::Map(Box::new(self.way(from, to, budget, depth)?)))
            }
            (Node::Named(from), Node::Named(to)) => {
                let from = &self.writer.definitions[*from];
                let to = &self.reader.definitions[*to];
                self.named(from, to, budget, depth)
            }
            _ => Err(self.refused(self.writer.tag(from), self.reader.tag(to))),
        }
    }

    fn refused(self, from: &str, to: &str) -> Unusable {
        Unusable(format!(
            "what was written as `{from}` cannot be read as `{to}`"
        ))
    }

    fn scalar(
        self,
        wire: Wire,
        (means, meant): (Option<Logical>, Option<Logical>),
        fit: Option<Fit>,
    ) -> Result<Way, Unusable> {
        Ok(match (means, meant) {
            (_, None) => Way::Scalar(wire, None, fit),
            (None, Some(meant)) => Way::Scalar(wire, Some(meant), None),
            (Some(means), Some(meant)) if means == meant => Way::Scalar(wire, Some(means), None),
            (Some(means), Some(meant)) if same_family(means, meant) => {
                Way::Scalar(wire, Some(means), Some(Fit::Meaning(meant)))
            }
            (Some(_), Some(_)) => {
                let message = "the logical types of writer and reader do not mean the same";
                return Err(Unusable(message.to_owned()));
            }
        })
    }

    /// The branch of the reader's union for a value that is none itself.
    fn branch(
        self,
        from: &Node,
        branches: &[Node],
        budget: &mut usize,
        depth: usize,
    ) -> Result<Way, Unusable> {
        let mut order: Vec<&Node> = branches.iter().collect();
        order.sort_by_key(|branch| self.distance(from, branch));
        let mut fault = self.refused(self.writer.tag(from), "union");
        for (i, branch) in order.into_iter().enumerate() {
            let way = match self.way(from, branch, budget, depth) {
                Ok(way) => way,
                Err(refused) => {
                    if i == 0 {
                        fault = refused;
                    }
                    continue;
                }
            };
            return Ok(match Schema::is_tagged(branches) && !branch.is_null() {
                true => Way::Tagged(self.reader.tag(branch).to_owned(), Box::new(way)),
                false => way,
            });
        }
        Err(fault)
    }

    fn distance(self, from: &Node, to: &Node) -> u8 {
        match (from, to) {
            (Node::Named(from), Node::Named(to)) => {
                let from = &self.writer.definitions[*from];
                let to = &self.reader.definitions[*to];
                match (from.name == to.name, is_named(from, to)) {
                    (true, _) => 0,
                    (false, true) => 1,
                    (false, false) => 2,
                }
            }
            _ if self.writer.tag(from) == self.reader.tag(to) => 0,
            _ => 2,
        }
    }

    fn named(
        self,
        from: &Definition,
        to: &Definition,
        budget: &mut usize,
        depth: usize,
    ) -> Result<Way, Unusable> {
        let refused = || Err(self.refused(&from.name, &to.name));
        if !is_named(from, to) {
            return refused();
        }
        match (&from.body, &to.body) {
            (Body::Record(from), Body::Record(to)) => {
                self.record(from, to, budget, depth).map(Way::Record)
            }
            (Body::Enum(from), Body::Enum(to)) => {
                let known = |symbol: &String| to.contains(symbol).then(|| symbol.clone());
                Ok(Way::Enum(from.iter().map(known).collect()))
            }
            (Body::Fixed(from, means), Body::Fixed(to, meant)) if from == to => {
                self.scalar(Wire::Fixed(*from), (*means, *meant), None)
            }
            _ => refused(),
        }
    }

    fn record(
        self,
        from: &[Member],
        to: &[Member],
        budget: &mut usize,
        depth: usize,
    ) -> Result<RecordWay, Unusable> {
        let sources: Vec<Option<usize>> = to.iter().map(|member| source(member, from)).collect();
        let mut steps = Vec::with_capacity(from.len());
        for (at, member) in from.iter().enumerate() {
            let place = sources.iter().position(|source| *source == Some(at));
            let within = |fault: Unusable| Unusable(format!("`{}`: {fault}", member.name));
            let step = match place {
                Some(place) => {
                    let way = self.way(&member.node, &to[place].node, budget, depth);
                    Step::Place(place, way.map_err(within)?)
                }
                None => self.extra(member, budget, depth).map_err(within)?,
            };
            steps.push((member.name.clone(), step));
        }
        let blank = to
            .iter()
            .zip(&sources)
            .map(|(member, source)| match source {
                Some(_) => Ok(Value::Absent),
                None => self.reader.default_of(member).ok_or_else(|| {
                    let name = &member.name;
                    Unusable(format!("`{name}` is not written, and has no default"))
                }),
            });
        let blank = blank.collect::<Result<_, _>>()?;
        Ok(RecordWay { blank, steps })
    }

    fn extra(self, member: &Member, budget: &mut usize, depth: usize) -> Result<Step, Unusable> {
        let itself = Ends {
            reader: self.writer,
            ..self
        };
        let way = itself.way(&member.node, &member.node, budget, depth)?;
        let ty = self.writer.type_of(&member.node, budget, depth)?;
        Ok(Step::Extra(way, ty))
    }
}

/// The writer's field that a reader's field takes its value from.
fn source(member: &Member, from: &[Member]) -> Option<usize> {
    let named = |name: &String| from.iter().position(|candidate| candidate.name == *name);
    named(&member.name).or_else(|| member.aliases.iter().find_map(named))
}

/// Whether the reader's name is the writer's, namespaces aside, or once was.
fn is_named(from: &Definition, to: &Definition) -> bool {
    unqualified(&from.name) == unqualified(&to.name) || to.aliases.contains(&from.name)
}

/// How the bytes of one primitive are read for another one; texts and bytes stand alike.
fn promoted(from: Primitive, to: Primitive) -> Option<Primitive> {
    use Primitive::{Bytes, Double, Float, Int, Long, Text};
    match (from, to) {
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) => Some(from),
        (Text, Bytes) | (Bytes, Text) => Some(to),
        _ => (from == to).then_some(from),
    }
}

fn same_family(one: Logical, other: Logical) -> bool {
    match (one, other) {
        (Logical::Decimal { .. }, Logical::Decimal { .. })
        | (Logical::Time(_), Logical::Time(_)) => true,
        (Logical::Timestamp(one, _), Logical::Timestamp(other, _)) => one == other,
        _ => one == other,
    }
}
