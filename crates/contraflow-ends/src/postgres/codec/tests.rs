//! Spellings that PostgreSQL has and others do not.

use contraflow_core::value::Timestamp;

use super::*;

#[test]
fn bytes_are_hexadecimal() {
    let bytes = Value::Bytes(vec![0, 0x1f, 0xff]);
    assert_eq!(decode("\\x001fff", &Type::Bytes, false), bytes);
    let text = encode(&bytes, &Type::Bytes).unwrap().unwrap();
    assert_eq!(text, "\\x001fff");
    assert_eq!(
        decode("\\x0", &Type::Bytes, false),
        Value::Text("\\x0".into())
    );
}

#[test]
fn instants_are_utc() {
    let ty = Type::Timestamp {
        frame: Frame::Instant,
        unit: contraflow_core::shape::TimeUnit::Micros,
    };
    let expected = Value::Timestamp(Timestamp {
        seconds: 86_400,
        nanos: 250_000_000,
        frame: Frame::Instant,
    });
    assert_eq!(decode("1970-01-02 00:00:00.25+00", &ty, false), expected);
    // What has no typed form stays as it is spelled.
    for odd in ["infinity", "0044-03-15 00:00:00+00 BC"] {
        assert_eq!(decode(odd, &ty, false), Value::Text(odd.into()));
    }
}

#[test]
fn what_passes_through_is_not_looked_into() {
    let decimal = Type::Decimal {
        precision: None,
        scale: None,
    };
    assert_eq!(decode("1.50", &decimal, true), Value::Text("1.50".into()));
    assert_eq!(decode("NaN", &decimal, false), Value::Text("NaN".into()));
    assert_eq!(decode("7", &Type::INT64, true), Value::Int(7));
}
