//! Codecs: whatever goes in comes out, and whatever is refused is refused without a crash.

use bigdecimal::BigDecimal;
use contraflow_core::codec::binary::{decode_values, encode_values};
use contraflow_core::codec::json::{from_json, to_json};
use contraflow_core::shape::Type;
use contraflow_core::value::{Decimal, Float, Frame, Record, Timestamp, Value};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

fn scalar() -> BoxedStrategy<Value> {
    let frame = prop_oneof![Just(Frame::Instant), Just(Frame::Local)];
    prop_oneof![
        Just(Value::Absent),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::unsigned),
        any::<u64>().prop_map(|bits| Value::Float(Float(f64::from_bits(bits)))),
        (any::<i128>(), -50_i64..50).prop_map(|(digits, scale)| {
            Value::Decimal(Decimal(BigDecimal::new(digits.into(), scale)))
        }),
        ".*".prop_map(Value::Text),
        vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        any::<i32>().prop_map(Value::Date),
        any::<u64>().prop_map(Value::Time),
        (any::<i64>(), 0_u32..1_000_000_000, frame).prop_map(|(seconds, nanos, frame)| {
            Value::Timestamp(Timestamp {
                seconds,
                nanos,
                frame,
            })
        }),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        "[a-z]*".prop_map(Value::Enum),
        "[a-z]*".prop_map(Value::Json),
    ]
    .boxed()
}

fn value() -> BoxedStrategy<Value> {
    scalar()
        .prop_recursive(4, 32, 5, |inner| {
            let extras = vec(("[a-z]{0,3}".prop_map(String::from), inner.clone()), 0..3);
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::List),
                vec((inner.clone(), inner.clone()), 0..3).prop_map(Value::Map),
                ("[a-z]*", inner.clone())
                    .prop_map(|(tag, value)| { Value::Union(Box::new((tag, value))) }),
                (vec(inner, 0..5), extras).prop_map(|(fields, extras)| {
                    Value::Record(Box::new(Record { fields, extras }))
                }),
            ]
        })
        .boxed()
}

const NESTED: &str = "record(a int64?, b decimal?, c list of text, d timestamp(ns)?, e uuid?, \
    f bytes?, g map of text to int32, h json?, i float64?, j time?, k date?, l bool?)";

proptest! {
    #[test]
    fn values_survive_their_bytes(values in vec(value(), 0..6)) {
        let mut bytes = Vec::new();
        encode_values(&values, &mut bytes);
        prop_assert_eq!(decode_values(&bytes).unwrap(), values);
    }

    #[test]
    fn equal_bytes_are_equal_values(a in vec(value(), 0..3), b in vec(value(), 0..3)) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        encode_values(&a, &mut left);
        encode_values(&b, &mut right);
        prop_assert_eq!(left == right, a == b);
    }

    #[test]
    fn hostile_bytes_are_refused_or_canonical(bytes in vec(0_u8..24, 0..60)) {
        if let Ok(values) = decode_values(&bytes) {
            let mut again = Vec::new();
            encode_values(&values, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn flipped_bits_never_crash(values in vec(value(), 1..4), at in any::<usize>(), bit in 0..8) {
        let mut bytes = Vec::new();
        encode_values(&values, &mut bytes);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;
        if let Ok(values) = decode_values(&bytes) {
            let mut again = Vec::new();
            encode_values(&values, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn hostile_json_is_refused_or_settles(
        json in "[\\[\\]{}:,\"a-l0-9.eE+\\\\u -]{0,40}",
        word in prop_oneof![Just(NESTED), Just("json"), Just("any"), Just("decimal"), Just("text")],
    ) {
        let ty = Type::parse(word).unwrap();
        if let Ok(value) = from_json(&json, &ty) {
            let mut out = String::new();
            to_json(&value, &ty, &mut out).unwrap();
            prop_assert_eq!(from_json(&out, &ty).unwrap(), value);
        }
    }

    #[test]
    fn texts_survive_json(text in ".*") {
        let value = Value::Text(text);
        let mut out = String::new();
        to_json(&value, &Type::Text, &mut out).unwrap();
        prop_assert_eq!(from_json(&out, &Type::Text).unwrap(), value);
    }

    #[test]
    fn decimals_survive_json(digits in any::<i128>(), scale in -50_i64..50) {
        let value = Value::Decimal(Decimal(BigDecimal::new(digits.into(), scale)));
        let ty = Type::parse("decimal").unwrap();
        let mut out = String::new();
        to_json(&value, &ty, &mut out).unwrap();
        prop_assert_eq!(from_json(&out, &ty).unwrap(), value);
    }
}
