//! Words that must not stand in code, and what comes in from the machine at one place only.

use super::Findings;
use super::repo::Repo;

/// Promises of later work, in code or in comments.
// Not promises of this file: the rule has to name the words that it refuses everywhere else.
const PROMISES: &[&str] = &["FIXME", "XXX"];

/// Code that says it is not there, and tests that are not run.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo!", "nothing half-finished is merged"),
    ("unimplemented!", "nothing half-finished is merged"),
    // No attribute: the rule's own needle, which refuses it on every test of the project.
    ("#[ignore", "a test that is not run proves nothing"),
];

/// Time that comes from nowhere: a failing seed would not replay.
// No calls: these are the names that the rule looks for, and refuses outside the surroundings.
const CLOCKS: &[&str] = &["thread::sleep", "Instant::now", "SystemTime::now"];

/// What the process takes from the machine around it, and the files that take it for all others.
struct Ambient {
    words: &'static [&'static str],
    files: &'static [&'static str],
    why: &'static str,
}

const AMBIENT: &[Ambient] = &[
    Ambient {
        words: &["RandomState", "rand::", "getrandom::", "thread_rng"],
        files: &["crates/contraflow/src/surroundings.rs"],
        why: "chance that no seed repeats: take it from the surroundings",
    },
    Ambient {
        words: &["thread::Builder", "thread::spawn", "tokio::spawn"],
        files: &[
            "crates/contraflow-engine/src/tasks.rs",
            // The application of the demo listens to its input until the process ends.
            "crates/contraflow/src/demo/app.rs",
            "crates/contraflow/src/surroundings.rs",
        ],
        why: "a thread that nobody joins: use `TaskSet::spawn`",
    },
    Ambient {
        words: &["unsafe"],
        files: &[
            "crates/contraflow-ends/src/kafka/native.rs",
            "crates/contraflow-ends/src/kafka/native/records.rs",
        ],
        why: "what the compiler cannot check stands in one module",
    },
    Ambient {
        words: &["process::exit", "process::abort"],
        files: &["crates/contraflow/src/surroundings.rs"],
        why: "an end without cleaning up: return an `Exit`",
    },
];

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

/// Chance, threads and the end of the process have one place each; tests take what they need.
pub(super) fn ambient(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust().filter(|(file, _)| !file.is_test()) {
        for Ambient { words, files, why } in AMBIENT {
            if files.contains(&file.path.as_str()) {
                continue;
            }
            for (number, line) in (1..).zip(&rust.code) {
                if let Some(word) = words.iter().find(|word| begins_word(line, word)) {
                    findings.add(&file.path, number, format!("`{word}`: {why}"));
                }
            }
        }
    }
}

/// Whether a line holds a text that does not continue an earlier word.
fn begins_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
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
