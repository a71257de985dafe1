//! Every rule has a sample that breaks it, and one that does not.

use super::repo::{File, Package, Repo};
use super::{Finding, Findings, Rule};

mod files;
mod packages;

/// What a rule says of some files.
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| File::new(path, text));
    let repo = Repo {
        files: files.collect(),
        packages: Vec::new(),
    };
    run(rule, &repo)
}

/// What a rule says of some packages.
fn found_in(rule: Rule, packages: Vec<Package>) -> Vec<String> {
    let repo = Repo {
        files: Vec::new(),
        packages,
    };
    run(rule, &repo)
}

fn run(rule: Rule, repo: &Repo) -> Vec<String> {
    let mut findings = Findings::default();
    rule(repo, &mut findings);
    findings.0.iter().map(ToString::to_string).collect()
}

fn ours(name: &str, declared: &[(&str, &str)]) -> Package {
    let declared = declared
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()));
    Package {
        id: name.to_owned(),
        name: name.to_owned(),
        licence: Some("Apache-2.0".to_owned()),
        edition: "2024".to_owned(),
        rust_version: Some("1.90".to_owned()),
        manifest: format!("crates/{name}/Cargo.toml"),
        declared: declared.collect(),
        ..Package::default()
    }
}

fn theirs(name: &str, licence: &str, source: &str) -> Package {
    Package {
        id: name.to_owned(),
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        licence: Some(licence.to_owned()),
        source: Some(source.to_owned()),
        ..Package::default()
    }
}

#[test]
fn a_finding_is_shown_with_its_place() {
    let finding = Finding {
        file: "a.rs".to_owned(),
        line: 3,
        message: "no".to_owned(),
    };
    assert_eq!(finding.to_string(), "a.rs:3: no");
}
