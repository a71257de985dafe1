//! The writers of an end: rows, structure, switch, and the ledger's own file. Nothing else.

use super::Findings;
use super::repo::{File, Repo};

/// Modules of a driver that may write, by file name.
const WRITERS: &[&str] = &["apply", "structure", "switch", "statements", "write"];

/// What begins a statement that writes.
const VERBS: &[&str] = &[
    "alter table",
    "create index",
    "create schema",
    "create table",
    "create temp",
    "create trigger",
    "create unique index",
    "delete from",
    "drop index",
    "drop schema",
    "drop table",
    "drop trigger",
    "insert into",
    "insert or",
    "replace into",
    "truncate table",
    "vacuum",
];

/// Statements that write stand in the writers' modules only.
pub(super) fn sql_writers(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust().filter(|(file, _)| is_product(file)) {
        if may_write(&file.path) {
            continue;
        }
        for (line, literal) in &rust.literals {
            let Some(verb) = verb(literal) else {
                continue;
            };
            if verb == "delete from" && file.path.ends_with("/feed.rs") {
                // The feed prunes what it has confirmed.
                continue;
            }
            let message = format!("`{verb}` outside of the writers of an end");
            findings.add(&file.path, *line, message);
        }
    }
}

fn is_product(file: &File) -> bool {
    file.path.starts_with("crates/") && !file.is_test()
}

fn may_write(path: &str) -> bool {
    let mut parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    // The demo plays the application.
    let anywhere = ["ledger", "demo"];
    let in_ends = path.starts_with("crates/contraflow-ends/");
    parts.any(|part| anywhere.contains(&part) || (in_ends && WRITERS.contains(&part)))
}

fn verb(literal: &str) -> Option<&'static str> {
    let text = literal.trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    let start = words.join(" ").to_lowercase();
    if start.starts_with("update ") && text.to_lowercase().contains(" set ") {
        return Some("update");
    }
    let begins = |verb: &&&str| start.strip_prefix(**verb).is_some_and(ends_word);
    VERBS.iter().find(begins).copied()
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}
