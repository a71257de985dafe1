use super::binary::{decode_values, encode_values};
use super::json::{from_json, to_json};
use super::text::{from_text, to_text};
use crate::shape::{Field, TimeUnit, Type};
use crate::value::{Frame, Value};

fn json(text: &str, ty: &Type) -> String {
    let mut out = String::new();
    to_json(&from_json(text, ty).unwrap(), ty, &mut out).unwrap();
    out
}

#[test]
fn numbers_keep_their_digits() {
    let decimal = Type::Decimal {
        precision: None,
        scale: None,
    };
    for text in ["0.10", "12345678901234567890.1234567890", "1e3", "-0.001"] {
        assert_eq!(json(text, &decimal), text);
    }
    assert_eq!(json("9007199254740993", &Type::INT64), "9007199254740993");
    assert!(from_json("1.5", &Type::INT64).is_err());
    assert!(from_json("1e999999999", &decimal).is_err());
    assert!(from_json("9223372036854775808", &Type::INT64).is_err());
}

#[test]
fn unknown_fields_come_back_as_they_stood() {
    let ty = Type::Record(vec![Field::nullable("name", Type::Text)]);
    let text = r#"{"name":"Ada","x":{"b": [1.10, null]},"y":1.0}"#;
    assert_eq!(json(text, &ty), text);
    assert_eq!(json(r#"{"y":1}"#, &ty), r#"{"y":1}"#);
    assert!(from_json(r#"{"name":"a","name":"b"}"#, &ty).is_err());
}

#[test]
fn texts_are_escaped_and_read_back() {
    let odd = Value::Text("a\"\\\u{0}\n\u{1F600}é".into());
    let mut out = String::new();
    to_json(&odd, &Type::Text, &mut out).unwrap();
    assert_eq!(from_json(&out, &Type::Text).unwrap(), odd);
    assert_eq!(json(r#""\ud83d\ude00""#, &Type::Text), "\"\u{1F600}\"");
    assert!(from_json(r#""\ud83d""#, &Type::Text).is_err());
}

#[test]
fn deep_nesting_is_refused_without_a_crash() {
    let deep = "[".repeat(100_000);
    assert!(from_json(&deep, &Type::Json).is_err());
    assert!(decode_values(&[18, 1].repeat(100_000)).is_err());
}

#[test]
fn garbage_is_refused_or_canonical() {
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            for rest in [
                &[][..],
                &[0],
                &[1, 2, 3],
                &[255; 12],
                &[8, 1, 65, 0, 0, 0, 0, 0],
            ] {
                let bytes = [&[first, second], rest].concat();
                if let Ok(values) = decode_values(&bytes) {
                    let mut again = Vec::new();
                    encode_values(&values, &mut again);
                    assert_eq!(again, bytes);
                }
            }
        }
    }
}

#[test]
fn points_in_time_have_their_calendar() {
    let instant = Type::Timestamp {
        frame: Frame::Instant,
        unit: TimeUnit::Nanos,
    };
    for (text, back) in [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59.5+01:30", "2024-02-29T22:29:59.500Z"),
        (
            "1969-12-31T23:59:59.999999999Z",
            "1969-12-31T23:59:59.999999999Z",
        ),
        ("+12024-01-01T00:00:00Z", "+12024-01-01T00:00:00Z"),
    ] {
        assert_eq!(to_text(&from_text(text, &instant).unwrap()).unwrap(), back);
    }
    assert!(from_text("2023-02-29T00:00:00Z", &instant).is_err());
    assert!(from_text("2023-02-28T00:00:00", &instant).is_err());
    assert!(from_text("2023-02-28T00:00:60Z", &instant).is_err());
    for days in (-1_000_000..1_000_000).step_by(997) {
        let text = to_text(&Value::Date(days)).unwrap();
        assert_eq!(from_text(&text, &Type::Date).unwrap(), Value::Date(days));
    }
}
