//! Declarations between which a value does not stay as it is spelled.

use contraflow_core::shape::Type;

/// Whether a value that passes from one declaration to the other, or back, is written anew: padded,
/// rounded, or its keys put in order.
pub(super) fn differ(one: &str, other: &str) -> bool {
    let (one, other) = (Form::of(one), Form::of(other));
    match (&one, &other) {
        // Without a limit the digits stay as they come, but not on the way back.
        (Form::Numeric(_), Form::Other) | (Form::Other, Form::Numeric(_)) => false,
        (Form::Clock(_), Form::Other) | (Form::Other, Form::Clock(_)) => false,
        _ => one != other,
    }
}

/// Whether a column spells values of a made type otherwise than they come: the same amount with
/// more digits is another text, and `t` is no number.
pub(super) fn spell_apart(made: &Type, column: &Type) -> bool {
    match (made, column) {
        (Type::Decimal { scale: made, .. }, Type::Decimal { scale, .. }) => {
            scale.is_some() && made != scale
        }
        (Type::Bool, Type::Int { .. }) => true,
        _ => false,
    }
}

/// How a type spells what it is given.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// Puts keys in order and drops what is there twice.
    Jsonb,
    /// Pads to a length.
    Padded(u32),
    /// Rounds to a scale.
    Numeric(Option<u32>),
    /// Rounds to digits of a second.
    Clock(u32),
    Other,
}

impl Form {
    /// Reads the beginning of a declaration, as `format_type` spells it.
    fn of(declared: &str) -> Form {
        let end = declared.find([' ', '(']).unwrap_or(declared.len());
        let (name, rest) = declared.split_at(end);
        let mut limits = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map(|(limits, _)| limits.split(',').map(|limit| limit.trim().parse().ok()))
            .into_iter()
            .flatten();
        match name {
            "json" => Form::Json,
            "jsonb" => Form::Jsonb,
            "character" if !rest.starts_with(" varying") => {
                Form::Padded(limits.next().flatten().unwrap_or(1))
            }
            "numeric" => Form::Numeric(limits.nth(1).flatten()),
            "timestamp" | "time" | "interval" => Form::Clock(limits.next().flatten().unwrap_or(6)),
            _ => Form::Other,
        }
    }
}

#[cfg(test)]
mod tests;
