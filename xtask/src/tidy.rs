//! The habits of `CONTRIBUTING.md` that neither rustc nor clippy can see.
//!
//! Modules in reading order:
//!
//! * [`repo`]: the files and the packages that rules look at.
//! * [`mask`]: Rust text without what is written in comments and literals.
//! * One module per group of rules: [`floors`], [`licences`], [`size`], [`words`], [`modes`],
//!   [`writers`], [`layout`], [`places`], [`pages`].

use std::fmt;

use anyhow::Result;

mod mask;
mod repo;

mod floors;
mod layout;
mod licences;
mod modes;
mod pages;
mod places;
mod size;
mod words;
mod writers;

use repo::Repo;

use crate::shell;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// What a rule has found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, file: &str, line: usize, message: impl Into<String>) {
        self.0.push(Finding {
            file: file.to_owned(),
            line,
            message: message.into(),
        });
    }
}

type Rule = fn(&Repo, &mut Findings);

const RULES: &[Rule] = &[
    floors::members_stay_on_their_floor,
    floors::core_is_pure,
    floors::manifests_inherit,
    licences::licences_are_allowed,
    licences::sources_are_one_registry,
    size::files_functions_lines,
    words::banned_words,
    words::clocks,
    words::ambient,
    modes::mode_is_matched_in_one_place,
    modes::phases_and_positions_have_no_order,
    writers::sql_writers,
    layout::module_names,
    layout::tests_have_their_own_file,
    layout::one_integration_binary,
    places::no_machine_paths,
    places::no_registry_hosts,
    pages::error_pages,
    pages::crash_points,
    pages::changelog,
    pages::mentioned_pages,
];

/// Checks all rules, prints every finding and says whether there was none.
pub(crate) fn run() -> Result<bool> {
    let repo = Repo::read(&shell::root()?)?;
    let findings = check(&repo);
    for finding in &findings {
        shell::say(&finding.to_string());
    }
    let (found, files, rules) = (findings.len(), repo.files.len(), RULES.len());
    shell::note(&format!(
        "tidy: {found} findings; {rules} rules, {files} files"
    ));
    Ok(findings.is_empty())
}

fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings = Findings::default();
    for rule in RULES {
        rule(repo, &mut findings);
    }
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

#[cfg(test)]
mod tests;
