use super::mask;

#[test]
fn comments_and_literals_are_blanked_in_place() {
    let masked = mask("let a = \"todo\"; // todo\nb('\"'); /* x /* y */ z */ c");
    assert_eq!(masked.code[0], "let a = \"    \";        ");
    assert_eq!(masked.prose[0], "let a = \"    \"; // todo");
    assert_eq!(masked.code[1], "b(' ');                   c");
    assert_eq!(masked.literals, [(1, "todo".to_owned())]);
}

#[test]
fn lifetimes_are_code_and_raw_strings_are_not() {
    let masked = mask("fn f<'a>(x: &'a str) -> bool { x == r#\"a \"b\" c\"# }\nlet bar = 1;");
    assert!(masked.code[0].starts_with("fn f<'a>(x: &'a str) -> bool { x == r#\""));
    assert!(!masked.code[0].contains('b') || !masked.code[0].contains("\"b\""));
    assert_eq!(masked.literals, [(1, "a \"b\" c".to_owned())]);
    assert_eq!(masked.code[1], "let bar = 1;");
}

#[test]
fn escapes_do_not_end_a_literal() {
    let masked = mask(r#"f("a\"b", '\'', b"\\"); g"#);
    assert_eq!(masked.literals[0].1, "a\\\"b");
    assert!(masked.code[0].ends_with("); g"));
}
