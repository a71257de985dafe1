//! Mappings from a few lines of text, as a change file would say them.

use contraflow_core::change::yaml;
use contraflow_core::mapping::{Mapping, parse};
use contraflow_core::shape::{Shape, Type};

/// A shape from `id int64, name text?` and the names of its key.
///
/// # Panics
/// When the text does not say a shape.
#[must_use]
pub fn shape(fields: &str, key: &[&str]) -> Shape {
    let Some(Type::Record(fields)) = Type::parse(&format!("record({fields})")) else {
        panic!("not a list of fields: {fields}");
    };
    let place = |name: &&str| fields.iter().position(|field| field.name == *name);
    Shape {
        key: key
            .iter()
            .map(|name| place(name).expect("the key names fields"))
            .collect(),
        fields,
    }
}

/// A checked mapping from operations in YAML, an old shape and, where it is not the predicted
/// one, a new shape.
///
/// # Panics
/// When the mapping is refused.
#[must_use]
pub fn mapping(operations: &str, old: &Shape, new: Option<&Shape>) -> Mapping {
    let node = yaml::read(operations).expect("operations are YAML");
    let mut problems = Vec::new();
    let specs = parse(&node, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let key: Vec<String> = old
        .key
        .iter()
        .map(|&place| old.fields[place].name.clone())
        .collect();
    match Mapping::check(&specs, old, &key, new, None) {
        Ok((mapping, _warnings)) => mapping,
        Err(problems) => panic!("the mapping is refused: {problems:?}"),
    }
}
