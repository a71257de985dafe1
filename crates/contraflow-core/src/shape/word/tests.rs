use super::WORDS;
use crate::shape::{Field, Type};

#[test]
fn every_word_is_a_type_and_names_itself() {
    for word in WORDS {
        assert_eq!(Type::parse(word).unwrap().name(), *word);
    }
}

#[test]
fn types_nest() {
    let ty = Type::parse("list of record(name text, tags list of text, sum decimal(10,2)?)");
    let Some(Type::List(item)) = ty else {
        panic!("a list")
    };
    let Type::Record(fields) = *item else {
        panic!("a record")
    };
    assert_eq!(fields.len(), 3);
    assert_eq!(fields[2], Field::parse("sum", "decimal(10,2)?").unwrap());
    for wrong in [
        "integer",
        "decimal(2,3)",
        "list of",
        "timestamp(h)",
        "record(x)",
    ] {
        assert!(Type::parse(wrong).is_none(), "{wrong}");
    }
    assert!(Type::parse(&"list of ".repeat(10_000)).is_none());
}
