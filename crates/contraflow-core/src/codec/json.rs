//! JSON text to values and back, guided by a type, without a document in between.
//!
//! Numbers keep their digits. Fields that a record's type does not declare are kept as their raw
//! text in [`Record::extras`] and written back after the declared ones. A JSON `null` is
//! [`Value::Null`] for every type; a field that is missing is [`Value::Absent`]. Bytes are base64,
//! timestamps RFC 3339, non-finite floats the texts `NaN`, `Infinity` and `-Infinity`; a map whose
//! keys are not text is a list of pairs.

mod read;
mod write;

pub use read::from_json;
pub(super) use write::members;
pub use write::to_json;

use crate::codec::Malformed;
use crate::shape::Type;
use crate::value::Value;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 64;

/// Whether this is one well-formed JSON text.
pub fn check(text: &str) -> Result<(), Malformed> {
    from_json(text, &Type::Json).map(|_: Value| ())
}
