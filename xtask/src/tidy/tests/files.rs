use super::found;
use crate::tidy::{layout, modes, pages, places, size, words, writers};

const CORE: &str = "crates/contraflow-core/src/a.rs";

#[test]
fn long_files_functions_and_lines() {
    let rule = size::files_functions_lines;
    let file = "//\n".repeat(601);
    assert_eq!(
        found(rule, &[(CORE, &file)]),
        [format!("{CORE}:1: 601 lines, the limit is 600")]
    );
    let function = format!(
        "struct A;\nfn f(a: [u8; 2]) {{\n{}}}\n",
        "    g();\n".repeat(69)
    );
    let message = "function `f` has 71 lines, the limit is 70";
    assert_eq!(
        found(rule, &[(CORE, &function)]),
        [format!("{CORE}:2: {message}")]
    );
    let fitting = function.replacen("    g();\n", "", 1);
    assert!(found(rule, &[(CORE, &fitting)]).is_empty());
    let line = format!("let a = {};", "a + ".repeat(30));
    assert_eq!(found(rule, &[(CORE, &line)]).len(), 1);
}

#[test]
fn functions_without_a_body_and_braces_in_literals() {
    let text = "trait T {\n    fn a();\n    fn b() -> char {\n        '{'\n    }\n}\n";
    let masked = crate::tidy::mask::mask(text);
    let functions = size::functions(&masked.code);
    assert_eq!(functions.len(), 1);
    assert_eq!((functions[0].line, functions[0].lines), (3, 3));
}

#[test]
fn addresses_and_raw_data_of_tests_may_be_long() {
    let rule = size::files_functions_lines;
    let address = format!("// see https://example.com/{}", "a".repeat(100));
    assert!(found(rule, &[(CORE, &address)]).is_empty());
    let data = format!("const A: &str = \"{}\";", "a".repeat(100));
    assert_eq!(found(rule, &[(CORE, &data)]).len(), 1);
    assert!(found(rule, &[("crates/a/tests/b.rs", &data)]).is_empty());
}

#[test]
fn promises_and_stubs() {
    let rule = words::banned_words;
    // What the rule must find, as text: none of it stands in this code.
    let text = "// FIXME later\ntodo!();\n#[ignore]\nlet a = \"FIXME todo!\"; // XXXL";
    let found = found(rule, &[(CORE, text)]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with(&format!("{CORE}:1: `FIXME`")));
}

#[test]
fn clocks_outside_of_a_clock() {
    let rule = words::clocks;
    // A sample for the rule; nothing sleeps here.
    let sleep = "std::thread::sleep(time);";
    assert_eq!(found(rule, &[(CORE, sleep)]).len(), 1);
    let clock = format!("impl Clock for Real {{ fn sleep() {{ {sleep} }} }}");
    assert!(found(rule, &[(CORE, &clock)]).is_empty());
}

#[test]
fn chance_threads_and_exits_have_one_place() {
    let rule = words::ambient;
    let place = "crates/contraflow/src/surroundings.rs";
    for broken in [
        "use std::hash::RandomState;",
        "let a = rand::random();",
        "std::thread::Builder::new()",
        "std::process::exit(1);",
    ] {
        assert_eq!(found(rule, &[(CORE, broken)]).len(), 1, "{broken}");
        assert!(found(rule, &[(place, broken)]).is_empty());
        assert!(found(rule, &[("crates/a/tests/b.rs", broken)]).is_empty());
    }
    assert!(found(rule, &[(CORE, "use operand::a; // rand::random")]).is_empty());
}

#[test]
fn mode_is_matched_in_phase_only() {
    let rule = modes::mode_is_matched_in_one_place;
    for broken in [
        "Mode::Tables => 1,",
        "Mode::Tables | Mode::Topics => 1,",
        "if let Mode::Tables = mode {",
        "if matches!(mode, Mode::Topics) {",
        "if mode == phase::Mode::Services {",
        "Mode::Topics == mode",
    ] {
        assert_eq!(found(rule, &[(CORE, broken)]).len(), 1, "{broken}");
        let place = "crates/contraflow-core/src/phase.rs";
        assert!(found(rule, &[(place, broken)]).is_empty());
    }
    for fine in [
        "mode: Mode::Tables,",
        "(\"sqlite\", \"sqlite\") => Ok(Mode::Tables),",
        "OpenMode::Tables => 1,",
        "decide(Mode::Tables, &state)",
    ] {
        assert!(found(rule, &[(CORE, fine)]).is_empty(), "{fine}");
    }
}

#[test]
fn phases_have_no_order() {
    let rule = modes::phases_and_positions_have_no_order;
    let derived = "#[derive(Clone, PartialOrd)]";
    let phase = "crates/contraflow-core/src/phase.rs";
    assert_eq!(found(rule, &[(phase, derived)]).len(), 1);
    assert!(found(rule, &[(CORE, derived)]).is_empty());
}

