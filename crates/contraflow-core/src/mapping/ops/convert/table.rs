//! One symbol for another, as `convert` with `enum` declares.

use crate::change::node::{Content, Name, Node};
use crate::error::Problem;
use crate::mapping::ops::convert::cast::{Cast, Pair};
use crate::mapping::spec::{refuse, value_of};
use crate::shape::Type;
use crate::value::Value;

/// The rows as typed, left and right.
pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Vec<(Node, Node)>> {
    let Content::Map(entries) = &node.content else {
        refuse(
            node,
            "`enum` must be a map from old to new values",
            None,
            problems,
        );
        return None;
    };
    let key = |name: &Name| Node {
        place: name.place,
        content: Content::Plain(name.text.clone()),
    };
    Some(
        entries
            .iter()
            .map(|(name, node)| (key(name), node.clone()))
            .collect(),
    )
}

/// The rows in both directions. Where two old values have one image, the first is what comes
/// back for rows born on the new side; all others come back because they are remembered.
pub(super) fn pair(rows: &[(Node, Node)], from: &Type, to: &Type) -> Option<Pair> {
    let rows = rows
        .iter()
        .map(|(old, new)| Some((value_of(old, from)?, value_of(new, to)?)));
    let up: Vec<(Value, Value)> = rows.collect::<Option<_>>()?;
    let down: Vec<(Value, Value)> = up
        .iter()
        .map(|(old, new)| (new.clone(), old.clone()))
        .collect();
    let single = |rows: &[(Value, Value)]| {
        (0..rows.len()).all(|i| rows[..i].iter().all(|earlier| earlier.0 != rows[i].0))
    };
    let faithful = [single(&down), single(&up)];
    Some(Pair::new(Cast::Table(up), Cast::Table(down), faithful))
}
