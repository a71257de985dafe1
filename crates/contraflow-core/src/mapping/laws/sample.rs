//! Rows that look for trouble: bounds, gaps, odd spellings, undeclared fields.

use bigdecimal::BigDecimal;

use crate::codec::json;
use crate::record::{Complement, Image, Row};
use crate::shape::{Field, Shape, Type};
use crate::value::{Decimal, Float, Record, Timestamp, Value};

/// Texts that mean something to somebody.
const TEXTS: &[&str] = &[
    "",
    "a",
    "ab",
    "abc",
    "0",
    "7",
    "007",
    "+5",
    "-0",
    "12.50",
    "1e3",
    "true",
    "A",
    "B",
    "A B",
    "A B C",
    " ",
    "A  B",
    "\0",
    "\u{1F600}",
    "e\u{301}",
    "\u{202E}x",
    "2024-02-29T12:00:00Z",
    "[]",
    "[1, 2]",
    "{}",
    "null",
];

/// A small generator of numbers: splitmix64. The same seed gives the same rows.
pub(super) struct Generator {
    state: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Generator {
        Generator { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A row without complement.
    pub(super) fn row(&mut self, shape: &Shape) -> Image {
        let values = shape.fields.iter().map(|field| self.field(field)).collect();
        Image {
            row: Row(values),
            complement: Complement::default(),
        }
    }

    /// A value that the field may hold.
    pub(super) fn field(&mut self, field: &Field) -> Value {
        match field.nullable && self.below(4) == 0 {
            true => Value::Null,
            false => self.value(&field.ty),
        }
    }

    fn value(&mut self, ty: &Type) -> Value {
        match ty {
            Type::Bool => Value::Bool(self.below(2) == 0),
            Type::Int { bits, signed } => self.int(*bits, *signed),
            Type::Float { .. } => Value::Float(Float(self.pick(&[
                0.0,
                -0.0,
                1.5,
                0.1,
                1e300,
                -7.0,
                f64::NAN,
            ]))),
            Type::Decimal { precision, scale } => self.decimal(*precision, *scale),
            Type::Text => Value::Text(self.pick(TEXTS).to_owned()),
            Type::Bytes => Value::Bytes(self.pick(&[vec![], vec![0], vec![255; 3]])),
            Type::Date => Value::Date(self.pick(&[0, -1, 19_782, -719_468, 2_932_896])),
            Type::Time => Value::Time(self.pick(&[0, 1, 86_399_999_999_999])),
            Type::Timestamp { frame, .. } => Value::Timestamp(Timestamp {
                seconds: self.pick(&[0, -1, 1_709_210_096, 253_402_300_799]),
                nanos: self.pick(&[0, 0, 500_000_000, 999_999_000]),
                frame: *frame,
            }),
            Type::Uuid => Value::Uuid([self.below(256) as u8; 16]),
            Type::Enum { symbols } if symbols.is_empty() => Value::Null,
            Type::Enum { symbols } => Value::Enum(self.pick(symbols)),
            Type::Union { branches } if branches.is_empty() => Value::Null,
            Type::Union { branches } => {
                let (tag, ty) = self.pick(branches);
                Value::Union(Box::new((tag, self.value(&ty))))
            }
            Type::Json => Value::Json(self.pick(&["{}", "[1.10]", "{\"a\": 1}"]).to_owned()),
            Type::List(item) => {
                let count = self.below(5);
                Value::List((0..count).map(|_| self.value(item)).collect())
            }
            Type::Map(key, value) => {
                let count = self.below(3);
                let entry = |_| (self.value(key), self.value(value));
                Value::Map((0..count).map(entry).collect())
            }
            Type::Record(fields) => self.record(fields),
            Type::Any => self.pick(&[Value::Int(1), Value::Text("x".into()), Value::Null]),
        }
    }

    fn record(&mut self, fields: &[Field]) -> Value {
        let values = fields.iter().map(|field| match self.below(10) {
            0 if field.nullable => Value::Absent,
            _ => self.field(field),
        });
        let mut record = Record {
            fields: values.collect(),
            extras: Vec::new(),
        };
        if self.below(4) == 0 {
            let value = Value::Json("{\"kept\": 1.10}".into());
            record.extras.push(("undeclared".into(), value));
        }
        Value::Record(Box::new(record))
    }

    fn int(&mut self, bits: u8, signed: bool) -> Value {
        let high = match signed {
            true => (1_u64 << (bits - 1)) - 1,
            false => u64::MAX >> (64 - bits),
        };
        let around = [
            0,
            1,
            2,
            7,
            100,
            (1 << 53) - 1,
            1 << 53,
            (1 << 53) + 1,
            high,
            high - 1,
        ];
        let number = Value::unsigned(self.pick(&around).min(high));
        match number {
            Value::Int(number) if signed && self.below(3) == 0 => {
                Value::Int(-number - i64::from(self.below(2) == 0 && number > 0))
            }
            number => number,
        }
    }

    fn decimal(&mut self, precision: Option<u32>, scale: Option<u32>) -> Value {
        let scale = scale.unwrap_or_else(|| self.pick(&[0, 1, 2, 9]));
        let digits = precision.unwrap_or(30).min(30);
        let high = 10_i128.pow(digits) - 1;
        let number = self
            .pick(&[0, 1, -1, 50, 1250, 99_999, high, -high])
            .clamp(-high, high);
        Value::Decimal(Decimal(BigDecimal::new(number.into(), i64::from(scale))))
    }
}

/// The simplest values of a field, for shrinking.
pub(super) fn simple(field: &Field) -> Vec<Value> {
    let mut simple = Vec::new();
    if field.nullable {
        simple.push(Value::Null);
    }
    match field.ty {
        Type::Text => simple.push(Value::Text(String::new())),
        Type::Int { .. } => simple.push(Value::Int(0)),
        Type::Bool => simple.push(Value::Bool(false)),
        Type::List(_) => simple.push(Value::List(Vec::new())),
        _ => {}
    }
    simple
}

/// A generated row as JSON.
pub(super) fn shown(row: &Row, shape: &Shape) -> String {
    let record = Record {
        fields: row.0.clone(),
        extras: Vec::new(),
    };
    let ty = Type::Record(shape.fields.clone());
    let mut out = String::new();
    match json::to_json(&Value::Record(Box::new(record)), &ty, &mut out) {
        Ok(()) => out,
        Err(malformed) => malformed.reason.to_owned(),
    }
}