#[test]
fn statements_that_write_stand_with_the_writers() {
    let rule = writers::sql_writers;
    let (scan, apply) = (
        "crates/contraflow-ends/src/sqlite/scan.rs",
        "crates/contraflow-ends/src/sqlite/apply.rs",
    );
    for statement in [
        "insert into t values (1)",
        "  UPDATE t\\n SET a = 1",
        "delete from {}",
        "create table t (a)",
    ] {
        let text = format!("f(\"{statement}\");").replace("\\n", "\n");
        assert_eq!(found(rule, &[(scan, &text)]).len(), 1, "{statement}");
        assert!(found(rule, &[(apply, &text)]).is_empty());
        assert!(found(rule, &[("crates/contraflow-ends/tests/a.rs", &text)]).is_empty());
    }
    let pruning = "f(\"delete from {} where seq <= ?1\");";
    assert!(
        found(
            rule,
            &[("crates/contraflow-ends/src/sqlite/feed.rs", pruning)]
        )
        .is_empty()
    );
    assert!(found(rule, &[(scan, "// delete from t\nf(\"update failed\");")]).is_empty());
}

#[test]
fn modules_are_domain_words() {
    let rule = layout::module_names;
    assert_eq!(found(rule, &[("crates/a/src/utils.rs", "")]).len(), 1);
    assert_eq!(found(rule, &[("crates/a/src/types/feed.rs", "")]).len(), 1);
    assert_eq!(found(rule, &[(CORE, "pub(crate) mod helpers;")]).len(), 1);
    assert!(found(rule, &[(CORE, "mod feed;")]).is_empty());
}

#[test]
fn tests_lie_in_a_file_of_their_own() {
    let rule = layout::tests_have_their_own_file;
    assert_eq!(
        found(rule, &[(CORE, "#[cfg(test)]\nmod tests {\n}")]).len(),
        1
    );
    assert!(found(rule, &[(CORE, "#[cfg(test)]\nmod tests;")]).is_empty());
}

#[test]
fn paths_of_one_machine() {
    let rule = places::no_machine_paths;
    for folder in ["home", "root", "work"] {
        let text = format!("see /{folder}/a");
        assert_eq!(found(rule, &[("README.md", &text)]).len(), 1, "{folder}");
        let inside = format!("see docs/{folder}/a and ${{dir}}/{folder}/a");
        assert!(found(rule, &[("README.md", &inside)]).is_empty());
    }
}

#[test]
fn hosts_of_packages() {
    let rule = places::no_registry_hosts;
    let host = ["index", "crates", "io"].join(".");
    let text = format!("registry = \"sparse+https://{host}/\"");
    assert_eq!(found(rule, &[(".cargo/config.toml", &text)]).len(), 1);
    assert!(
        found(
            rule,
            &[("a.md", "https://proxy.example.com https://sqlite.org/a")]
        )
        .is_empty()
    );
}

#[test]
fn pages_and_codes_are_the_same() {
    let rule = pages::error_pages;
    let codes = (
        "crates/contraflow-core/src/code.rs",
        "codes! {\n    A = 1;\n    B = 2;\n    C = 3;\n}",
    );
    let found = found(
        rule,
        &[
            codes,
            ("docs/errors/CF0001.md", "# CF0001: a\n"),
            ("docs/errors/CF0002.md", "# two\n"),
            ("docs/errors/CF0009.md", "# CF0009: nobody\n"),
        ],
    );
    assert_eq!(
        found,
        [
            "docs/errors/CF0002.md:1: the title is not `# CF0002: ..`",
            "crates/contraflow-core/src/code.rs:4: `C` has no page `docs/errors/CF0003.md`",
            "docs/errors/CF0009.md:1: no code has this page",
        ]
    );
}

#[test]
fn rows_and_crash_points_are_the_same() {
    let points = (
        "crates/contraflow-core/src/probe.rs",
        "A = \"a.before\";\nB = \"b.after\";",
    );
    let page = (
        "docs/crash-points.md",
        "| point |\n| `a.before` | x |\n| `c` | x |",
    );
    let code = (CORE, "probe.at(Point::A)?;");
    let found = found(pages::crash_points, &[points, page, code]);
    assert_eq!(
        found,
        [
            "crates/contraflow-core/src/probe.rs:2: no code stops at `B`",
            "crates/contraflow-core/src/probe.rs:2: `b.after` has no row in docs/crash-points.md",
            "docs/crash-points.md:3: there is no crash point `c`",
        ]
    );
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    assert_eq!(
        found(pages::changelog, &[("CHANGELOG.md", "# Changelog\n")]).len(),
        1
    );
    assert!(found(pages::changelog, &[("CHANGELOG.md", "## Unreleased\n")]).is_empty());
}

#[test]
fn pages_that_are_mentioned_are_there() {
    let rule = pages::mentioned_pages;
    let text = "// see `docs/decisions/a.md`, docs/errors/CFnnnn.md and (`docs/none`).";
    let found = found(rule, &[(CORE, text), ("docs/decisions/a.md", "")]);
    assert_eq!(found, [format!("{CORE}:1: there is no `docs/none`")]);
}
