//! Spellings beside what the server's own functions send for them.

use contraflow_core::shape::TimeUnit;

use super::*;

/// The bytes of a text, hexadecimal; `None` when it is left to the server.
fn sent(form: Form, text: &str) -> Option<String> {
    of(form, &Value::Text(text.to_owned()), &Type::Text)
}

fn of(form: Form, value: &Value, ty: &Type) -> Option<String> {
    let mut out = Vec::new();
    form.put(value, ty, &mut out)?;
    let (length, bytes) = out.split_at(4);
    assert_eq!(length, i32::try_from(bytes.len()).unwrap().to_be_bytes());
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn spellings_are_what_the_server_sends() {
    for (form, text, bytes) in [
        (Form::Numeric, "-1.50", "000200004000000200011388"),
        (
            Form::Numeric,
            "123456789.000123",
            "0005000200000006000109291a85000108fc",
        ),
        (Form::Numeric, "NaN", "00000000c0000000"),
        (Form::Date, "2000-01-01", "00000000"),
        (Form::Date, "1999-12-31", "ffffffff"),
        (Form::Date, "infinity", "7fffffff"),
        (Form::Date, "-infinity", "80000000"),
        (Form::Date, "0044-03-15 BC", "fff49d7b"),
        (Form::Date, "4713-01-01 BC", "ffda97cd"),
        (Form::Date, "5874897-12-31", "7fda970c"),
        (
            Form::Instant,
            "1999-12-31 23:59:59.999999+00",
            "ffffffffffffffff",
        ),
        (
            Form::Instant,
            "0044-03-15 12:00:00+00 BC",
            "ff1af9e8fb46d000",
        ),
        (
            Form::Instant,
            "294276-12-31 23:59:59.5+00",
            "7fffff5bb3aafee0",
        ),
        (Form::Timestamp, "infinity", "7fffffffffffffff"),
        (Form::Timestamp, "2000-01-01 00:00:01", "00000000000f4240"),
        (Form::Time, "24:00:00", "000000141dd76000"),
        (Form::Time, "12:34:56.7", "0000000a8be4ca60"),
        (Form::Float8, "-0", "8000000000000000"),
        (Form::Float8, "NaN", "7ff8000000000000"),
        (Form::Float4, "0.1", "3dcccccd"),
        (Form::Float4, "-Infinity", "ff800000"),
        (Form::Jsonb, "{\"a\": 1}", "017b2261223a20317d"),
        (Form::Bytes, "\\x00ff", "00ff"),
        (Form::Bool, "t", "01"),
        (Form::Int2, "-2", "fffe"),
    ] {
        assert_eq!(sent(form, text).as_deref(), Some(bytes), "{form:?} {text}");
    }
}

#[test]
fn what_is_asked_for_is_spelled_as_the_server_does() {
    for (form, text) in [
        (Form::Date, "2000-01-01"),
        (Form::Date, "infinity"),
        (Form::Date, "-infinity"),
        (Form::Date, "0044-03-15 BC"),
        (Form::Date, "4713-01-01 BC"),
        (Form::Date, "0001-01-01"),
        (Form::Date, "5874897-12-31"),
        (Form::Instant, "1999-12-31 23:59:59.999999+00"),
        (Form::Instant, "0044-03-15 12:00:00+00 BC"),
        (Form::Instant, "294276-12-31 23:59:59.5+00"),
        (Form::Instant, "-infinity"),
        (Form::Timestamp, "2000-02-29 00:00:00"),
        (Form::Timestamp, "1969-07-20 20:17:40.00001"),
    ] {
        let mut bytes = Vec::new();
        form.put(&Value::Text(text.to_owned()), &Type::Text, &mut bytes)
            .unwrap();
        assert_eq!(form.spelled(&bytes[4..]).as_deref(), Some(text));
        assert_eq!(form.spelled(&bytes[5..]), None);
    }
}

/// The server reads more than it spells, rounds, and refuses with a reason.
#[test]
fn what_is_spelled_otherwise_is_left_to_the_server() {
    for (form, text) in [
        (Form::Numeric, "1e3"),
        (Form::Numeric, " 1"),
        (Form::Numeric, "."),
        (Form::Numeric, "1.5.2"),
        (Form::Date, "15 March 44"),
        (Form::Date, "2023-02-29"),
        (Form::Instant, "2000-01-01 00:00:00+02"),
        (Form::Instant, "2000-01-01T00:00:00Z"),
        (Form::Timestamp, "2000-01-01 00:00:00+00"),
        (Form::Time, "12:34:56.1234567"),
        (Form::Time, "24:00:01"),
        (Form::Float8, "1e-400"),
        (Form::Float8, "1e400"),
        (Form::Float8, "inf"),
        (Form::Bool, "yes"),
        (Form::Int2, "32768"),
        (Form::Uuid, "{00000000-0000-0000-0000-000000000000}"),
    ] {
        assert_eq!(sent(form, text), None, "{form:?} {text}");
    }
    let finer = Value::Time(1);
    assert_eq!(of(Form::Time, &finer, &Type::Time), None);
    assert_eq!(of(Form::Int2, &Value::Int(1 << 20), &Type::INT64), None);
}

#[test]
fn typed_values_are_their_spellings() {
    let instant = Value::Timestamp(Timestamp {
        seconds: 951_782_400,
        nanos: 250_000_000,
        frame: Frame::Instant,
    });
    let ty = Type::Timestamp {
        frame: Frame::Instant,
        unit: TimeUnit::Micros,
    };
    let spelled = sent(Form::Instant, "2000-02-29 00:00:00.25+00");
    assert_eq!(of(Form::Instant, &instant, &ty), spelled);
    // A point in time is no reading of a clock.
    assert_eq!(of(Form::Timestamp, &instant, &ty), None);
    let day = of(Form::Date, &Value::Date(11_016), &Type::Date);
    assert_eq!(day, sent(Form::Date, "2000-02-29"));
    let number = of(Form::Numeric, &Value::Int(-12_345), &Type::INT64);
    assert_eq!(number, sent(Form::Numeric, "-12345"));
    let text = of(Form::Text, &Value::Int(7), &Type::INT64);
    assert_eq!(text, sent(Form::Text, "7"));
}
