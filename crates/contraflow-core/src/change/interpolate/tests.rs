use super::*;

struct Fixed;

impl Secrets for Fixed {
    fn env(&self, name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "hunter2".to_owned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/run/pw" => Ok("s3cret".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

const PLACE: Place = Place { line: 3, column: 7 };

fn filled(text: &str) -> Result<Secret<String>, Vec<Problem>> {
    let mut problems = Vec::new();
    fill(text, PLACE, &Fixed, &mut problems).ok_or(problems)
}

fn refused(text: &str) -> Vec<String> {
    let problems = filled(text).unwrap_err();
    let of_code = |p: &Problem| (p.code, p.place) == (Code::INTERPOLATION_FAILED, Some(PLACE));
    assert!(problems.iter().all(of_code));
    problems.into_iter().map(|p| p.message).collect()
}

#[test]
fn values_are_filled_in_and_not_shown() {
    let text = "a${env:PASSWORD}b${file:/run/pw}c$d";
    let secret = filled(text).unwrap();
    assert_eq!(secret.expose(), "ahunter2bs3cretc$d");
    assert_eq!(secret.to_string(), text);
    assert_eq!(format!("{secret:?}"), format!("Secret({text})"));
}

#[test]
fn a_value_is_not_interpolated_again() {
    struct Nested;
    impl Secrets for Nested {
        fn env(&self, _: &str) -> Option<String> {
            Some("${env:B}: [1]".to_owned())
        }
        fn file(&self, _: &str) -> Result<String, String> {
            Err(String::new())
        }
    }
    let secret = fill("${env:A}", PLACE, &Nested, &mut Vec::new()).unwrap();
    assert_eq!(secret.expose(), "${env:B}: [1]");
}

#[test]
fn two_dollars_escape() {
    let secret = filled("$${env:PASSWORD} $$ $").unwrap();
    assert_eq!(secret.expose(), "${env:PASSWORD} $$ $");
}

#[test]
fn everything_missing_is_reported() {
    let messages = refused("${env:NOPE}${file:/nope}");
    assert_eq!(messages[0], "variable `NOPE` is not set");
    assert_eq!(messages[1], "file `/nope` cannot be read: no such file");
}

#[test]
fn malformed_ones_are_refused() {
    for text in [
        "${env:X",
        "${X}",
        "${env:}",
        "${file:}",
        "${vault:x}",
        "${}",
    ] {
        assert_eq!(refused(text).len(), 1, "{text}");
    }
}

#[test]
fn names_are_literal() {
    let mut problems = Vec::new();
    assert_eq!(
        literal("the table", "a$${b", PLACE, &mut problems).as_deref(),
        Some("a${b")
    );
    assert!(literal("the table", "${env:PASSWORD}", PLACE, &mut problems).is_none());
    assert_eq!(problems[0].code, Code::INTERPOLATION_FAILED);
    assert!(!problems[0].message.contains("hunter2"));
}
