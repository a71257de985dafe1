use proptest::prelude::*;

use super::*;

fn at(line: u32, column: u32) -> Option<Place> {
    Some(Place { line, column })
}

fn refused(text: &str) -> Problem {
    let problem = read(text).unwrap_err();
    assert_eq!(problem.code, Code::FILE_SYNTAX);
    problem
}

#[test]
fn every_node_knows_its_place_and_keeps_its_text() {
    let root = read("a: 1.10\nb:\n  - \"x\"\n  - ~\n  -\nc: {d: e}\nf: |\n  g\n").unwrap();
    let Content::Map(entries) = &root.content else {
        panic!("a map");
    };
    let seen: Vec<_> = entries
        .iter()
        .map(|(name, node)| (name.text.as_str(), name.place.line, node.place.line))
        .collect();
    assert_eq!(seen, [("a", 1, 1), ("b", 2, 3), ("c", 6, 6), ("f", 7, 8)]);
    assert_eq!(entries[0].1.content, Content::Plain("1.10".into()));
    assert_eq!(Some(entries[0].1.place), at(1, 4));
    assert_eq!(entries[3].1.content, Content::Quoted("g\n".into()));
    let Content::List(items) = &entries[1].1.content else {
        panic!("a list");
    };
    assert_eq!(items[0].content, Content::Quoted("x".into()));
    assert_eq!(Some(items[0].place), at(3, 5));
    assert_eq!(items[1].content, Content::Null);
    assert_eq!(items[2].content, Content::Null);
}

#[test]
fn maps_start_at_their_first_key() {
    let root = read("pairs:\n  - old: a\n    new: b\n").unwrap();
    assert_eq!(Some(root.place), at(1, 1));
    let Content::Map(entries) = &root.content else {
        panic!("a map");
    };
    let Content::List(items) = &entries[0].1.content else {
        panic!("a list");
    };
    assert_eq!(Some(items[0].place), at(2, 5));
}

#[test]
fn quoted_words_stay_texts() {
    for text in ["'null'", "\"~\"", "\"\"", "''"] {
        assert!(matches!(read(text).unwrap().content, Content::Quoted(_)));
    }
}

#[test]
fn what_is_not_read_is_refused_with_its_place() {
    assert_eq!(refused("a: &x 1\nb: *x\n").place.unwrap().line, 1);
    assert_eq!(refused("a: 1\nb: *x\n").place.unwrap().line, 2);
    assert_eq!(refused("a: !!str 1\n").place, at(1, 4));
    assert_eq!(refused("a: 1\n---\nb: 2\n").place.unwrap().line, 2);
    assert_eq!(refused("? [a]\n: 1\n").place.unwrap().line, 1);
    assert_eq!(refused("a: 1\nb: [1, 2\n").place.unwrap().line, 3);
    refused("a: 1\n\tb: 2\n");
    assert!(refused("").message.contains("empty"));
    assert!(refused("# only a comment\n").message.contains("empty"));
}

#[test]
fn size_and_depth_have_limits() {
    assert!(
        refused(&"a".repeat(FILE_BYTES_MAX + 1))
            .message
            .contains("limit")
    );
    refused(&"[".repeat(100_000));
    assert!(refused(&"- ".repeat(100_000)).message.contains("nesting"));
    refused(&"{a: ".repeat(100_000));
    let fits = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert!(read(&fits).is_ok());
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(Some(read("\u{feff}a: 1").unwrap().place), at(1, 1));
}

proptest! {
    #[test]
    fn hostile_text_never_panics(
        text in "[-a:{}\\[\\]&*!|>'\"#%@`?,. \t\r\n\\\\<~$\u{feff}é]{0,80}",
    ) {
        let _ = read(&text);
    }

    #[test]
    fn any_text_never_panics(text in "\\PC*") {
        let _ = read(&text);
    }
}
