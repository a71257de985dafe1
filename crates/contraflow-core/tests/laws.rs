//! Every operation, alone and in random chains, keeps the laws it declares.

use contraflow_core::mapping::{Case, Law, Proof, check_laws};
use contraflow_core::side::Side;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use proptest::sample::subsequence;

use crate::flow::{check, image, int, mapping, text};

const OLD: &str = "id int64, t text, u text?, i int32, big int64, d decimal(10,2)?, \
    when timestamp, flag bool, s1 text?, s2 text?, s3 text?, tags list of text, \
    home record(street text?, no int32?), orders list of record(sku text, qty text?)";

/// Operations that can stand together in this order, whichever are left out.
const OPS: &[&str] = &[
    "- rename: {from: t, to: t2}",
    "- remove: {field: u}",
    "- add: {field: email, type: text, nullable: true}",
    "- add: {field: level, type: int32, default: 1}",
    "- const: {field: version, type: int32, value: 2}",
    "- convert: {field: i, to: int64, on_fail: {down: {value: 0}}}",
    "- convert: {field: big, to: text, on_fail: {down: {value: 0}}}",
    "- convert: {field: d, to: text, on_fail: {down: {value: 0}}}",
    "- convert: {field: when, to: text, on_fail: {down: {value: 1970-01-01T00:00:00Z}}}",
    "- convert: {field: flag, to: int32, on_fail: {down: {value: false}}}",
    "- derive: {field: tag_count, from: tags, as: count}",
    "- ungroup: {from: tags, fields: \"tag{i}\", numbers: 1..2}",
    "- group: {fields: \"s{i}\", numbers: 1..3, into: ss, count: ss_count}",
    "- hoist: {from: home}",
    "- at: {path: \"orders[]\", do: [{rename: {from: sku, to: code}}, \
     {convert: {field: qty, to: int64, on_fail: {up: {value: 0}}}}, \
     {add: {field: paid, type: bool, default: false}}]}",
];

/// Operations with a shape of their own.
const ALONE: &[(&str, &str)] = &[
    (
        "- split: {field: t, by: \" \", into: [first, last]}",
        "id int64, t text?",
    ),
    (
        "- split: {field: t, by: \" \", into: [first, last]}",
        "id int64, t text",
    ),
    (
        "- join: {fields: [a, b], by: \" \", into: t}",
        "id int64, a text, b text?",
    ),
    ("- wrap: {field: t, into: ts}", "id int64, t text?"),
    ("- wrap: {field: t}", "id int64, t text"),
    ("- unwrap: {field: ts}", "id int64, ts list of int32"),
    (
        "- nest: {fields: [a, b], into: r}",
        "id int64, a int32, b text?",
    ),
    ("- hoist: {from: r}", "id int64, r record(a text, b int32)?"),
    (
        "- convert: {field: t, to: int64, on_fail: letter}",
        "id int64, t text",
    ),
    (
        "- convert: {field: c, to: \"decimal(20,2)\", factor: 0.01, on_fail: letter}",
        "id int64, c int64",
    ),
    (
        "- convert: {field: c, to: int32, on_fail: {up: {value: 0}}}",
        "id int64, c int64",
    ),
    (
        "- convert: {field: c, to: timestamp, epoch: millis, on_fail: letter}",
        "id int64, c int64",
    ),
    (
        "- convert: {field: f, to: decimal, on_fail: letter}",
        "id int64, f float64",
    ),
    (
        "- convert: {field: s, enum: {A: on, B: \"off\", C: \"off\"}, \
         on_fail: {up: {value: none}, down: {value: A}}}",
        "id int64, s text",
    ),
    (
        "- convert: {field: j, to: list of int32, on_fail: {up: {value: null}}}",
        "id int64, j text?",
    ),
    (
        "- convert: {field: j, to: json, on_fail: letter}",
        "id int64, j list of record(a text?)?",
    ),
    (
        "- group: {fields: \"c{i}_{f}\", numbers: 1..3, items: {n: name, p: phone}, into: cs}",
        "id int64, c1_n text, c1_p text?, c2_n text, c2_p text?, c3_n text, c3_p text?",
    ),
    (
        "- expr: {read: [a, b], write: {c: int64}, up: {c: \"a * 3 + b\"}, \
         down: {a: \"c / 3\", b: \"c % 3\"}, law: partial}",
        "id int64, a int64, b int64",
    ),
    (
        "- expr: {read: [a], write: {ok: bool?}, up: {ok: \"a == 'x' ? true : null\"}, \
         down: {a: \"ok == true ? 'x' : ''\"}, law: restorable}",
        "id int64, a text",
    ),
    (
        "- expr: {read: [a], write: {b: text}, up: {b: \"a + '!'\"}, law: derived}",
        "id int64, a text",
    ),
    ("- remove: {field: x, restore: false}", "id int64, x text?"),
];

#[track_caller]
fn holds(lines: &str, old: &str) {
    let mapping = mapping(lines, old);
    let report = check_laws(&mapping, [&[], &[]], 7);
    assert!(report.holds(), "{lines}: {report:#?}");
    assert!(report.mapped > 100);
    if mapping.law() < Law::Partial {
        assert_eq!(report.letters, 0);
    }
}

#[test]
fn every_operation_alone() {
    for lines in OPS {
        holds(lines, OLD);
    }
    for (lines, old) in ALONE {
        holds(lines, old);
    }
}

#[test]
fn a_broken_promise_is_found_shrunk_and_shows_no_real_row() {
    let lines = "- expr: {read: [a], write: {c: int64}, up: {c: \"100 / a\"}, \
                 down: {a: \"c\"}, law: restorable}";
    let mapping = mapping(lines, "id int64, a int64, other text?");
    let real = image(vec![int(4711), int(0), text("secret")]);
    let report = check_laws(&mapping, [&[real], &[]], 1);
    assert!(!report.holds());
    let total = report
        .laws
        .iter()
        .find(|law| law.law == Proof::Total)
        .unwrap();
    let generated = &total.broken[0];
    assert_eq!(
        (generated.case, generated.path.as_str()),
        (Case::Generated, "c")
    );
    assert_eq!(
        generated.row.as_deref(),
        Some(r#"{"id":0,"a":0,"other":null}"#)
    );
    let real = total
        .broken
        .iter()
        .find(|broken| broken.case == Case::Real)
        .unwrap();
    assert!(real.row.is_none());
    let shown = format!("{report:?}");
    assert!(!shown.contains("4711") && !shown.contains("secret"));
}

#[test]
fn what_is_lost_on_purpose_is_named() {
    let lossy = "- convert: {field: t, to: int64, on_fail: {up: {value: 0, remember: false}}}";
    let mapping = check(lossy, "id int64, t text", None).unwrap();
    assert_eq!(mapping.law(), Law::Opaque);
    assert!(mapping.operations()[0].loses.is_some());
    assert!(mapping.is_forgotten(Side::Old, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_chains(chain in subsequence(OPS, 0..=OPS.len()), seed in any::<u64>()) {
        let lines = chain.join("\n");
        let mapping = mapping(&lines, OLD);
        let report = check_laws(&mapping, [&[], &[]], seed);
        prop_assert!(report.holds(), "{lines}: {report:#?}");
    }
}
