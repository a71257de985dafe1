//! Pairs of declarations.

use super::*;

#[test]
fn what_stays_as_it_is_spelled() {
    for (one, other) in [
        ("character varying(50) not null", "text"),
        ("text", "character varying(80)"),
        ("json", "json not null"),
        ("numeric(10,2)", "numeric(12,2) not null"),
        ("numeric", "numeric"),
        ("character(6)", "character(6) not null"),
        (
            "timestamp without time zone",
            "timestamp(6) without time zone",
        ),
        ("integer", "bigint"),
    ] {
        assert!(!differ(one, other), "{one} and {other}");
    }
}

#[test]
fn what_is_written_anew() {
    for (one, other) in [
        ("json", "jsonb"),
        ("jsonb", "text"),
        ("character(6)", "character(10)"),
        ("text", "character(10)"),
        ("numeric(10,2)", "numeric(12,4)"),
        ("numeric", "numeric(12,2)"),
        ("numeric(12,2)", "numeric"),
        ("timestamp(0) with time zone", "timestamp with time zone"),
    ] {
        assert!(differ(one, other), "{one} and {other}");
        assert!(differ(other, one), "{other} and {one}");
    }
}
