//! What fastavro reads, read by us: `vectors.py` wrote the lines.

use contraflow_core::codec::avro::Plan;
use contraflow_core::codec::text::from_text;
use contraflow_core::shape::{Field, Type};
use contraflow_core::value::Value;
use serde_json::Value as Json;

/// Whether a value says the same as the peer's JSON.
fn says(value: &Value, ty: &Type, json: &Json) -> bool {
    match (value, ty, json) {
        (Value::Union(branch), Type::Union { branches }, json) => {
            let ty = branches.iter().find(|(tag, _)| *tag == branch.0);
            ty.is_some_and(|(_, ty)| says(&branch.1, ty, json))
        }
        (Value::Record(record), Type::Record(fields), Json::Object(object)) => {
            record.fields.len() == object.len()
                && fields.iter().zip(&record.fields).all(|(field, value)| {
                    let theirs = object.get(&field.name);
                    theirs.is_some_and(|json| says(value, &field.ty, json))
                })
        }
        (Value::List(items), Type::List(ty), Json::Array(theirs)) => {
            items.len() == theirs.len() && items.iter().zip(theirs).all(|(v, j)| says(v, ty, j))
        }
        (Value::Map(entries), Type::Map(_, ty), Json::Object(theirs)) => {
            entries.len() == theirs.len()
                && entries.iter().all(|(key, value)| match key {
                    Value::Text(key) => theirs.get(key).is_some_and(|j| says(value, ty, j)),
                    _ => false,
                })
        }
        (Value::Null, _, json) => json.is_null(),
        (Value::Bool(truth), _, json) => json.as_bool() == Some(*truth),
        (Value::Int(number), _, json) => json.as_i64() == Some(*number),
        (Value::Float(float), _, json) => json.as_f64() == Some(float.0),
        (Value::Bytes(bytes), _, Json::String(digits)) => *digits == hexadecimal(bytes),
        (value, ty, Json::String(text)) => from_text(text, ty).is_ok_and(|theirs| theirs == *value),
        _ => false,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_second_peer_reads_the_same() {
    let mut read = 0;
    for line in include_str!("vectors.jsonl").lines() {
        let line: Json = serde_json::from_str(line).unwrap();
        let [writer, reader] = ["writer", "reader"].map(|end| super::ours(&line[end]));
        let payload = bytes(line["bytes"].as_str().unwrap());
        let plan = Plan::new(&writer, &reader).unwrap();
        let value = plan.read(&payload).unwrap();
        let mut fields: Vec<Field> = reader.fields("v").unwrap();
        let ty = match reader.is_record() {
            true => Type::Record(fields),
            false => fields.remove(0).ty,
        };
        assert!(says(&value, &ty, &line["value"]), "{line}");
        let itself = Plan::new(&writer, &writer).unwrap().read(&payload).unwrap();
        assert_eq!(super::written(&writer, itself), payload, "{line}");
        read += 1;
    }
    assert_eq!(read, 24);
}
