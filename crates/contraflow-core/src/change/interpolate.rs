//! `${env:NAME}` and `${file:path}` in scalars, filled in after the file is parsed.
//!
//! A value can never change the structure of the file, and the tree itself never holds one: it is
//! fetched when a scalar is read, straight into a [`Secret`].

use super::secret::Secret;
use crate::code::Code;
use crate::error::{Place, Problem};

/// Where interpolated values come from.
pub trait Secrets {
    /// The variable of the environment.
    fn env(&self, name: &str) -> Option<String>;

    /// The content of a file without its last line break.
    ///
    /// # Errors
    ///
    /// Why the file cannot be read, without its content.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// A piece of a scalar.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Env(&'t str),
    File(&'t str),
}

/// Fills in a scalar. `None` when something is missing; `problems` says what.
pub fn fill(
    text: &str,
    place: Place,
    secrets: &dyn Secrets,
    problems: &mut Vec<Problem>,
) -> Option<Secret<String>> {
    let mut value = String::with_capacity(text.len());
    let mut shown = String::with_capacity(text.len());
    let mut complete = true;
    for piece in pieces(text, place, problems)? {
        let found = match piece {
            Piece::Text(text) => {
                value.push_str(text);
                shown.push_str(text);
                continue;
            }
            Piece::Env(name) => secrets.env(name).ok_or_else(|| {
                let hint = format!("Set `{name}` in the environment of this command.");
                (format!("variable `{name}` is not set"), hint)
            }),
            Piece::File(path) => secrets.file(path).map_err(|why| {
                let hint = "Paths are relative to the change file.".to_owned();
                (format!("file `{path}` cannot be read: {why}"), hint)
            }),
        };
        match found {
            Ok(found) => {
                value.push_str(&found);
                match piece {
                    Piece::File(path) => shown.push_str(&format!("${{file:{path}}}")),
                    Piece::Text(name) | Piece::Env(name) => {
                        shown.push_str(&format!("${{env:{name}}}"));
                    }
                }
            }
            Err((message, hint)) => {
                complete = false;
                problems.push(failed(place, message).hint(hint));
            }
        }
    }
    complete.then(|| Secret::new(value, shown))
}

/// Whether a scalar stands in the file itself, at least in part.
pub fn is_typed(text: &str, place: Place) -> bool {
    let pieces = pieces(text, place, &mut Vec::new()).unwrap_or_default();
    let typed = |piece: &Piece<'_>| matches!(piece, Piece::Text(text) if !text.is_empty());
    pieces.iter().any(typed) || pieces.len() == 1
}

/// The text of a scalar that must not be interpolated, because it names something.
pub fn literal(
    what: &str,
    text: &str,
    place: Place,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let mut literal = String::with_capacity(text.len());
    for piece in pieces(text, place, problems)? {
        let Piece::Text(text) = piece else {
            let message = format!("{what} cannot be interpolated");
            let hint = "Names are part of the change: they are the same wherever it runs.";
            problems.push(failed(place, message).hint(hint));
            return None;
        };
        literal.push_str(text);
    }
    Some(literal)
}

/// Splits a scalar; `$${` stands for `${`.
fn pieces<'t>(text: &'t str, place: Place, problems: &mut Vec<Problem>) -> Option<Vec<Piece<'t>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        pieces.push(Piece::Text(&rest[..at]));
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            problems.push(
                failed(place, "`${` has no closing `}`").hint("Write `$${` for a literal `${`."),
            );
            return None;
        };
        pieces.push(match inside.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Piece::Env(name),
            Some(("file", path)) if !path.is_empty() => Piece::File(path),
            _ => {
                let hint = "Use `${env:NAME}` or `${file:path}`; `$${` is a literal `${`.";
                let message = "`${` must be followed by `env:NAME}` or `file:path}`";
                problems.push(failed(place, message).hint(hint));
                return None;
            }
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

fn failed(place: Place, message: impl Into<String>) -> Problem {
    Problem::error(Code::INTERPOLATION_FAILED, message).place(Some(place))
}

#[cfg(test)]
mod tests;
