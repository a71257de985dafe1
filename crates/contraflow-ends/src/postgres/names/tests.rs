//! Names as people type them.

use super::*;

#[test]
fn tables_are_named_with_and_without_schema() {
    let parsed = |text: &str| {
        let name = TableName::parse(text);
        (name.schema, name.name)
    };
    let pair = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
    assert_eq!(parsed("accounts"), pair("public", "accounts"));
    assert_eq!(parsed("bank.accounts"), pair("bank", "accounts"));
    assert_eq!(parsed("\"a.b\""), pair("public", "a.b"));
    assert_eq!(
        parsed("\"Größe\".\"say \"\"hi\"\"\""),
        pair("Größe", "say \"hi\"")
    );
    assert_eq!(TableName::parse("a.b").quoted(), "\"a\".\"b\"");
}

#[test]
fn literals_cannot_be_left() {
    assert_eq!(literal("it's"), "'it''s'");
    assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
}

#[test]
fn no_name_is_cut() {
    let role = contraflow_core::end::Role {
        change: "c".repeat(40),
        side: contraflow_core::side::Side::New,
        tables: Vec::new(),
    };
    let names = Names::of(&role, "db");
    let last = PairId(u16::MAX);
    let guard = format!("{}_truncate", names.guard(last));
    for name in [&names.slot, &guard, &names.beside(last)] {
        assert!(name.len() < 64, "`{name}` has {} bytes", name.len());
    }
}
