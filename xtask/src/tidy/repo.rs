//! The files and the packages that rules look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::mask::{Masked, mask};
use crate::shell;

/// What is never looked at: what builds and runs leave behind, and what git keeps for itself.
const SKIPPED: &[&str] = &["target", ".git", ".contraflow"];

/// The repository as the rules see it.
#[derive(Debug, Default)]
pub(super) struct Repo {
    /// Every text file, by path.
    pub(super) files: Vec<File>,
    /// Every package that is built, ours and others'.
    pub(super) packages: Vec<Package>,
}

/// A text file.
#[derive(Debug)]
pub(super) struct File {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
    /// For Rust files.
    pub(super) rust: Option<Masked>,
}

/// A package of `cargo metadata`.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: Option<String>,
    /// Where it comes from; `None` for our own.
    pub(super) source: Option<String>,
    pub(super) edition: String,
    pub(super) rust_version: Option<String>,
    /// The manifest from the root of the repository; empty for packages of others.
    pub(super) manifest: String,
    /// Names it declares, with the kind: `normal`, `dev` or `build`.
    pub(super) declared: Vec<(String, String)>,
    /// Ids of the packages that are built into it.
    pub(super) built_in: Vec<String>,
    /// Integration test binaries: name and source.
    pub(super) tests: Vec<(String, String)>,
}

impl Package {
    /// Whether it is part of this repository.
    pub(super) fn is_ours(&self) -> bool {
        self.source.is_none()
    }
}

impl Repo {
    /// Reads all text files under `root` and asks cargo for the packages.
    pub(super) fn read(root: &Path) -> Result<Repo> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let args = ["metadata", "--locked", "--format-version", "1"];
        let output = shell::cargo(&args)?.arg("--all-features").output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            anyhow::bail!("cargo metadata failed: {}", message.trim());
        }
        let metadata = serde_json::from_slice(&output.stdout)?;
        let packages = packages(&metadata, root).context("cargo metadata has an unknown form")?;
        Ok(Repo { files, packages })
    }

    /// A file by its path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Masked)> {
        self.files
            .iter()
            .filter_map(|file| file.rust.as_ref().map(|rust| (file, rust)))
    }

    /// The packages of this repository.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_ours())
    }
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
            rust: path.ends_with(".rs").then(|| mask(text)),
        }
    }

    /// Whether it is part of a test rather than of the product.
    pub(super) fn is_test(&self) -> bool {
        let path = &self.path;
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("-testkit/")
    }

    /// The lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The first line that holds a text, or 1.
    pub(super) fn line_of(&self, text: &str) -> usize {
        self.lines()
            .find(|(_, line)| line.contains(text))
            .map_or(1, |(number, _)| number)
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, files)?;
        } else if let Ok(text) = String::from_utf8(fs::read(&path)?) {
            let path = path.strip_prefix(root)?.to_string_lossy();
            files.push(File::new(&path.replace('\\', "/"), &text));
        }
    }
    Ok(())
}

fn packages(metadata: &Value, root: &Path) -> Option<Vec<Package>> {
    let mut built_in: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array()? {
        let linked = |dep: &&Value| {
            let kinds = dep["dep_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
        };
        let ids = node["deps"].as_array()?.iter().filter(linked);
        let ids = ids.map(|dep| text(&dep["pkg"])).collect();
        built_in.insert(text(&node["id"]), ids);
    }
    let packages = metadata["packages"].as_array()?.iter();
    packages
        .map(|package| read_package(package, root, &mut built_in))
        .collect()
}

fn read_package(
    package: &Value,
    root: &Path,
    built_in: &mut BTreeMap<String, Vec<String>>,
) -> Option<Package> {
    let relative = |path: &Value| {
        let path = text(path);
        let inside = Path::new(&path).strip_prefix(root).ok();
        inside.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
    };
    let id = text(&package["id"]);
    let declared = package["dependencies"].as_array()?.iter().map(|dep| {
        let kind = dep["kind"].as_str().unwrap_or("normal");
        (text(&dep["name"]), kind.to_owned())
    });
    let targets = package["targets"].as_array()?.iter();
    let tests = targets
        .filter(|target| target["kind"][0] == "test")
        .map(|target| (text(&target["name"]), relative(&target["src_path"])));
    Some(Package {
        built_in: built_in.remove(&id).unwrap_or_default(),
        id,
        name: text(&package["name"]),
        version: text(&package["version"]),
        licence: package["license"].as_str().map(str::to_owned),
        source: package["source"].as_str().map(str::to_owned),
        edition: text(&package["edition"]),
        rust_version: package["rust_version"].as_str().map(str::to_owned),
        manifest: relative(&package["manifest_path"]),
        declared: declared.collect(),
        tests: tests.collect(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
