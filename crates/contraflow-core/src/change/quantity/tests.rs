use super::*;

#[test]
fn durations_have_units() {
    assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(duration("2 m"), Some(Duration::from_secs(120)));
    for text in [
        "",
        "5",
        "s",
        "-5s",
        "5.5s",
        "5 sec",
        "_5s",
        "99999999999999999999d",
    ] {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn counts_are_whole_numbers() {
    assert_eq!(count("1_000"), Some(1_000));
    for text in ["", "+1", "-1", "1.0", "1e3", "_1", "١"] {
        assert_eq!(count(text), None, "{text}");
    }
}

#[test]
fn what_is_shown_reads_back() {
    for ms in [1, 500, 1_000, 90_000, 3_600_000, 86_400_000] {
        let value = Duration::from_millis(ms);
        assert_eq!(duration(&show_duration(value)), Some(value));
    }
    assert_eq!(show_duration(Duration::ZERO), "0s");
}
