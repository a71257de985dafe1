//! Nothing of the machine that a file was written on.

use super::Findings;
use super::repo::Repo;

/// Folders of one machine, at the start of a path.
const FOLDERS: [&str; 3] = ["home", "root", "work"];

/// Words in the host of an address that fetches packages.
const HOSTS: &[&str] = &[
    "artifactory",
    "goproxy",
    "index",
    "mirror",
    "mirrors",
    "nexus",
    "npmjs",
    "proxy",
    "pypi",
    "registry",
    "static",
];

/// Hosts that exist on paper only.
const ON_PAPER: &[&str] = &["example", "test", "invalid", "localhost"];

/// No file names a path of the machine it was written on.
pub(super) fn no_machine_paths(repo: &Repo, findings: &mut Findings) {
    for file in &repo.files {
        for (number, line) in file.lines() {
            for folder in FOLDERS {
                let path = format!("/{folder}/");
                if line
                    .match_indices(&path)
                    .any(|(at, _)| starts_path(&line[..at]))
                {
                    findings.add(
                        &file.path,
                        number,
                        format!("`{path}` is a path of one machine"),
                    );
                }
            }
        }
    }
}

fn starts_path(before: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "._-})>*~".contains(c);
    !before.ends_with(inside)
}

/// No file names a host that packages are fetched from.
pub(super) fn no_registry_hosts(repo: &Repo, findings: &mut Findings) {
    for file in &repo.files {
        for (number, line) in file.lines() {
            for (at, _) in line.match_indices("://") {
                let rest = &line[at + 3..];
                let end = |c: char| !(c.is_alphanumeric() || ".-@".contains(c));
                let host = rest.split(end).next().unwrap_or_default();
                let mut labels = host.split(['.', '@', '-']);
                let on_paper = host.split('.').any(|label| ON_PAPER.contains(&label));
                if !on_paper && labels.any(|label| HOSTS.contains(&label)) {
                    let message = format!("`{host}` is a host of packages: leave it to cargo");
                    findings.add(&file.path, number, message);
                }
            }
        }
    }
}
