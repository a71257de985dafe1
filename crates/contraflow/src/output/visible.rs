//! What may be written to a terminal: no control characters, no passwords.

/// The mark in place of a password.
const HIDDEN: &str = "***";

/// Settings whose value is never shown.
const SECRET_NAMES: [&str; 4] = ["password", "passwd", "secret", "token"];

/// Text without control characters, so that no file or server can drive the terminal, and
/// without what looks like a password.
pub(super) fn visible(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            '\n' => '\n',
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            // Characters that reorder what is shown.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c => c,
        })
        .collect();
    let lines: Vec<String> = clean.split('\n').map(without_passwords).collect();
    lines.join("\n")
}

/// One line with its passwords hidden: `scheme://user:password@host`, `password=..`, `token: ..`.
/// A password may hold anything, so too much is hidden rather than too little: up to the last `@`
/// of the line, or to its end.
fn without_passwords(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    if let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + 3);
        shown.push_str(scheme);
        rest = after;
        let (user, _) = after.rsplit_once('@').unwrap_or_default();
        if let Some((name, _)) = user.split_once(':') {
            shown.push_str(name);
            shown.push(':');
            shown.push_str(HIDDEN);
            rest = &after[user.len()..];
        }
    }
    shown.push_str(rest);
    if let Some(at) = setting_end(&shown) {
        shown.truncate(at);
        shown.push_str(HIDDEN);
    }
    shown
}

/// Where the value of the first setting begins whose name says that it is secret.
fn setting_end(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let ends = SECRET_NAMES.iter().flat_map(|name| {
        let starts = lower.match_indices(name);
        starts.map(|(start, name)| start + name.len())
    });
    ends.filter_map(|end| {
        let value = line[end..].trim_start_matches(['"', '\'', ' ']);
        let marked = value.starts_with([':', '=']) && value.len() > 1;
        marked.then(|| line.len() - value.len() + 1)
    })
    .min()
}

#[cfg(test)]
mod tests;
