//! Avro beside codecs that are not ours: the same bytes, the same values, the same resolution.

mod vectors;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Theirs;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{AvroResult, Decimal as TheirDecimal};
use contraflow_core::codec::avro::{Cause, Plan, Schema};
use contraflow_core::value::{Frame, Timestamp, Value};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value as Json, json};

/// Numbers from a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    fn text(&mut self) -> String {
        let letters = ["", "a", "é", "\u{1F600}", "\0", "zz"];
        (0..self.below(4)).map(|_| self.one(&letters)).collect()
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Small numbers as often as any.
    fn long(&mut self) -> i64 {
        let any = self.next() as i64;
        self.one(&[any, any >> 32, any >> 40, any >> 57])
    }
}

/// A type as written and as read, and a value as written.
struct Case {
    writer: Json,
    reader: Json,
    value: Theirs,
}

impl Case {
    fn same(ty: Json, value: Theirs) -> Case {
        Case {
            writer: ty.clone(),
            reader: ty,
            value,
        }
    }

    fn read_as(ty: &str, value: Theirs, readers: &[&str], chance: &mut Chance) -> Case {
        Case {
            writer: json!(ty),
            reader: json!(chance.one(readers)),
            value,
        }
    }
}

struct Maker {
    chance: Chance,
    names: usize,
}

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    fn case(&mut self, depth: usize) -> Case {
        match self.chance.below(if depth == 0 { 3 } else { 8 }) {
            0 | 1 => self.plain(),
            2 => self.meant(),
            3 => {
                let item = self.case(depth - 1);
                let value = match self.chance.below(3) {
                    0 => Theirs::Array(Vec::new()),
                    _ => Theirs::Array(vec![item.value.clone(); 2]),
                };
                Case {
                    writer: json!({"type": "array", "items": item.writer}),
                    reader: json!({"type": "array", "items": item.reader}),
                    value,
                }
            }
            4 => {
                let item = self.case(depth - 1);
                let entry = (self.chance.text(), item.value);
                Case {
                    writer: json!({"type": "map", "values": item.writer}),
                    reader: json!({"type": "map", "values": item.reader}),
                    value: Theirs::Map([entry].into()),
                }
            }
            5 => self.union(depth),
            _ => self.record(depth),
        }
    }

    fn plain(&mut self) -> Case {
        let chance = &mut self.chance;
        match chance.below(7) {
            0 => Case::same(json!("boolean"), Theirs::Boolean(chance.below(2) == 1)),
            1 => {
                let value = Theirs::Int(chance.long() as i32);
                Case::read_as("int", value, &["int", "long", "float", "double"], chance)
            }
            2 => {
                let value = Theirs::Long(chance.long());
                Case::read_as("long", value, &["long", "float", "double"], chance)
            }
            3 => {
                let value = Theirs::Float(f32::from_bits(chance.next() as u32));
                Case::read_as("float", value, &["float", "double"], chance)
            }
            4 => Case::same(
                json!("double"),
                Theirs::Double(f64::from_bits(chance.next())),
            ),
            5 => {
                let value = Theirs::String(chance.text());
                Case::read_as("string", value, &["string", "bytes"], chance)
            }
            _ => {
                let count = chance.below(5);
                Case::same(json!("bytes"), Theirs::Bytes(chance.bytes(count)))
            }
        }
    }

    fn meant(&mut self) -> Case {
        let name = self.name();
        let chance = &mut self.chance;
        let logical = |ty: &str, word: &str| json!({"type": ty, "logicalType": word});
        match chance.below(8) {
            0 => Case::same(logical("int", "date"), Theirs::Date(chance.next() as i32)),
            1 => {
                let value = Theirs::TimeMillis(chance.below(86_400_000) as i32);
                Case::same(logical("int", "time-millis"), value)
            }
            2 => {
                let value = Theirs::TimeMicros(chance.below(86_400_000_000) as i64);
                Case::same(logical("long", "time-micros"), value)
            }
            3 => {
                let value = Theirs::TimestampMillis(chance.long());
                Case::same(logical("long", "timestamp-millis"), value)
            }
            4 => {
                let value = Theirs::LocalTimestampMicros(chance.long());
                Case::same(logical("long", "local-timestamp-micros"), value)
            }
            5 => {
                let digits = (chance.long() >> 8).to_be_bytes();
                let ty = json!({"type": "fixed", "name": name, "size": 8,
                    "logicalType": "decimal", "precision": 18, "scale": 3});
                Case::same(ty, Theirs::Decimal(TheirDecimal::from(digits)))
            }
            6 => {
                let size = chance.below(4);
                let ty = json!({"type": "fixed", "name": name, "size": size});
                Case::same(ty, Theirs::Fixed(size as usize, chance.bytes(size)))
            }
            _ => {
                let ty = |symbols: Json| json!({"type": "enum", "name": name, "symbols": symbols});
                Case {
                    writer: ty(json!(["A", "B"])),
                    reader: ty(json!(["C", "B", "A"])),
                    value: chance.one(&[(0, "A"), (1, "B")]).into_enum(),
                }
            }
        }
    }

    fn union(&mut self, depth: usize) -> Case {
        let inner = loop {
            let inner = self.case(depth - 1);
            if !inner.writer.is_array() && !inner.reader.is_array() {
                break inner;
            }
        };
        match self.chance.below(4) {
            // What was required becomes optional.
            0 => Case {
                reader: json!(["null", inner.reader]),
                ..inner
            },
            1 => Case {
                writer: json!(["null", inner.writer]),
                reader: json!([inner.reader, "null"]),
                value: Theirs::Union(0, Box::new(Theirs::Null)),
            },
            2 => Case {
                writer: json!(["null", inner.writer]),
                reader: json!([inner.reader, "null"]),
                value: Theirs::Union(1, Box::new(inner.value)),
            },
            _ => Case {
                writer: json!(["string", "null", "long"]),
                reader: json!(["long", "null", "string"]),
                value: Theirs::Union(2, Box::new(Theirs::Long(self.chance.long()))),
            },
        }
    }

    fn record(&mut self, depth: usize) -> Case {
        let name = self.name();
        let (mut written, mut read, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..self.chance.below(4) {
            let field = self.case(depth - 1);
            let name = format!("f{at}");
            written.push(json!({"name": name, "type": field.writer}));
            match self.chance.below(4) {
                0 => {}
                1 => read.insert(0, json!({"name": name, "type": field.reader})),
                _ => read.push(json!({"name": name, "type": field.reader})),
            }
            values.push((name, field.value));
        }
        let new = [
            json!({"name": "n", "type": "long", "default": 7}),
            json!({"name": "n", "type": ["null", "string"], "default": null}),
            json!({"name": "n", "type": {"type": "array", "items": "string"}, "default": ["a"]}),
            json!({"name": "n", "type": "bytes", "default": "\u{7f}"}),
        ];
        if self.chance.below(2) == 0 {
            read.push(self.chance.one(&new));
        }
        let ty = |fields: Vec<Json>| json!({"type": "record", "name": name, "fields": fields});
        Case {
            writer: ty(written),
            reader: ty(read),
            value: Theirs::Record(values),
        }
    }
}

