//! The diamond: who may depend on whom, and what core may never reach.

use std::collections::BTreeSet;

use super::repo::{Package, Repo};
use super::{Finding, Findings};

/// For each crate the crates of ours that it may be built on. `xtask` stands outside.
const FLOORS: &[(&str, &[&str])] = &[
    ("contraflow-core", &[]),
    ("contraflow-engine", &["contraflow-core"]),
    ("contraflow-ends", &["contraflow-core"]),
    ("contraflow-proxy", &["contraflow-core"]),
    (
        "contraflow-testkit",
        &["contraflow-core", "contraflow-engine"],
    ),
    (
        "contraflow",
        &[
            "contraflow-core",
            "contraflow-engine",
            "contraflow-ends",
            "contraflow-proxy",
        ],
    ),
];

/// Only tests may use it.
const TESTKIT: &str = "contraflow-testkit";

/// Runtimes, drivers, networks and chance: nothing that core is built on may be one of these.
const IMPURE: &[&str] = &[
    "async-std",
    "fastrand",
    "getrandom",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "mysql_async",
    "rand",
    "rdkafka",
    "reqwest",
    "rusqlite",
    "smol",
    "socket2",
    "tokio",
    "tokio-postgres",
];

/// May return errors without a type.
const ANYHOW: &[&str] = &["contraflow", "xtask"];

/// Dependencies go down only, siblings are blind to each other, and `anyhow` stays at the edge.
pub(super) fn members_stay_on_their_floor(repo: &Repo, findings: &mut Findings) {
    let members: BTreeSet<&str> = repo
        .members()
        .map(|package| package.name.as_str())
        .collect();
    for package in repo.members().filter(|package| package.name != "xtask") {
        let Some((_, floor)) = FLOORS.iter().find(|(name, _)| *name == package.name) else {
            let message = format!("crate `{}` has no floor: argue one", package.name);
            findings.add(&package.manifest, 1, message);
            continue;
        };
        for (name, kind) in &package.declared {
            // Tests may drive a flow over a real end: what the testkit stands on is theirs too.
            let in_tests = [TESTKIT, "contraflow-engine", package.name.as_str()];
            let is_dev = kind == "dev" && in_tests.contains(&name.as_str());
            if members.contains(name.as_str()) && !floor.contains(&name.as_str()) && !is_dev {
                let message = format!("`{}` must not depend on `{name}` ({kind})", package.name);
                findings.0.push(at(repo, package, name, message));
            }
            if name == "anyhow" && !ANYHOW.contains(&package.name.as_str()) {
                let message = "`anyhow` is for the binary and xtask: libraries have typed errors";
                findings.0.push(at(repo, package, name, message.to_owned()));
            }
        }
    }
}

/// Nothing that core is built on has a runtime, a driver, a network or chance in it.
pub(super) fn core_is_pure(repo: &Repo, findings: &mut Findings) {
    let Some(core) = repo.members().find(|package| package.name == FLOORS[0].0) else {
        return;
    };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<(&str, &str)> = core.built_in.iter().map(|id| ("", id.as_str())).collect();
    while let Some((through, id)) = waiting.pop() {
        let Some(package) = repo.packages.iter().find(|package| package.id == id) else {
            continue;
        };
        if !seen.insert(id) {
            continue;
        }
        let through = if through.is_empty() {
            &package.name
        } else {
            through
        };
        if IMPURE.contains(&package.name.as_str()) {
            let message = format!("core is built on `{}` through `{through}`", package.name);
            findings.0.push(at(repo, core, through, message));
        }
        waiting.extend(package.built_in.iter().map(|id| (through, id.as_str())));
    }
}

/// Every manifest takes edition, MSRV, licence and lints from the workspace.
pub(super) fn manifests_inherit(repo: &Repo, findings: &mut Findings) {
    for package in repo.members() {
        let path = &package.manifest;
        if package.rust_version.is_none() {
            findings.add(path, 1, "no `rust-version`: take it from the workspace");
        }
        if package.edition != "2024" {
            findings.add(path, 1, "another edition than 2024");
        }
        if package.licence.as_deref() != Some("Apache-2.0") {
            findings.add(path, 1, "another licence than Apache-2.0");
        }
        let text = repo.file(path).map_or("", |file| file.text.as_str());
        if !text.contains("[lints]\nworkspace = true") {
            findings.add(path, 1, "no `[lints] workspace = true`");
        }
    }
}

fn at(repo: &Repo, package: &Package, name: &str, message: String) -> Finding {
    let line = repo
        .file(&package.manifest)
        .map_or(1, |file| file.line_of(name));
    Finding {
        file: package.manifest.clone(),
        line,
        message,
    }
}
