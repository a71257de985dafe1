//! Words that must not stand in code, and clocks that only a `Clock` may read.

use super::Findings;
use super::repo::Repo;

/// Promises of later work, in code or in comments.
const PROMISES: &[&str] = &["FIXME", "XXX"];

/// Code that says it is not there, and tests that are not run.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo!", "nothing half-finished is merged"),
    ("unimplemented!", "nothing half-finished is merged"),
    ("#[ignore", "a test that is not run proves nothing"),
];

/// Time that comes from nowhere: a failing seed would not replay.
const CLOCKS: &[&str] = &["thread::sleep", "Instant::now", "SystemTime::now"];

/// No promises, no stubs, no ignored tests.
pub(super) fn banned_words(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        for (number, line) in (1..).zip(&rust.prose) {
            for word in PROMISES.iter().filter(|word| holds_word(line, word)) {
                findings.add(
                    &file.path,
                    number,
                    format!("`{word}`: do it, or write it down"),
                );
            }
        }
        for (number, line) in (1..).zip(&rust.code) {
            for (word, why) in UNFINISHED.iter().filter(|(word, _)| line.contains(word)) {
                findings.add(&file.path, number, format!("`{word}`: {why}"));
            }
        }
    }
}

/// Clocks are read where `Clock` is implemented, and where chores are timed.
pub(super) fn clocks(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        let implements = rust.code.iter().any(|line| line.contains("Clock for "));
        if implements || file.path == "xtask/src/shell.rs" {
            continue;
        }
        for (number, line) in (1..).zip(&rust.code) {
            for clock in CLOCKS.iter().filter(|clock| line.contains(*clock)) {
                let message = format!("`{clock}` outside of a `Clock`: wait on a condition");
                findings.add(&file.path, number, message);
            }
        }
    }
}

/// Whether a line holds a word that stands alone.
fn holds_word(line: &str, word: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
