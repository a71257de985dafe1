//! `Mode` is matched in one place, so that no second runner grows beside the first.

use super::Findings;
use super::repo::Repo;

const PLACE: &str = "crates/contraflow-core/src/phase";

/// Elsewhere a mode may be named and handed on, never looked into.
pub(super) fn mode_is_matched_in_one_place(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        if file.path.starts_with(PLACE) {
            continue;
        }
        for (number, line) in (1..).zip(&rust.code) {
            if matches_mode(line) {
                let message = "`Mode` is matched here: give its row in `phase.rs` another column";
                findings.add(&file.path, number, message);
            }
        }
    }
}

/// Files whose types must not be compared by order.
const WITHOUT_ORDER: &[&str] = &[
    "crates/contraflow-core/src/phase.rs",
    "crates/contraflow-core/src/position.rs",
];

/// Phases are asked by predicates, and positions are ordered by their end only.
pub(super) fn phases_and_positions_have_no_order(repo: &Repo, findings: &mut Findings) {
    let without = |path: &str| WITHOUT_ORDER.contains(&path);
    for (file, rust) in repo.rust().filter(|(file, _)| without(&file.path)) {
        for (number, line) in (1..).zip(&rust.code) {
            if line.contains("PartialOrd") {
                let message = "an order that has no meaning: ask a predicate, or the end";
                findings.add(&file.path, number, message);
            }
        }
    }
}

/// Whether a variant of `Mode` stands where a pattern or a comparison stands.
fn matches_mode(line: &str) -> bool {
    const VARIANTS: [&str; 3] = ["Mode::Tables", "Mode::Topics", "Mode::Services"];
    VARIANTS.iter().any(|variant| {
        line.match_indices(variant).any(|(at, _)| {
            let before = line[..at].trim_end();
            let is_other_type = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let before = before.strip_suffix("phase::").unwrap_or(before).trim_end();
            let after = &line[at + variant.len()..];
            let pattern = after.contains("=>") && !before.contains("=>");
            let asked = ["let", "|", "==", "!="].iter().any(|s| before.ends_with(s));
            let compared =
                after.trim_start().starts_with("==") || after.trim_start().starts_with('|');
            let tested = before.contains("matches!(");
            !is_other_type && (pattern || asked || compared || tested)
        })
    })
}
