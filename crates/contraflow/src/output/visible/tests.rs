use super::*;

#[test]
fn passwords_of_urls_are_hidden() {
    let cases = [
        ("postgres://u:pw@h/db", "postgres://u:***@h/db"),
        (
            "old: {postgres: \"postgres://u:p@w/x@h:5432/db\"}",
            "old: {postgres: \"postgres://u:***@h:5432/db\"}",
        ),
        ("a://u:p q@h b://v:q@i", "a://u:***@i"),
        ("http://host:80/x", "http://host:80/x"),
        ("http://user@host", "http://user@host"),
        ("://", "://"),
        ("host=h password=p w", "host=h password=***"),
        ("{\"Password\": \"p\", a: 1}", "{\"Password\":***"),
        (
            "file `secret` cannot be read",
            "file `secret` cannot be read",
        ),
        ("one\na://u:p@h\nthree", "one\na://u:***@h\nthree"),
        ("no url: at all", "no url: at all"),
    ];
    for (text, shown) in cases {
        assert_eq!(visible(text), shown);
    }
}

#[test]
fn control_characters_cannot_drive_the_terminal() {
    assert_eq!(
        visible("a\u{1b}[2Jb\tc\rd\u{202e}"),
        "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}"
    );
}
