//! What we may ship: licences on a list, sources from one registry.
//!
//! `deny.toml` says the same to `cargo deny`, which knows advisories as well.

use super::Findings;
use super::repo::{Package, Repo};

/// Licences that ask for no more than a notice.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A crate that we do not want.
struct Banned {
    name: &'static str,
    why: &'static str,
    /// Whoever may have it all the same.
    but_of: &'static [&'static str],
}

const BANNED: &[Banned] = &[
    Banned {
        name: "openssl-sys",
        why: "TLS is rustls: no system library to patch",
        // Kafka's client knows no other TLS: docs/decisions/kafka-client.md.
        but_of: &["rdkafka-sys"],
    },
    Banned {
        name: "native-tls",
        why: "TLS is rustls: no system library to patch",
        but_of: &[],
    },
    Banned {
        name: "serde_yaml",
        why: "retired; the change file has its own reader",
        but_of: &[],
    },
];

const LOCK: &str = "Cargo.lock";

/// Every package has a licence from the list.
pub(super) fn licences_are_allowed(repo: &Repo, findings: &mut Findings) {
    for package in &repo.packages {
        let Package { name, version, .. } = package;
        if let Some(why) = banned(repo, package) {
            findings.add(LOCK, line(repo, name), format!("`{name}` is banned: {why}"));
        }
        match &package.licence {
            Some(licence) if is_allowed(licence) => {}
            Some(licence) => {
                let message = format!("`{name}` {version} has licence `{licence}`: not allowed");
                findings.add(LOCK, line(repo, name), message);
            }
            None => {
                let message = format!("`{name}` {version} names no licence");
                findings.add(LOCK, line(repo, name), message);
            }
        }
    }
}

/// Why a package is banned, unless only those have it that may.
fn banned(repo: &Repo, package: &Package) -> Option<&'static str> {
    let banned = BANNED.iter().find(|banned| banned.name == package.name)?;
    let mut takers = repo.packages.iter();
    let mut takers = takers
        .by_ref()
        .filter(|taker| taker.built_in.contains(&package.id))
        .peekable();
    let excused =
        takers.peek().is_some() && takers.all(|taker| banned.but_of.contains(&taker.name.as_str()));
    (!excused).then_some(banned.why)
}

/// No package comes from git, from a path outside, or from a second registry.
pub(super) fn sources_are_one_registry(repo: &Repo, findings: &mut Findings) {
    let sources = repo.packages.iter().filter_map(|package| {
        let source = package.source.as_deref()?;
        Some((package, source))
    });
    let mut first = None;
    for (package, source) in sources {
        let name = &package.name;
        if !source.starts_with("registry+") {
            findings.add(
                LOCK,
                line(repo, name),
                format!("`{name}` is not from the registry"),
            );
        } else if *first.get_or_insert(source) != source {
            let message = format!("`{name}` is from a second registry");
            findings.add(LOCK, line(repo, name), message);
        }
    }
}

fn line(repo: &Repo, name: &str) -> usize {
    let entry = format!("name = \"{name}\"");
    repo.file(LOCK).map_or(1, |file| file.line_of(&entry))
}

/// Whether an SPDX expression can be satisfied from the list. `/` is the old way to write `OR`;
/// `WITH` only ever adds a permission.
pub(super) fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let spaced = spaced.replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at) && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all(words, at);
    }
    allowed
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let allowed = any(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    ALLOWED.contains(word)
}
