use super::{Cause, EMPTY_ITEMS_MAX, Fault, Plan, Schema, Unusable};
use crate::codec::json::{from_json, to_json};
use crate::shape::{Field, Type};
use crate::value::Value;

fn schema(text: &str) -> Schema {
    Schema::parse(text, &[] as &[&str]).unwrap()
}

fn refused(text: &str) -> String {
    Schema::parse(text, &[] as &[&str]).unwrap_err().0
}

/// A record of the fields given as JSON objects.
fn record(fields: &str) -> Schema {
    schema(&format!(
        r#"{{"type":"record","name":"R","fields":[{fields}]}}"#
    ))
}

fn ty(schema: &Schema) -> Type {
    match (schema.fields("v").unwrap(), schema.is_record()) {
        (fields, true) => Type::Record(fields),
        (mut fields, false) => fields.remove(0).ty,
    }
}

/// The bytes of a value that is given as JSON of the schema's type.
fn bytes(schema: &Schema, json: &str) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    match from_json(json, &ty(schema)).unwrap() {
        Value::Record(record) if schema.is_record() => {
            assert!(
                record.extras.is_empty(),
                "a field that the schema does not have"
            );
            schema.write(&record.fields, &mut out)
        }
        value => schema.write(&[value], &mut out),
    }?;
    Ok(out)
}

fn plan(writer: &Schema, reader: &Schema) -> Result<Plan, Unusable> {
    Plan::new(writer, reader)
}

fn shown(value: &Value, schema: &Schema) -> String {
    let mut text = String::new();
    to_json(value, &ty(schema), &mut text).unwrap();
    text
}

/// What a reader makes of a writer's value, both as JSON of their types.
fn carried(writer: &Schema, reader: &Schema, json: &str) -> Result<String, Fault> {
    let plan = plan(writer, reader).unwrap();
    let value = plan.read(&bytes(writer, json).unwrap())?;
    Ok(shown(&value, reader))
}

fn back(schema: &Schema, json: &str) -> String {
    carried(schema, schema, json).unwrap()
}

