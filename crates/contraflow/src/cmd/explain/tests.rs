use super::*;

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let numbers: Vec<u16> = PAGES.iter().map(|(number, _)| *number).collect();
    let codes: Vec<u16> = Code::ALL.iter().map(|code| code.0).collect();
    assert_eq!(numbers, codes);
}

#[test]
fn every_page_has_its_title_and_sections() {
    for (number, page) in PAGES {
        let code = Code(*number);
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        for section in [
            "## What happened",
            "## Why it matters",
            "## What to do",
            "## Example",
        ] {
            assert!(page.contains(section), "{code} lacks {section}");
        }
        assert!(
            page.lines().all(|line| line.chars().count() <= 100),
            "{code} is too wide"
        );
    }
}

#[test]
fn a_code_is_written_in_many_ways() {
    for asked in ["CF0031", "cf31", "31", " Cf031 "] {
        assert_eq!(parse(asked), Some(31), "{asked}");
    }
    for asked in ["", "cf", "cf-1", "+31", "99999999", "é1"] {
        assert_eq!(parse(asked), None, "{asked}");
    }
}

#[test]
fn near_codes_are_offered() {
    assert_eq!(near("CF0030")[0].code, Code(31));
    assert!(
        near("fence")
            .iter()
            .any(|entry| entry.code == Code::FENCE_EXPIRED)
    );
    assert!(near("qqq").is_empty());
}