trait IntoEnum {
    fn into_enum(self) -> Theirs;
}

impl IntoEnum for (u32, &str) {
    fn into_enum(self) -> Theirs {
        Theirs::Enum(self.0, self.1.to_owned())
    }
}

/// Whether two values say the same.
fn agree(ours: &Value, theirs: &Theirs) -> bool {
    let timestamp = |at: &Timestamp, steps: i64, per_second: i64, frame: Frame| {
        let nanos = steps.rem_euclid(per_second) * (1_000_000_000 / per_second);
        (at.seconds, i64::from(at.nanos)) == (steps.div_euclid(per_second), nanos)
            && at.frame == frame
    };
    match (ours, theirs) {
        (ours, Theirs::Union(_, theirs)) => match ours {
            Value::Union(branch) => agree(&branch.1, theirs),
            ours => agree(ours, theirs),
        },
        (Value::Null, Theirs::Null) => true,
        (Value::Bool(ours), Theirs::Boolean(theirs)) => ours == theirs,
        (Value::Int(ours), Theirs::Int(theirs)) => *ours == i64::from(*theirs),
        (Value::Int(ours), Theirs::Long(theirs)) => ours == theirs,
        (Value::Float(ours), Theirs::Float(theirs)) => {
            ours.0.is_nan() && theirs.is_nan() || ours.0 == f64::from(*theirs)
        }
        (Value::Float(ours), Theirs::Double(theirs)) => {
            ours.0.is_nan() && theirs.is_nan() || ours.0.to_bits() == theirs.to_bits()
        }
        (Value::Bytes(ours), Theirs::Bytes(theirs) | Theirs::Fixed(_, theirs)) => ours == theirs,
        (Value::Text(ours), Theirs::String(theirs)) => ours == theirs,
        (Value::Enum(ours), Theirs::Enum(_, theirs)) => ours == theirs,
        (Value::Date(ours), Theirs::Date(theirs)) => ours == theirs,
        (Value::Time(ours), Theirs::TimeMillis(theirs)) => {
            i128::from(*ours) == i128::from(*theirs) * 1_000_000
        }
        (Value::Time(ours), Theirs::TimeMicros(theirs)) => {
            i128::from(*ours) == i128::from(*theirs) * 1_000
        }
        (Value::Timestamp(ours), Theirs::TimestampMillis(theirs)) => {
            timestamp(ours, *theirs, 1_000, Frame::Instant)
        }
        (Value::Timestamp(ours), Theirs::LocalTimestampMicros(theirs)) => {
            timestamp(ours, *theirs, 1_000_000, Frame::Local)
        }
        (Value::Decimal(ours), Theirs::Decimal(theirs)) => {
            let digits = Vec::<u8>::try_from(theirs).unwrap();
            let (ours, scale) = ours.0.as_bigint_and_exponent();
            ours == bigdecimal::num_bigint::BigInt::from_signed_bytes_be(&digits) && scale == 3
        }
        (Value::List(ours), Theirs::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(o, t)| agree(o, t))
        }
        (Value::Map(ours), Theirs::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, value)| {
                    let Value::Text(key) = key else { return false };
                    theirs.get(key).is_some_and(|theirs| agree(value, theirs))
                })
        }
        (Value::Record(ours), Theirs::Record(theirs)) => {
            ours.fields.len() == theirs.len()
                && ours
                    .fields
                    .iter()
                    .zip(theirs)
                    .all(|(o, (_, t))| agree(o, t))
        }
        _ => false,
    }
}

