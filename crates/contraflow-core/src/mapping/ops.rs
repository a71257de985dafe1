//! The operations of a mapping, one file each. A new one is a file and a line in [`OPERATIONS`].

mod add;
mod at;
mod compute;
mod convert;
#[cfg(feature = "expr")]
mod expr;
mod fold;
mod group;
mod lens;
mod nest;
mod rename;
mod split;
mod wrap;

use std::fmt;

use crate::mapping::program::Planned;
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;
use crate::shape::{Field, Type};
use crate::value::Value;

pub(super) use add::preserve;

/// An operation as declared.
pub(super) trait Operation: fmt::Debug + Send + Sync {
    /// Checks the operation against the fields that exist before it, changes them to those that
    /// exist after it, and compiles it. Problems go to the scope.
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned>;

    /// What it does, in words.
    fn describe(&self) -> String;

    /// What a round trip loses, when something is lost on purpose.
    fn loses(&self) -> Option<String> {
        None
    }

    /// Whether it takes effect together with its neighbours of the same kind.
    fn simultaneous(&self) -> bool {
        false
    }
}

type Read = fn(&mut Settings<'_, '_>) -> Option<std::sync::Arc<dyn Operation>>;

/// Every operation by its word in change files.
pub(super) const OPERATIONS: &[(&str, Read)] = &[
    ("rename", rename::read),
    ("add", add::read_add),
    ("remove", add::read_remove),
    ("convert", convert::read),
    ("nest", nest::read_nest),
    ("hoist", nest::read_hoist),
    ("group", group::read_group),
    ("ungroup", group::read_ungroup),
    ("split", split::read_split),
    ("join", split::read_join),
    ("wrap", wrap::read_wrap),
    ("unwrap", wrap::read_unwrap),
    ("at", at::read),
    ("const", compute::read_const),
    ("derive", compute::read_derive),
    #[cfg(feature = "expr")]
    ("expr", expr::read),
];

/// What a field holds when nobody says: null where it is allowed, an empty text otherwise.
fn blank(field: &Field) -> Option<Value> {
    match (&field.ty, field.nullable) {
        (_, true) => Some(Value::Null),
        (Type::Text, false) => Some(Value::Text(String::new())),
        (_, false) => None,
    }
}
