use std::sync::Arc;

use super::{Avro, Context, Json, Names, Payload, Raw, SchemaId, Schemas, UNDECLARED};
use super::{undeclared, undeclared_of};
use crate::code::Code;
use crate::codec::avro::Schema;
use crate::error::{Error, Kind, Result};
use crate::mapping::Mapping;
use crate::record::{Image, Row};
use crate::shape::{Field, Shape, Type};
use crate::side::{Direction, Side};
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

/// Schemas by their place in a list.
#[derive(Debug)]
struct Listed(Vec<Arc<Schema>>);

impl Schemas for Listed {
    fn by_id(&self, id: SchemaId) -> Result<Arc<Schema>> {
        let found = self.0.get(id.0 as usize).map(Arc::clone);
        found.ok_or(Error::new(Kind::Hold, Code::SCHEMA_UNUSABLE, "not listed"))
    }

    fn give(&self, _subject: &str, _text: &str) -> Result<SchemaId> {
        Ok(SchemaId(3))
    }
}

/// Versions 0 to 2 of one record, and a key.
fn versions() -> Arc<Listed> {
    let name = r#"{"name":"name","type":"string"}"#;
    let age = r#"{"name":"age","type":["null","int"],"default":null}"#;
    let pay = r#"{"name":"pay","type":{"type":"map","values":"double"}}"#;
    let record = |fields: &[&str]| {
        let fields = fields.join(",");
        format!(r#"{{"type":"record","name":"Person","fields":[{fields}]}}"#)
    };
    let texts = [
        record(&[name]),
        record(&[name, age]),
        record(&[pay, age, name]),
        r#""long""#.to_owned(),
    ];
    let parse = |text: &String| Arc::new(Schema::parse(text, &[] as &[&str]).unwrap());
    Arc::new(Listed(texts.iter().map(parse).collect()))
}

fn avro(id: u32, side: Side) -> Avro {
    let names = Names {
        whole: "id",
        rest: undeclared_of(side),
    };
    Avro::new(SchemaId(id), versions(), names).unwrap()
}

#[test]
fn avro_is_read_with_the_schema_of_its_writer() {
    let (first, third) = (avro(0, Side::Old), avro(2, Side::Old));
    let pay = Value::Map(vec![(Value::Text("a".into()), Value::Int(0))]);
    let mut wrong = Vec::new();
    let row = [pay, Value::Int(7), Value::Text("Ada".into()), Value::Absent];
    let error = third.write(&row, &mut wrong).unwrap_err();
    assert_eq!((error.code, wrong.len()), (Code::PAYLOAD_UNWRITABLE, 0));

    let pay = Value::Map(vec![(
        Value::Text("a".into()),
        Value::Float(crate::value::Float(0.5)),
    )]);
    let row = [pay, Value::Int(7), Value::Text("Ada".into()), Value::Absent];
    let mut payload = Vec::new();
    third.write(&row, &mut payload).unwrap();
    assert_eq!(payload[..5], [0, 0, 0, 0, 2]);

    let mut read = Vec::new();
    let context = first.read(&payload, &mut read).unwrap();
    assert_eq!(
        context,
        Context {
            schema: Some(SchemaId(2))
        }
    );
    let Value::Record(rest) = &read[1] else {
        panic!("nothing is undeclared")
    };
    let kept = [
        ("pay", Value::Json(r#"{"a":0.5}"#.into())),
        ("age", Value::Int(7)),
    ];
    assert!(read[0] == Value::Text("Ada".into()));
    assert!(rest.extras == kept.map(|(name, value)| (name.to_owned(), value)));
    let error = first.write(&read, &mut payload).unwrap_err();
    assert_eq!(error.code, Code::PAYLOAD_UNWRITABLE);
    assert_eq!(payload.last(), Some(&b'a'));
}

#[test]
fn avro_without_its_frame_or_schema_is_refused() {
    let person = avro(1, Side::Old);
    for (payload, code, kind) in [
        (&[][..], Code::PAYLOAD_UNFRAMED, Kind::Data),
        (&[0, 0, 0, 0], Code::PAYLOAD_UNFRAMED, Kind::Data),
        (&[1, 0, 0, 0, 1, 0, 0], Code::PAYLOAD_UNFRAMED, Kind::Data),
        (b"{\"name\":\"a\"}", Code::PAYLOAD_UNFRAMED, Kind::Data),
        (&[0, 0, 0, 0, 1], Code::PAYLOAD_MALFORMED, Kind::Data),
        (
            &[0, 0, 0, 0, 1, 0, 0, 0],
            Code::PAYLOAD_MALFORMED,
            Kind::Data,
        ),
        (&[0, 0, 0, 0, 3, 0], Code::SCHEMA_UNUSABLE, Kind::Hold),
        (&[0, 0, 0, 0, 9, 0], Code::SCHEMA_UNUSABLE, Kind::Hold),
    ] {
        let mut row = vec![Value::Null];
        let error = person.read(payload, &mut row).unwrap_err();
        assert_eq!(
            (error.code, error.kind, row.len()),
            (code, kind, 1),
            "{payload:?}"
        );
    }
}

#[test]
fn a_key_may_be_one_avro_value() {
    let key = avro(3, Side::Old);
    assert_eq!(key.fields(), [Field::required("id", Type::INT64)]);
    let (mut out, mut row) = (Vec::new(), Vec::new());
    key.write(&[Value::Int(-1)], &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 0, 3, 1]);
    key.read(&out, &mut row).unwrap();
    assert!(row == [Value::Int(-1)]);
}

/// Nothing is written before the schema has a number.
#[test]
fn avro_is_written_once_its_schema_is_registered() {
    let names = Names {
        whole: "id",
        rest: undeclared_of(Side::New),
    };
    let new = |text: &str| Avro::unregistered("people-value", text, versions(), names);
    assert_eq!(new("{}").unwrap_err().code, Code::SCHEMA_UNUSABLE);
    let key = new(r#""long""#).unwrap();
    let mut out = Vec::new();
    let error = key.write(&[Value::Int(-1)], &mut out).unwrap_err();
    assert_eq!((error.code, out.len()), (Code::INTERNAL, 0));
    assert!(key.preparation().unwrap().contains("people-value"));
    for _ in 0..2 {
        key.prepare().unwrap();
    }
    key.write(&[Value::Int(-1)], &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 0, 3, 1]);
}

/// Between two JSON sides undeclared members are carried; between two Avro sides they lie in the
/// complement, and come back from there.
#[test]
fn a_mapping_carries_or_keeps_what_is_undeclared() {
    let shape = |rest: &str| Shape {
        fields: vec![Field::required("id", Type::INT64), undeclared(rest)],
        key: vec![0],
    };
    let (old, new) = (undeclared_of(Side::Old), undeclared_of(Side::New));
    for (old, new, carried) in [(UNDECLARED, UNDECLARED, true), (old, new, false)] {
        let (old, new) = (shape(old), shape(new));
        let key = ["id".to_owned()];
        let (mapping, _) = Mapping::check(&[], &old, &key, Some(&new), None).unwrap();
        let object = Json::object(old.fields[..1].to_vec(), &old.fields[1].name);
        let mut row = Vec::new();
        object.read(br#"{"x":1.10,"id":1}"#, &mut row).unwrap();
        let image = |row: &[Value]| Image {
            row: Row(row.to_vec()),
            ..Image::default()
        };
        let mut mapped = Vec::new();
        mapping
            .map(Direction::Forward, image(&row), &mut mapped)
            .unwrap();
        let forward = mapped.pop().unwrap().image;
        assert_eq!(forward.row.0[1] == row[1], carried);
        assert_eq!(forward.complement.is_empty(), carried);
        mapping
            .map(Direction::Reverse, forward, &mut mapped)
            .unwrap();
        assert!(mapped.pop().unwrap().image.row.0 == row);
    }
}
