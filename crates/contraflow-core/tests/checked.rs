//! The static check: every problem with its code, at its place, all at once.

use contraflow_core::code::Code;
use contraflow_core::error::Problem;
use contraflow_core::mapping::{Mapping, parse};

use crate::flow::{check, key, node, ops, shape};

const OLD: &str = "id int64, a text, b text, n int32";

/// Operations, the new table, the code and the line of what is wrong.
const MISTAKES: &[(&str, Option<&str>, Code, Option<u32>)] = &[
    ("- remove: {field: c}", None, Code::FIELD_UNKNOWN, Some(1)),
    (
        "- rename: {from: a, to: b}",
        None,
        Code::PATH_WRITTEN_TWICE,
        Some(1),
    ),
    (
        "- add: {field: b, type: text, default: x}",
        None,
        Code::PATH_WRITTEN_TWICE,
        Some(1),
    ),
    (
        "- remove: {field: a}",
        None,
        Code::FIELD_NOT_PRODUCED,
        Some(1),
    ),
    (
        "- convert: {field: a, to: int64}",
        None,
        Code::ON_FAIL_MISSING,
        Some(1),
    ),
    (
        "- convert: {field: a, to: date, factor: 2}",
        None,
        Code::TYPE_MISMATCH,
        Some(1),
    ),
    ("- hoist: {from: a}", None, Code::TYPE_MISMATCH, Some(1)),
    (
        "- convert: {field: id, to: text, on_fail: letter}",
        None,
        Code::KEY_NOT_ISO,
        Some(1),
    ),
    (
        "- remove: {field: id, default: 0}",
        None,
        Code::KEY_NOT_ISO,
        Some(1),
    ),
    (
        "- group: {fields: \"n\", numbers: 1..2, into: x}",
        None,
        Code::OPERATION_INVALID,
        Some(1),
    ),
    (
        "",
        Some("id int64, a int64, b text, n int32"),
        Code::TYPE_MISMATCH,
        None,
    ),
    (
        "",
        Some("id int64, a text, b text, n int32, z text"),
        Code::FIELD_NOT_PRODUCED,
        None,
    ),
    (
        "- rename: {from: a, to: c}",
        Some("id int64, b text, n int32, a text?"),
        Code::FIELD_UNKNOWN,
        None,
    ),
    (
        "",
        Some("id int64, a text, b text"),
        Code::FIELD_NOT_PRODUCED,
        None,
    ),
];

#[track_caller]
fn refused(lines: &str, old: &str, new: Option<&str>, code: Code, line: Option<u32>) -> Problem {
    let problems = check(lines, old, new).map(|_| ()).unwrap_err();
    let found = problems.iter().find(|problem| problem.code == code);
    let found = found.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(found.place.map(|place| place.line), line, "{found:?}");
    found.clone()
}

#[test]
fn each_mistake_has_its_code_and_place() {
    for (lines, new, code, line) in MISTAKES {
        let mut problems = Vec::new();
        let parsed = parse(&node(lines), &mut problems);
        if parsed.len() < node_count(lines) {
            assert!(
                problems.iter().any(|problem| problem.code == *code),
                "{problems:?}"
            );
            continue;
        }
        refused(lines, OLD, *new, *code, *line);
    }
}

fn node_count(lines: &str) -> usize {
    lines.lines().filter(|line| !line.trim().is_empty()).count()
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let lines = "
        - remove: {field: x}
        - rename: {from: y, to: z}
        - convert: {field: a, to: int64}
    ";
    let problems = check(lines, OLD, None).map(|_| ()).unwrap_err();
    let lines: Vec<u32> = problems
        .iter()
        .filter_map(|p| Some(p.place?.line))
        .collect();
    assert_eq!(lines, [1, 2, 3]);
}

#[test]
fn words_that_are_mistyped_get_a_suggestion() {
    for (lines, code, hint) in [
        (
            "- renam: {from: a, to: b}",
            Code::KEY_UNKNOWN,
            "Did you mean `rename`?",
        ),
        (
            "- rename: {from: a, too: b}",
            Code::KEY_UNKNOWN,
            "Did you mean `to`?",
        ),
        (
            "- add: {field: c, type: txt, default: x}",
            Code::VALUE_INVALID,
            "Did you mean `text`?",
        ),
    ] {
        let mut problems = Vec::new();
        assert!(parse(&node(lines), &mut problems).is_empty());
        let found = problems
            .iter()
            .find(|problem| problem.code == code)
            .unwrap();
        assert_eq!(found.hint.as_deref(), Some(hint));
        assert_eq!(found.place.unwrap().line, 1);
    }
}

#[test]
fn the_new_tables_order_is_kept_and_what_only_one_side_has_is_preserved() {
    let mapping = check(
        "- rename: {from: a, to: c}",
        "id int64, a text, legacy text?",
        Some("extra text?, c text, id int64"),
    );
    // The first field of the test's shapes is the key, which must be the image of the old one.
    let (old, mut new) = (
        shape("id int64, a text, legacy text?"),
        shape("extra text?, c text, id int64"),
    );
    assert!(mapping.is_ok());
    new.key = vec![2];
    let key_of_new = key(&new);
    let lines = ops("- rename: {from: a, to: c}");
    let (mapping, _) =
        Mapping::check(&lines, &old, &key(&old), Some(&new), Some(&key_of_new)).unwrap();
    let preserved = mapping
        .operations()
        .iter()
        .filter(|operation| operation.name == "preserve");
    assert_eq!(preserved.count(), 2);
    let wrong = Mapping::check(&lines, &old, &key(&old), Some(&new), Some(&["c".into()]));
    assert_eq!(wrong.unwrap_err()[0].code, Code::KEY_NOT_ISO);
}

#[test]
fn the_digest_ignores_layout_and_nothing_else() {
    let digest = |lines: &str| check(lines, OLD, None).unwrap().digest();
    let one = digest("- rename: {from: a, to: c}");
    assert_eq!(one, digest("- rename: {to: c,   from: a}"));
    assert_ne!(one, digest("- rename: {from: b, to: c}"));
}
