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
