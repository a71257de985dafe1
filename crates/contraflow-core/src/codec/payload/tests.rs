use super::{Json, Payload, Raw, UNDECLARED};
use crate::code::Code;
use crate::error::Kind;
use crate::shape::{Field, Type};
use crate::value::Value;

fn person() -> Json {
    let fields = vec![
        Field::required("name", Type::Text),
        Field::nullable("age", Type::INT64),
        Field::parse("pay", "record(amount decimal, unit text)?").unwrap(),
        Field {
            has_default: true,
            ..Field::required("tags", Type::Json)
        },
    ];
    Json::object(fields, UNDECLARED)
}

fn there_and_back(payload: &dyn Payload, text: &str) -> String {
    let mut row = vec![Value::Null];
    payload.read(text.as_bytes(), &mut row).unwrap();
    assert_eq!(row.len(), 1 + payload.fields().len());
    let mut out = b"before".to_vec();
    payload.write(&row[1..], &mut out).unwrap();
    String::from_utf8(out.split_off(6)).unwrap()
}

#[test]
fn declared_members_come_first_and_undeclared_ones_survive_as_they_stood() {
    let text = r#" { "x" : {"b": [1.10, null]}, "tags":{"a": 1e0}, "name":"Ada", "y":1.00, "age":1,
        "pay": {"z": 0.0, "unit": "EUR", "amount": 12345678901234567890.10} } "#;
    let canonical = concat!(
        r#"{"name":"Ada","age":1,"pay":{"amount":12345678901234567890.10,"unit":"EUR","z":0.0},"#,
        r#""tags":{"a": 1e0},"x":{"b": [1.10, null]},"y":1.00}"#
    );
    assert_eq!(there_and_back(&person(), text), canonical);
    assert_eq!(there_and_back(&person(), canonical), canonical);
}

#[test]
fn missing_and_null_are_two_things() {
    for text in [
        r#"{"name":"a"}"#,
        r#"{"name":"a","age":null}"#,
        r#"{"name":"a","x":null}"#,
    ] {
        assert_eq!(there_and_back(&person(), text), text);
    }
}

/// The code of a refusal that left the row alone.
fn refused(payload: &dyn Payload, text: &[u8]) -> Code {
    let mut row = vec![Value::Null];
    let error = payload.read(text, &mut row).unwrap_err();
    assert_eq!((row.len(), error.kind), (1, Kind::Data));
    error.code
}

#[test]
fn what_does_not_fit_is_refused_with_its_code() {
    for text in [
        r#"{"name":"a","name":"a"}"#,
        r#"{"name":"a","x":1,"x":1}"#,
        r#"{"name":"a","pay":{"unit":"a","unit":"b"}}"#,
        r#"{"name":"a"} {}"#,
        r#"{"name":1}"#,
        r#"["a"]"#,
        "null",
        "",
    ] {
        assert_eq!(
            refused(&person(), text.as_bytes()),
            Code::PAYLOAD_MALFORMED,
            "{text}"
        );
    }
    assert_eq!(
        refused(&person(), b"{\"name\":\"\xff\"}"),
        Code::PAYLOAD_MALFORMED
    );
    for text in [
        r#"{"age":1}"#,
        r#"{"name":null}"#,
        r#"{"name":"a","tags":null}"#,
    ] {
        assert_eq!(
            refused(&person(), text.as_bytes()),
            Code::PAYLOAD_UNFIT,
            "{text}"
        );
    }
}

#[test]
fn an_undeclared_member_never_hides_a_declared_one() {
    let wide = Json::object(vec![], UNDECLARED);
    let mut row = Vec::new();
    wide.read(br#"{"name":"a"}"#, &mut row).unwrap();
    let narrow = Json::object(vec![Field::nullable("name", Type::Text)], UNDECLARED);
    let mut out = Vec::new();
    for declared in [Value::Absent, Value::Text("b".into())] {
        let error = narrow
            .write(&[declared, row[0].clone()], &mut out)
            .unwrap_err();
        assert_eq!((error.code, out.len()), (Code::PAYLOAD_UNWRITABLE, 0));
    }
}

#[test]
fn one_value_is_a_payload_too() {
    let key = Json::value(Field::required("id", Type::INT64));
    assert_eq!(there_and_back(&key, " 42"), "42");
    assert_eq!(refused(&key, b"null"), Code::PAYLOAD_UNFIT);
    assert_eq!(refused(&key, b"4.2"), Code::PAYLOAD_MALFORMED);
    let any = Json::value(Field::nullable("all", Type::Json));
    assert_eq!(
        there_and_back(&any, r#"[1.0, {"b":1}]"#),
        r#"[1.0, {"b":1}]"#
    );
    assert_eq!(there_and_back(&any, "null"), "null");
}

#[test]
fn raw_bytes_come_back_as_they_are() {
    let raw = Raw::new("payload");
    for bytes in [&[][..], &[0, 255, 10]] {
        let (mut row, mut out) = (Vec::new(), Vec::new());
        raw.read(bytes, &mut row).unwrap();
        raw.write(&row, &mut out).unwrap();
        assert_eq!(out, bytes);
    }
    let error = raw.write(&[Value::Text("a".into())], &mut Vec::new());
    assert_eq!(error.unwrap_err().code, Code::PAYLOAD_UNWRITABLE);
}