fn ours(text: &Json) -> Schema {
    Schema::parse(&text.to_string(), &[] as &[&str]).unwrap()
}

fn written(schema: &Schema, value: Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Record(record) if schema.is_record() => schema.write(&record.fields, &mut out),
        value => schema.write(&[value], &mut out),
    }
    .unwrap();
    out
}

fn peer(text: &Json) -> apache_avro::Schema {
    apache_avro::Schema::parse(text).unwrap()
}

/// The bytes that the peer makes of a value.
fn theirs(schema: &Json, value: Theirs) -> Vec<u8> {
    let schema = peer(schema);
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

fn resolved_by_peer(bytes: &[u8], writer: &Json, reader: &Json) -> AvroResult<Theirs> {
    let (writer, reader) = (peer(writer), peer(reader));
    let datum = GenericDatumReader::builder(&writer).reader_schema(&reader);
    datum.build()?.read_value(&mut &bytes[..])
}

fn case(seed: u64) -> Case {
    let mut maker = Maker {
        chance: Chance(seed),
        names: 0,
    };
    maker.case(3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn bytes_of_the_peer_are_read_and_written_alike(seed: u64) {
        let Case { writer, value, .. } = case(seed);
        let bytes = theirs(&writer, value.clone());
        let schema = ours(&writer);
        let read = Plan::new(&schema, &schema).unwrap().read(&bytes).unwrap();
        prop_assert!(agree(&read, &value), "{} {:?}", writer, value);
        prop_assert_eq!(written(&schema, read), bytes);
    }

    #[test]
    fn resolution_agrees_with_the_peer_or_refuses_to_round(seed: u64) {
        let Case { writer, reader, value } = case(seed);
        let bytes = theirs(&writer, value);
        let resolved = resolved_by_peer(&bytes, &writer, &reader);
        let plan = Plan::new(&ours(&writer), &ours(&reader)).unwrap();
        match plan.read(&bytes) {
            Ok(read) => {
                let resolved = resolved.unwrap();
                prop_assert!(agree(&read, &resolved), "{} as {}: {:?}", writer, reader, resolved);
            }
            Err(fault) => {
                prop_assert_eq!(fault.cause, Cause::Unfit);
                prop_assert_eq!(fault.reason, "the number would be rounded");
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(seed: u64, noise in vec(any::<u8>(), 0..64)) {
        let schema = ours(&case(seed).writer);
        let plan = Plan::new(&schema, &schema).unwrap();
        for length in 0..noise.len() {
            if let Ok(read) = plan.read(&noise[..length]) {
                let canonical = written(&schema, read);
                let again = plan.read(&canonical).unwrap();
                prop_assert_eq!(written(&schema, again), canonical);
            }
        }
    }

    #[test]
    fn damaged_payloads_never_panic(seed: u64, at: usize, byte: u8, cut: usize) {
        let Case { writer, reader, value } = case(seed);
        let mut bytes = theirs(&writer, value);
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
        }
        let plan = Plan::new(&ours(&writer), &ours(&reader)).unwrap();
        let _read = plan.read(&bytes);
    }

    #[test]
    fn texts_that_are_no_schemas_never_panic(text in r#"[\[\]{}:,"a-z0-9]{0,80}"#) {
        let _parsed = Schema::parse(&text, &[] as &[&str]);
    }
}
