//! Lists that are kept twice, in code and in words, say the same.

use std::collections::BTreeMap;

use super::Findings;
use super::repo::{File, Repo};

const CODES: &str = "crates/contraflow-core/src/code.rs";
const POINTS: &str = "crates/contraflow-core/src/probe.rs";
const POINTS_PAGE: &str = "docs/crash-points.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// Every code has a page in `docs/errors`, and every page a code.
pub(super) fn error_pages(repo: &Repo, findings: &mut Findings) {
    let Some(codes) = repo.file(CODES) else {
        return findings.add(CODES, 1, "there are no error codes");
    };
    let mut pages: BTreeMap<String, &File> = BTreeMap::new();
    for file in &repo.files {
        if let Some(name) = file.path.strip_prefix("docs/errors/") {
            pages.insert(name.trim_end_matches(".md").to_owned(), file);
        }
    }
    for (line, name, value) in constants(codes) {
        let Ok(number) = value.parse::<u16>() else {
            continue;
        };
        let code = format!("CF{number:04}");
        match pages.remove(&code) {
            None => {
                let message = format!("`{name}` has no page `docs/errors/{code}.md`");
                findings.add(CODES, line, message);
            }
            Some(page) if !page.text.starts_with(&format!("# {code}: ")) => {
                findings.add(&page.path, 1, format!("the title is not `# {code}: ..`"));
            }
            Some(_) => {}
        }
    }
    for page in pages.values() {
        findings.add(&page.path, 1, "no code has this page");
    }
}

/// Every crash point has a row in its page and a place in the code, and every row a point.
pub(super) fn crash_points(repo: &Repo, findings: &mut Findings) {
    let Some(points) = repo.file(POINTS) else {
        return findings.add(POINTS, 1, "there are no crash points");
    };
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in repo.file(POINTS_PAGE).into_iter().flat_map(File::lines) {
        let row = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'));
        if let Some((name, _)) = row {
            rows.insert(name, number);
        }
    }
    for (line, constant, value) in constants(points) {
        if !is_hit(repo, constant) {
            findings.add(POINTS, line, format!("no code stops at `{constant}`"));
        }
        let Some(name) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
            continue;
        };
        if rows.remove(name).is_none() {
            findings.add(
                POINTS,
                line,
                format!("`{name}` has no row in {POINTS_PAGE}"),
            );
        }
    }
    for (name, line) in rows {
        findings.add(
            POINTS_PAGE,
            line,
            format!("there is no crash point `{name}`"),
        );
    }
}

/// Whether any code outside of tests names a crash point.
fn is_hit(repo: &Repo, constant: &str) -> bool {
    let named = format!("Point::{constant}");
    let hits = |line: &String| {
        line.match_indices(&named).any(|(at, _)| {
            let after = line[at + named.len()..].chars().next();
            !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let product = |file: &File| file.path.starts_with("crates/") && !file.is_test();
    repo.rust()
        .any(|(file, rust)| product(file) && rust.code.iter().any(hits))
}

/// The changelog has a place for what comes next.
pub(super) fn changelog(repo: &Repo, findings: &mut Findings) {
    let text = repo.file(CHANGELOG).map_or("", |file| file.text.as_str());
    if !text.lines().any(|line| line.trim() == "## Unreleased") {
        findings.add(CHANGELOG, 1, "no `## Unreleased` section");
    }
}

/// A page that is mentioned is there.
pub(super) fn mentioned_pages(repo: &Repo, findings: &mut Findings) {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let named = |line: &str| -> Vec<String> {
        let starts = line.match_indices("docs/").filter(|(at, _)| {
            let before = line[..*at].chars().next_back();
            !before.is_some_and(is_path)
        });
        let ends = starts.filter_map(|(at, _)| {
            let rest = &line[at..];
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let placeholder = rest[end..].starts_with(['{', '<', '*']);
            (!placeholder).then(|| rest[..end].trim_end_matches(['.', '/']).to_owned())
        });
        ends.collect()
    };
    for file in repo.files.iter().filter(|file| !is_sample(file)) {
        for (number, line) in file.lines() {
            for name in named(line) {
                let folder = format!("{name}/");
                let there = repo
                    .files
                    .iter()
                    .any(|file| file.path == name || file.path.starts_with(&folder));
                if !there && !name.contains("nnnn") {
                    findings.add(&file.path, number, format!("there is no `{name}`"));
                }
            }
        }
    }
}

/// The samples of these rules' own tests mention what is not there.
fn is_sample(file: &File) -> bool {
    file.path.starts_with("xtask/src/tidy/")
}

/// Lines such as `NAME = value;` of a list of constants.
fn constants(file: &File) -> impl Iterator<Item = (usize, &str, &str)> {
    file.lines().filter_map(|(number, line)| {
        let (name, value) = line.trim().strip_suffix(';')?.split_once(" = ")?;
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(upper).then_some((number, name, value))
    })
}
