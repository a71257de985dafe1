//! What may be written to a terminal: no control characters, no passwords.

/// The mark in place of a password.
const HIDDEN: &str = "***";

/// Text without control characters, so that no file or server can drive the terminal, and
/// without the password of any URL.
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
    without_passwords(&clean)
}

/// `scheme://user:password@host` with the password hidden.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '`' | ',' | '}');
        let end = after.find(ends).unwrap_or(after.len());
        // A password may hold what ends an authority elsewhere: the last `@` of the word counts.
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        let end = after[..word].rfind('@').map_or(end, |at| at.max(end));
        let authority = &after[..end];
        let host = authority.rfind('@').unwrap_or(0);
        let (user, host) = authority.split_at(host);
        match user.split_once(':') {
            Some((user, _)) => {
                shown.push_str(user);
                shown.push(':');
                shown.push_str(HIDDEN);
            }
            None => shown.push_str(user),
        }
        shown.push_str(host);
        rest = &after[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests;
