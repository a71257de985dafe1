//! A change of one table.

use contraflow_core::end::{End, Role, Table};
use contraflow_core::side::Side;

/// The table `t` of an end, under a key, as a side of the change `odd`. It was there before.
pub(super) fn one_table(end: &dyn End, key: &[&str], side: Side) -> Role {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let shape = end.inspect("t", &key).unwrap().unwrap().shape;
    Role {
        change: "odd".to_owned(),
        side,
        tables: vec![Table {
            name: "t".to_owned(),
            native: vec![true; shape.fields.len()],
            declared: vec![None; shape.fields.len()],
            shape,
            created: false,
        }],
    }
}