#[test]
fn bytes_are_those_of_the_specification() {
    let pair = record(r#"{"name":"a","type":"long"},{"name":"b","type":"string"}"#);
    assert_eq!(
        bytes(&pair, r#"{"a":27,"b":"foo"}"#).unwrap(),
        b"\x36\x06foo"
    );
    let longs = schema(r#"{"type":"array","items":"long"}"#);
    assert_eq!(bytes(&longs, "[3,27]").unwrap(), [4, 6, 0x36, 0]);
    assert_eq!(bytes(&longs, "[]").unwrap(), [0]);
    let optional = record(r#"{"name":"u","type":["null","string"]}"#);
    assert_eq!(bytes(&optional, r#"{"u":null}"#).unwrap(), [0]);
    assert_eq!(bytes(&optional, r#"{"u":"a"}"#).unwrap(), [2, 2, 0x61]);
    for (number, encoded) in [
        (0_i64, &[0][..]),
        (-1, &[1]),
        (1, &[2]),
        (-64, &[0x7f]),
        (64, &[0x80, 1]),
    ] {
        assert_eq!(
            bytes(&schema(r#""long""#), &number.to_string()).unwrap(),
            encoded
        );
    }
    let blocks = plan(&longs, &longs).unwrap();
    let sized = blocks.read(&[3, 4, 6, 0x36, 2, 8, 0]).unwrap();
    assert_eq!(shown(&sized, &longs), "[3,27,4]");
}

#[test]
fn every_type_comes_back() {
    let all = schema(include_str!("tests/all.avsc"));
    let low = include_str!("tests/low.json");
    let high = include_str!("tests/high.json");
    for json in [low, high] {
        let line = json.lines().map(str::trim).collect::<String>();
        assert_eq!(back(&all, json), line);
    }
}

#[test]
fn types_are_those_of_the_written_table() {
    let words = |fields: Vec<Field>| -> Vec<String> {
        let word = |field: Field| format!("{} {} {}", field.name, field.ty.name(), field.nullable);
        fields.into_iter().map(word).collect()
    };
    let expected = [
        "flag bool false",
        "int int32 false",
        "long int64 false",
        "float float32 false",
        "double float64 false",
        "bytes bytes false",
        "text text false",
        "day date false",
        "clock time false",
        "clock_us time false",
        "at_ms timestamp false",
        "at_us timestamp false",
        "at_ns timestamp false",
        "local_ms local_timestamp false",
        "local_us local_timestamp false",
        "local_ns local_timestamp false",
        "uuid uuid false",
        "uuid16 uuid false",
        "price decimal(20,2) false",
        "fine decimal(18,4) false",
        "hash bytes false",
        "suit enum false",
        "maybe int64 true",
        "either union true",
        "list list of int64 false",
        "map map of text to text false",
        "inner record false",
        "none any true",
    ];
    assert_eq!(
        words(schema(include_str!("tests/all.avsc")).fields("").unwrap()),
        expected
    );
    assert_eq!(
        words(schema(r#"["null","int"]"#).fields("v").unwrap()),
        ["v int32 true"]
    );
}

#[test]
fn names_have_namespaces_and_are_known_from_references() {
    let address = r#"{"type":"record","name":"geo.Address","fields":[
        {"name":"zip","type":{"type":"fixed","name":"Zip","size":2}}]}"#;
    let person = r#"{"type":"record","name":"Person","namespace":"geo","fields":[
        {"name":"home","type":"Address"},
        {"name":"zip","type":"geo.Zip"},
        {"name":"suit","type":{"type":"enum","name":"other.Suit","symbols":["A"]}},
        {"name":"again","type":{"type":"other.Suit"}}]}"#;
    let person = Schema::parse(person, &[address]).unwrap();
    let json = r#"{"home":{"zip":"AAA="},"zip":"AAE=","suit":"A","again":"A"}"#;
    assert_eq!(back(&person, json), json);
}

#[test]
fn schemas_that_are_none_are_refused() {
    for (text, what) in [
        ("", "the schema is not JSON, at line 1, column 0"),
        ("4", "a type is neither a name, a list nor an object"),
        (r#""geo.Zip""#, "`geo.Zip` is not defined"),
        (r#"{"items":"int"}"#, "a type has no `type`"),
        (r#"["int",["null"]]"#, "a union is a branch of another one"),
        (r#"["int","int"]"#, "a union has two branches of one type"),
        (r#"{"type":"fixed","name":"F"}"#, "`F` has no `size`"),
        (
            r#"{"type":"fixed","name":"F","size":-1}"#,
            "`F` has no `size`",
        ),
        (r#"{"type":"enum","name":"E"}"#, "`E` has no `symbols`"),
        (
            r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
            "`E` has two symbols `A`",
        ),
        (r#"{"type":"record","name":"R"}"#, "`R` has no `fields`"),
        (
            r#"{"type":"record","name":"int","fields":[]}"#,
            "`int` is defined twice",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "`R` has two fields `a`",
        ),
        (
            r#"{"type":"record","name":"a-b","fields":[]}"#,
            "a name has other letters than A to Z, digits and `_`",
        ),
    ] {
        assert_eq!(refused(text), what, "{text}");
    }
    assert!(refused(&"[".repeat(100_000)).starts_with("the schema is not JSON"));
}

#[test]
fn readers_resolve_what_writers_wrote() {
    let e = |symbols: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
    for (writer, reader, written, read) in [
        (r#""int""#, r#""long""#, "7", "7"),
        (r#""int""#, r#""float""#, "16777216", "16777216.0"),
        (
            r#""long""#,
            r#""double""#,
            "-9007199254740992",
            "-9007199254740992.0",
        ),
        (
            r#""float""#,
            r#""double""#,
            "0.10000000149011612",
            "0.10000000149011612",
        ),
        (r#""string""#, r#""bytes""#, r#""ab""#, r#""YWI=""#),
        (r#""bytes""#, r#""string""#, r#""YWI=""#, r#""ab""#),
        (r#""int""#, r#"["null","int"]"#, "7", "7"),
        (r#"["null","int"]"#, r#""long""#, "7", "7"),
        (r#""int""#, r#"["string","long"]"#, "7", r#"{"long":7}"#),
        (r#""int""#, r#"["long","int"]"#, "7", r#"{"int":7}"#),
        (
            r#"["int","string"]"#,
            r#"["string","long"]"#,
            r#"{"int":7}"#,
            r#"{"long":7}"#,
        ),
        (
            r#"["int","string"]"#,
            r#""string""#,
            r#"{"string":"a"}"#,
            r#""a""#,
        ),
        (&e(r#""A","B""#), &e(r#""B","A""#), r#""A""#, r#""A""#),
        (
            r#"{"type":"array","items":"int"}"#,
            r#"{"type":"array","items":"long"}"#,
            "[1]",
            "[1]",
        ),
    ] {
        let read_back = carried(&schema(writer), &schema(reader), written).unwrap();
        assert_eq!(read_back, read, "{writer} as {reader}");
    }
}

#[test]
fn a_meaning_is_read_in_the_readers_unit() {
    let logical = |ty: &str, word: &str| format!(r#"{{"type":"{ty}","logicalType":"{word}"}}"#);
    let decimal = |scale: u32| {
        format!(r#"{{"type":"bytes","logicalType":"decimal","precision":9,"scale":{scale}}}"#)
    };
    let long = r#""long""#.to_owned();
    for (writer, reader, written, read) in [
        (decimal(2), decimal(4), "12.34", "12.3400"),
        (decimal(4), decimal(2), "12.3400", "12.34"),
        (
            logical("long", "timestamp-millis"),
            logical("long", "timestamp-micros"),
            r#""1970-01-01T00:00:00.001Z""#,
            r#""1970-01-01T00:00:00.001Z""#,
        ),
        (
            logical("long", "timestamp-millis"),
            long,
            r#""1970-01-01T00:00:00.001Z""#,
            "1",
        ),
        (
            r#""int""#.to_owned(),
            logical("long", "timestamp-millis"),
            "1",
            r#""1970-01-01T00:00:00.001Z""#,
        ),
    ] {
        let read_back = carried(&schema(&writer), &schema(&reader), written).unwrap();
        assert_eq!(read_back, read, "{writer} as {reader}");
    }
}

#[test]
fn fields_are_found_by_name_and_alias_and_the_rest_is_kept() {
    let writer = record(
        r#"{"name":"num","type":"int"},{"name":"gone","type":"double"},
           {"name":"deep","type":{"type":"record","name":"D","fields":[
             {"name":"x","type":"long"},{"name":"y","type":["null","string","bytes"]}]}},
           {"name":"list","type":{"type":"array","items":{"type":"record","name":"I","fields":[
             {"name":"a","type":"int"}]}}}"#,
    );
    let reader = record(
        r#"{"name":"more","type":["null","string"],"default":null},
           {"name":"number","type":"long","aliases":["num"]},
           {"name":"deep","type":{"type":"record","name":"E","aliases":["D"],"fields":[
             {"name":"x","type":"long"},{"name":"z","type":"string","default":"new"}]}},
           {"name":"size","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},
            "default":"\u0001\u0000"}"#,
    );
    let json = r#"{"num":7,"gone":0.5,"deep":{"x":1,"y":{"bytes":"AA=="}},"list":[{"a":3}]}"#;
    let read = concat!(
        r#"{"more":null,"number":7,"deep":{"x":1,"z":"new","y":{"bytes":"AA=="}},"size":2.56,"#,
        r#""gone":0.5,"list":[{"a":3}]}"#
    );
    assert_eq!(carried(&writer, &reader, json).unwrap(), read);
}

#[test]
fn a_field_of_the_very_name_counts_before_one_of_an_earlier_name() {
    let int = |name: &str, more: &str| format!(r#"{{"name":"{name}","type":"int"{more}}}"#);
    let writer = record(&format!("{},{}", int("a", ""), int("b", "")));
    let reader = record(&int("b", r#","aliases":["a"]"#));
    let read = carried(&writer, &reader, r#"{"a":1,"b":2}"#).unwrap();
    assert_eq!(read, r#"{"b":2,"a":1}"#);
}

#[test]
fn what_the_specification_would_change_is_refused() {
    let e = |symbols: &str, rest: &str| {
        schema(&format!(
            r#"{{"type":"enum","name":"E","symbols":[{symbols}]{rest}}}"#
        ))
    };
    let time = |word: &str| schema(&format!(r#"{{"type":"long","logicalType":"{word}"}}"#));
    let symbol = "the symbol is not one of the schema's";
    for (writer, reader, json, reason) in [
        (
            schema(r#""int""#),
            schema(r#""float""#),
            "16777217",
            "the number would be rounded",
        ),
        (
            schema(r#""long""#),
            schema(r#""double""#),
            "9007199254740993",
            "the number would be rounded",
        ),
        (
            e(r#""A","B""#, ""),
            e(r#""A""#, r#","default":"A""#),
            r#""B""#,
            symbol,
        ),
        (
            schema(r#"["int","string"]"#),
            schema(r#""int""#),
            r#"{"string":"a"}"#,
            "the type is not one of the schema's union",
        ),
        (
            time("timestamp-micros"),
            time("timestamp-millis"),
            r#""1970-01-01T00:00:00.000001Z""#,
            "the time is finer than the unit of its type",
        ),
    ] {
        let fault = carried(&writer, &reader, json).unwrap_err();
        assert_eq!((fault.cause, fault.reason), (Cause::Unfit, reason));
    }
}

#[test]
fn what_cannot_be_read_at_all_is_known_beforehand() {
    let time = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let local = r#"{"type":"long","logicalType":"local-timestamp-millis"}"#;
    let fixed = |size: usize| format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#);
    let meaning = "the logical types of writer and reader do not mean the same";
    for (writer, reader, what) in [
        (
            r#""long""#,
            r#""int""#,
            "what was written as `long` cannot be read as `int`",
        ),
        (
            r#""int""#,
            r#"["null","string"]"#,
            "what was written as `int` cannot be read as `null`",
        ),
        (time, local, meaning),
        (
            &fixed(2),
            &fixed(3),
            "what was written as `F` cannot be read as `F`",
        ),
    ] {
        let message = plan(&schema(writer), &schema(reader)).unwrap_err().0;
        assert_eq!(message, what, "{writer} as {reader}");
    }
    let (empty, full) = (record(""), record(r#"{"name":"a","type":"int"}"#));
    let message = plan(&empty, &full).unwrap_err().0;
    assert_eq!(message, "`a` is not written, and has no default");
}

#[test]
fn values_that_a_schema_does_not_take_are_refused() {
    let a = r#"{"name":"a","type":"#;
    for (field, value, reason) in [
        (
            r#""int""#,
            Value::Int(1 << 31),
            "the number has over 32 bits",
        ),
        (
            r#""int""#,
            Value::Null,
            "null is not one of the schema's values",
        ),
        (
            r#""int""#,
            Value::Absent,
            "the field is missing and has no default",
        ),
        (
            r#""long""#,
            Value::Uint(u64::MAX),
            "a value of another type",
        ),
        (
            r#""float""#,
            Value::Float(crate::value::Float(0.1)),
            "the number would be rounded",
        ),
        (
            r#"["int","string"]"#,
            Value::Null,
            "the type is not one of the schema's union",
        ),
        (
            r#"["int","string"]"#,
            Value::Int(1),
            "the type is not one of the schema's union",
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":1}"#,
            crate::codec::text::decimal("10.0")
                .map(Value::Decimal)
                .unwrap(),
            "the number has more digits than its type",
        ),
        (
            r#"{"type":"fixed","name":"F","size":2}"#,
            Value::Bytes(vec![0; 3]),
            "a value of another type or length",
        ),
    ] {
        let schema = record(&format!("{a}{field}}}"));
        let fault = schema.write(&[value], &mut Vec::new()).unwrap_err();
        assert_eq!(fault.to_string(), format!("`a`: {reason}"));
    }
}

#[test]
fn hostile_bytes_are_refused() {
    let array = |items: &str| format!(r#"{{"type":"array","items":{items}}}"#);
    let nulls = array(r#""null""#);
    let (nested, ended) = (array(&nulls), "the bytes end in the middle of a value");
    let cents = r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":2}"#;
    let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for (text, bytes, reason) in [
        (
            r#""long""#,
            &[0x80; 10][..],
            "a number is larger than 64 bits",
        ),
        (
            r#""long""#,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            "a number is larger than 64 bits",
        ),
        (r#""long""#, &[0x80], ended),
        (
            r#""int""#,
            &[0x80, 0x80, 0x80, 0x80, 0x10],
            "an int has over 32 bits",
        ),
        (r#""boolean""#, &[2], "a boolean is neither 0 nor 1"),
        (r#""string""#, &[1], "a length is negative"),
        (r#""string""#, &many, ended),
        (r#""string""#, &[2, 0xff], "text is not UTF-8"),
        (
            r#"["null","int"]"#,
            &[4],
            "an index is larger than the schema has",
        ),
        (
            r#"["null","int"]"#,
            &[1],
            "an index is larger than the schema has",
        ),
        (r#""null""#, &[0], "bytes follow the payload"),
        (cents, &[2, 100], "the number has more digits than its type"),
        (cents, &[0], "a decimal has no bytes, or too many"),
        (&array(r#""int""#), &many, ended),
        (&nulls, &many, "too many items without bytes"),
        (
            &nulls,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
            "too many items without bytes",
        ),
        (&nested, &many, ended),
    ] {
        let schema = schema(text);
        let fault = plan(&schema, &schema).unwrap().read(bytes).unwrap_err();
        assert_eq!(
            (fault.cause, fault.reason),
            (Cause::Malformed, reason),
            "{text}"
        );
    }
    let nulls = schema(&nulls);
    let few = Value::List(vec![Value::Null; EMPTY_ITEMS_MAX]);
    let mut out = Vec::new();
    nulls.write(std::slice::from_ref(&few), &mut out).unwrap();
    assert!(plan(&nulls, &nulls).unwrap().read(&out).unwrap() == few);
}

#[test]
fn schemas_without_end_are_refused_where_they_are_used() {
    let tree = schema(
        r#"{"type":"record","name":"Tree","fields":[
            {"name":"left","type":["null","Tree"]}]}"#,
    );
    let contains = "`Tree` contains itself, or the schema has more than 64 levels and 20000 types";
    assert_eq!(tree.fields("").unwrap_err().0, contains);
    let mut laughs = r#"{"type":"record","name":"R0","fields":[]}"#.to_owned();
    for level in 1..30 {
        laughs = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{laughs}}},
               {{"name":"b","type":"R{}"}}]}}"#,
            level - 1
        );
    }
    let laughs = schema(&laughs);
    assert!(laughs.fields("").is_err() && plan(&laughs, &laughs).is_err());
    let endless = record(
        r#"{"name":"a","default":{},"type":{"type":"record","name":"S","fields":[
            {"name":"s","type":"S","default":{}}]}}"#,
    );
    assert!(endless.fields("").is_err());
}
