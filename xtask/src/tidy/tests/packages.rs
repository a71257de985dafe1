use super::{found_in, ours, theirs};
use crate::tidy::{floors, layout, licences};

#[test]
fn siblings_must_not_import_each_other() {
    let engine = ours("contraflow-engine", &[("contraflow-ends", "normal")]);
    let ends = ours("contraflow-ends", &[("contraflow-core", "normal")]);
    let core = ours("contraflow-core", &[]);
    let found = found_in(
        floors::members_stay_on_their_floor,
        vec![engine, ends, core],
    );
    let expected = "`contraflow-engine` must not depend on `contraflow-ends` (normal)";
    assert_eq!(
        found,
        [format!("crates/contraflow-engine/Cargo.toml:1: {expected}")]
    );
}

#[test]
fn the_testkit_is_for_tests() {
    let testkit = || ours("contraflow-testkit", &[]);
    let dev = ours("contraflow-ends", &[("contraflow-testkit", "dev")]);
    let rule = floors::members_stay_on_their_floor;
    assert!(found_in(rule, vec![testkit(), dev]).is_empty());
    let normal = ours("contraflow-ends", &[("contraflow-testkit", "normal")]);
    assert_eq!(found_in(rule, vec![testkit(), normal]).len(), 1);
}

#[test]
fn a_new_crate_needs_a_floor() {
    let found = found_in(
        floors::members_stay_on_their_floor,
        vec![ours("contraflow-more", &[])],
    );
    assert!(found[0].contains("has no floor"), "{found:?}");
}

#[test]
fn anyhow_stays_at_the_edge() {
    let rule = floors::members_stay_on_their_floor;
    let edge = ["contraflow", "xtask"].map(|name| ours(name, &[("anyhow", "normal")]));
    assert!(found_in(rule, edge.to_vec()).is_empty());
    let library = ours("contraflow-core", &[("anyhow", "normal")]);
    assert_eq!(found_in(rule, vec![library]).len(), 1);
}

#[test]
fn core_reaches_no_runtime_through_others() {
    let mut core = ours("contraflow-core", &[]);
    core.built_in = vec!["harmless".to_owned()];
    let mut harmless = theirs("harmless", "MIT", "registry+r");
    harmless.built_in = vec!["tokio".to_owned()];
    let packages = vec![core, harmless, theirs("tokio", "MIT", "registry+r")];
    let found = found_in(floors::core_is_pure, packages);
    let expected =
        "crates/contraflow-core/Cargo.toml:1: core is built on `tokio` through `harmless`";
    assert_eq!(found, [expected]);
}

#[test]
fn manifests_take_everything_from_the_workspace() {
    let mut package = ours("contraflow-core", &[]);
    package.rust_version = None;
    package.edition = "2021".to_owned();
    package.licence = None;
    // Without a manifest the lints are missing, too.
    assert_eq!(found_in(floors::manifests_inherit, vec![package]).len(), 4);
}

#[test]
fn licences_are_read_as_expressions() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR LGPL-2.1-or-later",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(licences::is_allowed(allowed), "{allowed}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MPL-2.0",
        "(MIT",
        "MIT OR",
    ] {
        let satisfied_anyway = refused == "MIT OR";
        assert_eq!(licences::is_allowed(refused), satisfied_anyway, "{refused}");
    }
}

#[test]
fn licences_and_bans_are_checked_for_every_package() {
    let rule = licences::licences_are_allowed;
    let mut unnamed = theirs("unnamed", "MIT", "registry+r");
    unnamed.licence = None;
    let packages = vec![
        theirs("good", "MIT", "registry+r"),
        theirs("viral", "AGPL-3.0", "registry+r"),
        theirs("openssl-sys", "MIT", "registry+r"),
        unnamed,
    ];
    let found = found_in(rule, packages);
    assert_eq!(found.len(), 3, "{found:?}");
}

/// Kafka's client may have OpenSSL; nobody else may, beside it or instead.
#[test]
fn a_ban_is_lifted_for_those_who_are_named() {
    let rule = licences::licences_are_allowed;
    let openssl = theirs("openssl-sys", "MIT", "registry+r");
    let taker = |name: &str| {
        let mut taker = theirs(name, "MIT", "registry+r");
        taker.built_in = vec![openssl.id.clone()];
        taker
    };
    let packages = vec![openssl.clone(), taker("rdkafka-sys")];
    assert!(found_in(rule, packages).is_empty());
    let packages = vec![openssl.clone(), taker("rdkafka-sys"), taker("other")];
    assert_eq!(found_in(rule, packages).len(), 1);
}

#[test]
fn packages_come_from_one_registry() {
    let packages = vec![
        theirs("a", "MIT", "registry+r"),
        theirs("b", "MIT", "git+r"),
        theirs("c", "MIT", "registry+other"),
    ];
    let found = found_in(licences::sources_are_one_registry, packages);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_crate_links_one_integration_binary() {
    let mut package = ours("contraflow-core", &[]);
    package.tests = vec![("other".to_owned(), "crates/x/tests/other.rs".to_owned())];
    let found = found_in(layout::one_integration_binary, vec![package]);
    assert!(
        found[0].contains("a second integration binary"),
        "{found:?}"
    );
    assert!(found[1].contains("autotests"), "{found:?}");
    assert!(found_in(layout::one_integration_binary, vec![ours("a", &[])]).is_empty());
}
