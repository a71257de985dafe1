use super::*;
use crate::shape::Field;
use crate::value::Float;

fn shape(ty: Type) -> Shape {
    let field = Field {
        name: "at".into(),
        ty,
        nullable: true,
        has_default: false,
    };
    Shape {
        key: Vec::new(),
        fields: vec![field],
    }
}

fn since(ty: Type, bound: Bound) -> Result<Reach, Problem> {
    let history = History::Since {
        field: "at".into(),
        bound,
    };
    Reach::of(&history, &shape(ty))
}

fn lacks(reach: &Reach, value: Value) -> bool {
    reach.may_lack(&Row(vec![value]))
}

#[test]
fn all_and_none_may_lack_nothing() {
    for (history, copies) in [(History::All, true), (History::None, false)] {
        let reach = Reach::of(&history, &shape(Type::INT64)).unwrap();
        assert_eq!(reach.copies(), copies);
        assert!(!lacks(&reach, Value::Int(-1)));
    }
}

#[test]
fn the_bound_itself_is_carried_and_nulls_are_before_it() {
    let reach = since(Type::INT64, Bound::Plain("10".into())).unwrap();
    assert!(reach.copies());
    let found = [9, 10, 11].map(|at| lacks(&reach, Value::Int(at)));
    assert_eq!(found, [true, false, false]);
    assert!(lacks(&reach, Value::Null));
    assert!(lacks(&reach, Value::Float(Float(9.5))));
    assert!(!lacks(&reach, Value::Float(Float(10.5))));
}

#[test]
fn what_has_no_order_is_carried() {
    let reach = since(Type::INT64, Bound::Plain("10".into())).unwrap();
    assert!(!lacks(&reach, Value::Text("9".into())));
    assert!(!lacks(&reach, Value::Bytes(vec![0])));
    assert!(!lacks(&reach, Value::Float(Float(f64::NAN))));
}

#[test]
fn texts_are_ordered_by_their_bytes() {
    let reach = since(Type::Text, Bound::Quoted("2026-01-01".into())).unwrap();
    assert!(lacks(&reach, Value::Text("2025-12-31T23:59:59".into())));
    assert!(!lacks(&reach, Value::Text("2026-01-01".into())));
    assert!(!lacks(&reach, Value::Text("2026-01-01T00:00:00".into())));
}

#[test]
fn quotes_decide_where_the_column_takes_either() {
    let plain = since(Type::Any, Bound::Plain("5".into())).unwrap();
    let quoted = since(Type::Any, Bound::Quoted("5".into())).unwrap();
    assert_eq!(
        plain,
        Reach::Since {
            place: 0,
            bound: Value::Int(5)
        }
    );
    assert_eq!(
        quoted,
        Reach::Since {
            place: 0,
            bound: Value::Text("5".into())
        }
    );
}

#[test]
fn large_numbers_are_compared_exactly() {
    let bound = i64::MAX - 1;
    let reach = since(Type::INT64, Bound::Plain(bound.to_string())).unwrap();
    assert!(lacks(&reach, Value::Int(bound - 1)));
    assert!(!lacks(&reach, Value::Int(bound)));
    assert_eq!(whole_and_float(i64::MAX, 9.3e18), Some(Ordering::Less));
    assert_eq!(whole_and_float(i64::MIN, -9.3e18), Some(Ordering::Greater));
    assert_eq!(whole_and_float(-2, -1.5), Some(Ordering::Less));
    assert_eq!(whole_and_float(-1, -1.5), Some(Ordering::Greater));
}

#[test]
fn fields_that_are_not_there_or_have_no_order_are_refused() {
    let unknown = History::Since {
        field: "when".into(),
        bound: Bound::Plain("1".into()),
    };
    let problem = Reach::of(&unknown, &shape(Type::INT64)).unwrap_err();
    assert_eq!(problem.code, Code::FIELD_UNKNOWN);
    for (ty, bound) in [
        (Type::INT64, "soon"),
        (Type::Bytes, "x"),
        (Type::Bool, "true"),
    ] {
        let problem = since(ty, Bound::Plain(bound.into())).unwrap_err();
        assert_eq!(problem.code, Code::VALUE_INVALID);
    }
}
