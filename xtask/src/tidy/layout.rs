//! Where things stand and what they are called.

use super::Findings;
use super::repo::Repo;

/// Names that say nothing: whatever lies there could lie anywhere.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

/// Modules are domain words.
pub(super) fn module_names(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        let mut parts = file
            .path
            .split('/')
            .map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = parts.find(|part| EMPTY_NAMES.contains(part)) {
            findings.add(&file.path, 1, format!("`{name}` is not a domain word"));
        }
        for (number, line) in (1..).zip(&rust.code) {
            let name = module(line).filter(|name| EMPTY_NAMES.contains(name));
            if let Some(name) = name {
                findings.add(&file.path, number, format!("`{name}` is not a domain word"));
            }
        }
    }
}

/// Tests lie in `foo/tests.rs`, not below the code.
pub(super) fn tests_have_their_own_file(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        for (number, line) in (1..).zip(&rust.code) {
            let inline = line.trim_end().ends_with('{') || line.contains("{}");
            if inline && matches!(module(line), Some("tests" | "test")) {
                let message = "tests below the code: move them to a file of their own";
                findings.add(&file.path, number, message);
            }
        }
    }
}

/// Each crate links one integration binary, `tests/main.rs`.
pub(super) fn one_integration_binary(repo: &Repo, findings: &mut Findings) {
    for package in repo.members() {
        for (name, path) in &package.tests {
            if name != "main" || !path.ends_with("tests/main.rs") {
                let message = "a second integration binary: make it a module of `tests/main.rs`";
                findings.add(path, 1, message);
            }
        }
        let text = repo.file(&package.manifest).map_or("", |file| &file.text);
        if !package.tests.is_empty() && !text.contains("autotests = false") {
            findings.add(&package.manifest, 1, "no `autotests = false`");
        }
    }
}

/// The name of the module that a line declares.
fn module(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let declares = first == "mod" || (first.starts_with("pub") && words.next()? == "mod");
    let name = words.next().filter(|_| declares)?;
    Some(name.trim_end_matches([';', '{', '}']))
}
