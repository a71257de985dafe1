use std::sync::Arc;

use super::Keys;
use crate::change::yaml;
use crate::code::Code;
use crate::codec::payload::{Json, Payload, Raw, UNDECLARED};
use crate::mapping::{OpSpec, parse};
use crate::shape::{Field, Type};
use crate::side::Direction;

fn ops(text: &str) -> Vec<OpSpec> {
    let mut problems = Vec::new();
    let ops = parse(&yaml::read(text).unwrap(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    ops
}

fn object(fields: &[(&str, Type)]) -> Arc<dyn Payload> {
    let fields = fields.iter();
    let fields = fields.map(|(name, ty)| Field::required(name, ty.clone()));
    Arc::new(Json::object(fields.collect(), UNDECLARED))
}

fn keys(mapping: &str, old: Arc<dyn Payload>, new: Arc<dyn Payload>) -> Keys {
    Keys::check(&ops(mapping), [old, new]).unwrap().0
}

#[test]
fn a_key_goes_over_and_comes_back() {
    let keys = keys(
        "[rename: {from: id, to: user_id}]",
        object(&[("id", Type::INT64)]),
        object(&[("user_id", Type::INT64)]),
    );
    let there = keys.carry(Direction::Forward, br#"{"id":7,"tenant":"x"}"#);
    assert_eq!(there.unwrap(), br#"{"user_id":7,"tenant":"x"}"#);
    let back = keys.carry(Direction::Reverse, br#"{"user_id":7}"#);
    assert_eq!(back.unwrap(), br#"{"id":7}"#);
    let whole = keys.comes_back(Direction::Forward, br#"{ "id" : 7 }"#);
    assert_eq!(whole.unwrap(), Some(true));
    let error = keys.carry(Direction::Forward, b"7").unwrap_err();
    assert_eq!(error.code, Code::PAYLOAD_MALFORMED);
    assert!(error.message.contains("of the key"), "{error}");
    assert_eq!(keys.comes_back(Direction::Forward, b"7").unwrap(), None);
}

/// A value that is not an object may be a key, and its type may change.
#[test]
fn a_key_may_be_one_value() {
    let value = |ty: Type| Arc::new(Json::value(Field::required("value", ty)));
    let keys = keys(
        "[convert: {field: value, to: text, on_fail: {down: letter}}]",
        value(Type::INT64),
        value(Type::Text),
    );
    assert_eq!(keys.carry(Direction::Forward, b"7").unwrap(), b"\"7\"");
    assert_eq!(keys.carry(Direction::Reverse, b"\"7\"").unwrap(), b"7");
    // A number has one spelling: another one would come back as that.
    let error = keys.carry(Direction::Reverse, b"\"007\"").unwrap_err();
    assert_eq!(error.code, Code::VALUE_UNMAPPABLE);
}

/// There is no place for a note beside a key.
#[test]
fn a_key_keeps_all_that_it_says_or_does_not_map() {
    let keys = keys(
        "[remove: {field: shard, default: 0}]",
        object(&[("id", Type::INT64), ("shard", Type::INT64)]),
        object(&[("id", Type::INT64)]),
    );
    let error = keys.carry(Direction::Forward, br#"{"id":7,"shard":1}"#);
    assert_eq!(error.unwrap_err().code, Code::VALUE_UNMAPPABLE);
}

#[test]
fn a_key_that_loses_something_on_purpose_is_refused() {
    let ops = ops("[remove: {field: shard, restore: false, default: 0}]");
    let old = object(&[("id", Type::INT64), ("shard", Type::INT64)]);
    let refused = Keys::check(&ops, [old, object(&[("id", Type::INT64)])]);
    assert_eq!(refused.unwrap_err()[0].code, Code::KEY_NOT_ISO);
}

#[test]
fn bytes_stay_what_they_are() {
    let raw = || Arc::new(Raw::new("(payload)")) as Arc<dyn Payload>;
    let keys = keys("[]", raw(), raw());
    assert_eq!(keys.carry(Direction::Forward, &[0, 255]).unwrap(), [0, 255]);
    assert!(keys.is_ready(crate::side::Side::New));
}
